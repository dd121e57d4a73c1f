"""The conformance suite of models: what every model plugin must keep, in the form of pytest tests.

A plugin author inherits from it::

    class TestMyModel(ModelSuite):
        model = MyModel
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional

from mtbench.data.batches import Batch, Ragged
from mtbench.schema import DataSpec, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mtbench.model import MultiTaskModel

KINDS = ("binary", "regression")
UNKNOWN = 0.1


def example_spec(tasks: int) -> DataSpec:
    """Return features of every kind and ``tasks`` tasks, every other one a regression."""
    return DataSpec(
        tasks=tuple(Task(name=f"task{i}", kind=KINDS[i % 2]) for i in range(tasks)),
        categorical={"user": 30, "item": 20},
        multi={"tags": 8},
        numeric=("age", "price"),
    )


def example_batch(data: DataSpec, rows: int, seed: int = 0) -> Batch:
    """Return random rows whose labels follow from the codes, the lists and the numbers.

    A share ``UNKNOWN`` of the codes and of the labels is unknown; some lists are empty.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = torch.Generator().manual_seed(0)

    def codes(size: int, count: int) -> Tensor:
        drawn = torch.randint(1, size, (count,), generator=generator, dtype=torch.int32)
        return drawn * (torch.rand(count, generator=generator) > UNKNOWN)

    categorical = torch.stack([codes(size, rows) for size in data.categorical.values()], 1)
    numeric = torch.randn(rows, len(data.numeric), generator=generator)
    score = numeric @ torch.randn(len(data.numeric), data.num_tasks, generator=truth)
    for column, size in zip(categorical.T, data.categorical.values(), strict=True):
        score += torch.randn(size, data.num_tasks, generator=truth)[column]
    multi = {}
    for name, size in data.multi.items():
        lengths = torch.randint(0, 4, (rows,), generator=generator)
        offsets = functional.pad(lengths.cumsum(0), (1, 0))
        multi[name] = Ragged(codes(size, int(offsets[-1])), offsets)
        effects = torch.randn(size, data.num_tasks, generator=truth)
        score += functional.embedding_bag(
            multi[name].values.long(), effects, offsets, mode="mean", include_last_offset=True
        )
    binary = torch.tensor([task.kind == "binary" for task in data.tasks])
    mask = (torch.rand(rows, data.num_tasks, generator=generator) > UNKNOWN).float()
    labels = torch.where(binary, (score > 0).float(), score) * mask
    return Batch(torch.arange(rows), categorical, numeric, labels, mask, multi)


class ModelSuite:
    """Tests of one model; ``settings`` replaces defaults of its ``Config``."""

    model: ClassVar[type[MultiTaskModel]]
    settings: ClassVar[Mapping[str, Any]] = {}

    def build(self, data: DataSpec, seed: int = 0) -> MultiTaskModel:
        """Return a freshly initialised model."""
        torch.manual_seed(seed)
        return self.model(self.model.Config(**self.settings), data)

    def train(self, model: MultiTaskModel, batch: Batch, steps: int, batch_size: int = 128) -> MultiTaskModel:
        """Return the model, trained by Adam and set to evaluation."""
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        model.train()
        for _ in range(steps):
            rows = torch.randperm(len(batch))[:batch_size]
            optimizer.zero_grad()
            part = batch.take(rows)
            torch.autograd.backward(model.loss(model(part), part).mean())
            optimizer.step()
        return model.eval()

    def test_gives_finite_logits_for_any_number_of_tasks(self) -> None:
        """One to eight tasks, regressions among them, in training and in evaluation."""
        for tasks in range(1, 9):
            data = example_spec(tasks)
            model = self.build(data)
            batch = example_batch(data, 32)
            for mode in (True, False):
                logits = model.train(mode)(batch)
                assert logits.shape == (32, tasks), f"logits must have shape (32, {tasks}), not {tuple(logits.shape)}"
                assert logits.isfinite().all(), f"a logit is not finite with {tasks} tasks (training: {mode})"
                losses = model.loss(logits, batch)
                assert losses.shape == (tasks,), f"loss() must return shape ({tasks},), not {tuple(losses.shape)}"
                assert losses.isfinite().all(), f"a loss is not finite with {tasks} tasks (training: {mode})"

    def test_predicts_probabilities_for_binary_tasks(self) -> None:
        """``predict`` stays between 0 and 1."""
        data = example_spec(3)
        model = self.build(data).eval()
        predictions = model.predict(model(example_batch(data, 32)))
        probabilities = predictions[:, [task.kind == "binary" for task in data.tasks]]
        assert predictions.shape == (32, 3), f"predictions must have shape (32, 3), not {tuple(predictions.shape)}"
        assert ((probabilities >= 0) & (probabilities <= 1)).all(), "a binary task's prediction is no probability"

    def test_takes_a_batch_of_one_row(self) -> None:
        """The last batch of an epoch may be as small, and serving is."""
        data = example_spec(2)
        model = self.build(data)
        for mode in (True, False):
            logits = model.train(mode)(example_batch(data, 1))
            assert logits.shape == (1, 2), f"logits of one row must have shape (1, 2), not {tuple(logits.shape)}"
            assert logits.isfinite().all(), f"a logit of a batch of one row is not finite (training: {mode})"

    def test_takes_rows_of_which_nothing_is_known(self) -> None:
        """Values that training never saw have code 0; lists may be empty."""
        data = example_spec(2)
        model = self.build(data).eval()
        batch = example_batch(data, 4)
        unknown = replace(
            batch,
            categorical=torch.zeros_like(batch.categorical),
            multi={name: Ragged(x.values[:0], torch.zeros_like(x.offsets)) for name, x in batch.multi.items()},
        )
        assert model(unknown).isfinite().all(), "unseen values and empty lists give a logit that is not finite"

    def test_trains_every_parameter(self) -> None:
        """A parameter without gradient is a layer that was forgotten in ``forward`` or never registered."""
        data = example_spec(2)
        model = self.build(data).train()
        batch = example_batch(data, 256)
        torch.autograd.backward(model.loss(model(batch), batch).sum())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"parameter '{name}' gets no gradient"
                assert parameter.grad.isfinite().all(), f"the gradient of parameter '{name}' is not finite"
                assert parameter.grad.any(), f"the gradient of parameter '{name}' is zero throughout"

    def test_predicts_a_row_alike_in_any_batch(self) -> None:
        """The batch size and the order of the rows change no prediction."""
        data = example_spec(2)
        batch = example_batch(data, 64)
        model = self.train(self.build(data), batch, steps=3)
        with torch.no_grad():
            logits = model(batch)
            order = torch.randperm(len(batch))
            shuffled = model(batch.take(order))
            alone = torch.cat([model(batch.take(order[i : i + 1])) for i in range(16)])
        torch.testing.assert_close(shuffled, logits[order], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone, logits[order[:16]], rtol=1e-4, atol=1e-5)

    def test_predicts_alike_each_time(self) -> None:
        """Evaluation draws no random numbers."""
        data = example_spec(2)
        batch = example_batch(data, 64)
        model = self.build(data).eval()
        assert torch.equal(model(batch), model(batch)), "two predictions of the same rows differ in evaluation"

    def test_never_reads_labels(self) -> None:
        """``forward`` gives the same logits when labels and mask are withheld."""
        data = example_spec(2)
        batch = example_batch(data, 64)
        nothing = torch.full_like(batch.labels, torch.nan)
        blind = replace(batch, labels=nothing, mask=nothing)
        model = self.build(data)
        for mode in (True, False):
            model.train(mode)
            logits = []
            for rows in (batch, blind):
                torch.manual_seed(0)
                logits.append(model(rows))
            assert torch.equal(*logits), f"the logits depend on the labels or their mask (training: {mode})"

    def test_survives_a_checkpoint(self) -> None:
        """All that prediction needs is in ``state_dict``, in types that ``weights_only`` loads."""
        data = example_spec(2)
        batch = example_batch(data, 64)
        model = self.train(self.build(data), batch, steps=3)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        restored = self.build(data, seed=1).eval()
        restored.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(restored(batch), model(batch)), "a model restored from its checkpoint predicts otherwise"

    def test_learns(self) -> None:
        """Training on planted data beats the best constant by far."""
        data = example_spec(2)
        batch = example_batch(data, 512)
        model = self.train(self.build(data), batch, steps=150)
        rate = (batch.labels * batch.mask).sum(0) / batch.mask.sum(0)
        constant = model.loss(torch.where(model.binary, rate.logit(), rate).expand_as(batch.labels), batch)
        with torch.no_grad():
            loss = model.loss(model(batch), batch)
        for task, learnt, reference in zip(data.tasks, loss.tolist(), constant.tolist(), strict=True):
            assert learnt < 0.7 * reference, (
                f"task '{task.name}' is not learnt: loss {learnt:.3f} after 150 steps, {reference:.3f} for a constant"
            )
