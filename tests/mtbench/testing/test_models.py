"""The suite must fail models that break its rules."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from mtbench.nn import StackedLinear, masked_mean, mix
from mtbench.schema import Component
from mtbench.testing.models import ModelSuite, sample
from mtbench_models.mmoe import MMoE
from mtbench_models.shared_bottom import SharedBottom

PAGE = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()


class Reader(SharedBottom):
    """Attends to the recent items of the user as it should."""

    @classmethod
    def inputs(cls, config, schema):  # noqa: ARG003
        return [Component(name="recent", length=5)]

    def __init__(self, config, data):
        super().__init__(config, data)
        self.items = nn.Embedding(data.inputs["recent"].items + 1, 8)
        self.query = nn.Linear(self.embed.width, 8)
        self.head = nn.Linear(8, data.num_tasks)

    def forward(self, batch):
        recent = batch.inputs["recent"]
        return super().forward(batch) + self.head(self.read(self.items(recent.items), recent.item_mask, batch))

    def read(self, items, mask, batch):
        scores = torch.einsum("bld,bd->bl", items, self.query(self.embed(batch)))
        weights = scores.masked_fill(mask == 0, -1e9).softmax(-1) * mask
        return torch.einsum("bl,bld->bd", weights, items)


class ReadsLabels(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) + 0.1 * batch.labels


class ReadsTheMask(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) + 0.1 * batch.mask


class ReadsOtherRows(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) + 0.01 * batch.numeric.mean()


class ReadsTheNextRow(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) + 0.01 * batch.numeric.sum(1, keepdim=True).roll(1, 0)


class ForgetsALayer(SharedBottom):
    def __init__(self, config, data):
        super().__init__(config, data)
        self.forgotten = nn.Linear(3, 3)


class DetachesItsEmbeddings(SharedBottom):
    def forward(self, batch):
        bottom = self.bottom(self.embed(batch).detach()).squeeze(0)
        return self.towers(bottom)


class DrawsInEvaluation(SharedBottom):
    def forward(self, batch):
        logits = super().forward(batch)
        return logits + 0.01 * torch.randn_like(logits)


class KeepsStateAside(SharedBottom):
    def __init__(self, config, data):
        super().__init__(config, data)
        self.scale = torch.rand(1) + 0.5

    def forward(self, batch):
        return super().forward(batch) * self.scale


class LearnsNothing(SharedBottom):
    def forward(self, batch):
        return 1e-3 * super().forward(batch).tanh()


class LearnsRowsByHeart(SharedBottom):
    def __init__(self, config, data):
        super().__init__(config, data)
        self.rows = nn.Embedding(10_000, data.num_tasks)

    def forward(self, batch):
        return 1e-3 * super().forward(batch).tanh() + self.rows(batch.rows)


class OneTaskAlone(SharedBottom):
    def forward(self, batch):
        return super().forward(batch)[:, :1]


class TwoTasksAtLeast(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) / (self.data.num_tasks - 1)


class OneLossForAll(SharedBottom):
    def loss(self, outputs, batch):
        return super().loss(outputs, batch).mean()


class DividesByZero(SharedBottom):
    def forward(self, batch):
        known = (batch.categorical > 0).float().mean(1, keepdim=True)
        return super().forward(batch) / known


class AttendsToNothing(Reader):
    def read(self, items, mask, batch):
        weights = (items.sum(-1) + self.query(self.embed(batch)).sum(-1, keepdim=True)).masked_fill(
            mask == 0, -torch.inf
        )
        return torch.einsum("bl,bld->bd", weights.softmax(-1), items)


class MendsLogitsAlone(AttendsToNothing):
    """Not a number times zero: hidden in the logits, not in the gradients."""

    def read(self, items, mask, batch):
        read = super().read(items, mask, batch)
        return torch.where(mask.any(1, keepdim=True), read, 0.0)


class NormalisesOneRow(SharedBottom):
    def forward(self, batch):
        logits = super().forward(batch)
        return (logits - logits.mean(0)) / logits.std(0)


class PredictsLogits(SharedBottom):
    def predict(self, outputs):
        return outputs


class RanksBackwards(SharedBottom):
    def score(self, outputs):
        return -super().score(outputs)


class InsistsOnPrecision(SharedBottom):
    def forward(self, batch):
        logits = super().forward(batch)
        return torch.zeros(logits.shape).index_add(0, torch.arange(len(logits)), logits)


class LeavesAnInput(Reader):
    def read(self, items, mask, batch):
        return super().read(0 * items + self.items.weight[1], mask * 0 + 1, batch)


class DividesByTheCount(SharedBottom):
    def loss(self, outputs, batch):
        return super().loss(outputs, batch) * batch.mask.sum(0) / batch.mask.sum(0)


class TakesUnknownForNegative(SharedBottom):
    def loss(self, outputs, batch):
        error = (outputs - batch.labels).square()
        return masked_mean(error, torch.ones_like(batch.mask))


class InsistsOnSingleLabels(SharedBottom):
    def loss(self, outputs, batch):
        return masked_mean(functional.huber_loss(outputs, batch.labels, reduction="none"), batch.mask)


class AttendsToOneAtATime(Reader):
    def read(self, items, mask, batch):
        weights = torch.einsum("bld,bd->bl", items, self.query(self.embed(batch))).unsqueeze(-1).softmax(-1)
        return torch.einsum("bln,bld->bd", weights * mask.unsqueeze(-1), items)


class OneGateForAllRows(MMoE):
    def forward(self, batch):
        x = self.embed(batch)
        gates = self.gates(x.mean(0).expand_as(x)).softmax(-1)
        return self.towers(mix(self.experts(x), gates))


class StartsExpertsAlike(MMoE):
    """No gate tells its experts apart: every row weighs all the same."""

    def __init__(self, config, data):
        super().__init__(config.model_copy(update={"dropout": 0.0}), data)
        self.gates = StackedLinear(1, 1, 1)
        for linear in self.experts.linears:
            for part in linear.parameters():
                part.data[:] = part.data[:1]

    def forward(self, batch):
        mean = self.experts(self.embed(batch)).mean(0) * (1 + self.gates.weight.sum() + self.gates.bias.sum())
        return self.towers(mean)


BROKEN = [
    (OneTaskAlone, "gives_finite_logits_for_any_number_of_tasks", "must have shape (61, 2), not (61, 1)"),
    (TwoTasksAtLeast, "gives_finite_logits_for_any_number_of_tasks", "a logit is not finite with 1 tasks"),
    (OneLossForAll, "gives_finite_logits_for_any_number_of_tasks", "loss() must return shape (1,), not ()"),
    (PredictsLogits, "predicts_probabilities_for_binary_tasks", "is no probability"),
    (RanksBackwards, "scores_rise_with_predictions", "scores of task 'click' rank otherwise than predictions"),
    (NormalisesOneRow, "takes_a_batch_of_one_row", "one row is not finite (training: True)"),
    (DividesByZero, "takes_rows_of_which_nothing_is_known", "a logit that is not finite (training: True)"),
    (AttendsToNothing, "takes_rows_of_which_nothing_is_known", "a logit that is not finite (training: True)"),
    (MendsLogitsAlone, "takes_rows_of_which_nothing_is_known", "the gradient of parameter"),
    (InsistsOnPrecision, "takes_half_precision", "BFloat16"),
    (ForgetsALayer, "trains_every_parameter", "'forgotten.weight' gets no gradient"),
    (DetachesItsEmbeddings, "trains_every_parameter", "'embed.table' gets no gradient"),
    (AttendsToOneAtATime, "trains_every_parameter", "the gradient of parameter 'query.weight' is zero"),
    (ReadsOtherRows, "predicts_a_row_alike_in_any_batch", "not close"),
    (ReadsTheNextRow, "predicts_a_row_alike_in_any_batch", "not close"),
    (DrawsInEvaluation, "predicts_alike_each_time", "differ in evaluation"),
    (ReadsLabels, "never_reads_labels", "depend on the labels or their mask"),
    (ReadsTheMask, "never_reads_labels", "depend on the labels or their mask"),
    (LeavesAnInput, "uses_every_input", "'recent' changes no logit"),
    (DividesByTheCount, "takes_a_batch_without_labels_of_a_task", "labels of task 'click': a loss is not finite"),
    (TakesUnknownForNegative, "learns_from_known_labels_alone", "depends on labels that are masked"),
    (InsistsOnSingleLabels, "takes_labels_in_double_precision", "Found dtype Double but expected Float"),
    (KeepsStateAside, "survives_a_checkpoint", "predicts otherwise"),
    (LearnsNothing, "learns", "'click' is not learnt"),
    (LearnsRowsByHeart, "learns", "'click' is not learnt"),
    (AttendsToOneAtATime, "mixes_each_row_in_its_own_way", "shape (61, 5, 1) are the same"),
    (OneGateForAllRows, "mixes_each_row_in_its_own_way", "shape (4, 61, 8) are the same"),
    (
        StartsExpertsAlike,
        "trains_its_networks_apart",
        "and 'experts.linears.0.weight[0]' are equal",
    ),
]


@pytest.mark.parametrize(("broken", "test", "message"), BROKEN)
@pytest.mark.filterwarnings("ignore:std.*degrees of freedom")
def test_a_broken_model_fails(broken, test, message):
    suite = ModelSuite()
    suite.model = broken
    with pytest.raises((AssertionError, RuntimeError), match=re.escape(message)):
        getattr(suite, f"test_{test}")()


def test_every_rule_has_a_model_that_breaks_it():
    rules = {name.removeprefix("test_") for name in vars(ModelSuite) if name.startswith("test_")}
    assert rules == {test for _, test, _ in BROKEN}


class TestReader(ModelSuite):
    """A sound model that asks for an input passes."""

    model = Reader


def test_every_rule_is_on_the_page():
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Conformance")[2], re.MULTILINE)
    assert listed == [name.removeprefix("test_") for name in vars(ModelSuite) if name.startswith("test_")]


def test_the_model_with_inputs_on_the_page_passes(tmp_path, monkeypatch):
    sources = {text.splitlines()[0].removeprefix("# "): text
               for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)}  # fmt: skip
    for name in ("my_net/net.py", "my_net/history.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(sources[name])
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("my_net", "my_net.net", "my_net.history"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    suite = {}
    exec(sources["tests/test_history.py"], suite)  # noqa: S102 - our own page
    tests = [name for name in dir(suite["TestHistoryNet"]) if name.startswith("test_")]
    for name in tests:
        getattr(suite["TestHistoryNet"](), name)()


def test_inputs_come_with_the_rows_they_belong_to():
    suite = ModelSuite()
    suite.model = Reader
    columns = suite.columns()
    recent = columns.asked["recent"]
    batch = sample(columns.valid)
    assert batch.inputs["recent"].items.any()
    assert torch.equal(batch.inputs["recent"].items, recent.take(batch.rows).items)
