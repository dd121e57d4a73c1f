"""The suite must fail models that break its rules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtbench.testing.models import ModelSuite
from mtbench_models.shared_bottom import SharedBottom


class ReadsLabels(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) + 0.1 * batch.labels


class ReadsOtherRows(SharedBottom):
    def forward(self, batch):
        return super().forward(batch) + 0.01 * batch.numeric.mean()


class ForgetsALayer(SharedBottom):
    def __init__(self, config, data):
        super().__init__(config, data)
        self.forgotten = nn.Linear(3, 3)


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


class OneTaskAlone(SharedBottom):
    def forward(self, batch):
        return super().forward(batch)[:, :1]


class DividesByZero(SharedBottom):
    def forward(self, batch):
        known = (batch.categorical > 0).float().mean(1, keepdim=True)
        return super().forward(batch) / known


class NormalisesOneRow(SharedBottom):
    def forward(self, batch):
        logits = super().forward(batch)
        return (logits - logits.mean(0)) / logits.std(0)


class PredictsLogits(SharedBottom):
    def predict(self, outputs):
        return outputs


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (OneTaskAlone, "gives_finite_logits_for_any_number_of_tasks"),
        (PredictsLogits, "predicts_probabilities_for_binary_tasks"),
        (NormalisesOneRow, "takes_a_batch_of_one_row"),
        (DividesByZero, "takes_rows_of_which_nothing_is_known"),
        (ForgetsALayer, "trains_every_parameter"),
        (ReadsOtherRows, "predicts_a_row_alike_in_any_batch"),
        (DrawsInEvaluation, "predicts_alike_each_time"),
        (ReadsLabels, "never_reads_labels"),
        (KeepsStateAside, "survives_a_checkpoint"),
        (LearnsNothing, "learns"),
    ],
)
@pytest.mark.filterwarnings("ignore:std.*degrees of freedom")
def test_a_broken_model_fails(broken, test):
    suite = ModelSuite()
    suite.model = broken
    with pytest.raises(AssertionError):
        getattr(suite, f"test_{test}")()


def test_every_rule_has_a_model_that_breaks_it():
    broken = test_a_broken_model_fails.pytestmark[-1].args[1]
    rules = {name.removeprefix("test_") for name in vars(ModelSuite) if name.startswith("test_")}
    assert rules == {test for _, test in broken}
