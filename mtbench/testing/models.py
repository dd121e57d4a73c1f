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

from mtbench.data.batches import Batch, Ragged
from mtbench.testing.examples import TASKS, examples, schema
from mtbench.testing.mixtures import measure_spread, record_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from mtbench.data.columns import Columns
    from mtbench.data.rows import SplitRows
    from mtbench.model import MultiTaskModel
    from mtbench.schema import Task

SOME = 4
"""Tasks of most tests: a funnel of three and a number, unless the suite names others."""
ROWS = 61
"""Rows of a batch: a prime, so that a dimension of mixture weights that it divides is known to be that of the rows."""
FLAT = 1e-4
"""Standard deviation up to which mixture weights count as alike for all rows."""


class ModelSuite:
    """Tests of one model on :mod:`mtbench.testing.examples`, with the inputs that it asks for.

    ``settings`` replaces defaults of its ``Config``: choose small ones. ``tasks`` are what it is tested with, the first
    one, the first two and so on to all of them; a model that is for certain tasks alone names its own.
    """

    model: ClassVar[type[MultiTaskModel]]
    settings: ClassVar[Mapping[str, Any]] = {}
    tasks: ClassVar[Sequence[Task]] = TASKS

    def columns(self, tasks: int = SOME) -> Columns:
        """Return examples of the first ``tasks`` tasks: batches come from ``train`` and ``valid`` by ``take``."""
        config = self.model.Config(**self.settings)
        chosen = self.tasks[:tasks]
        return examples(chosen, self.model.inputs(config, schema(chosen)))

    def build(self, columns: Columns, seed: int = 0) -> MultiTaskModel:
        """Return a freshly initialised model, by default without the wide term, which would learn in its stead."""
        torch.manual_seed(seed)
        return self.model(self.model.Config(**{"wide": False, **self.settings}), columns.spec)

    def train_model(self, columns: Columns, steps: int, batch_size: int = 128) -> MultiTaskModel:
        """Return a model trained by Adam and set to evaluation."""
        model = self.build(columns).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(steps):
            batch = columns.train.take(torch.randperm(len(columns.train))[:batch_size])
            optimizer.zero_grad()
            torch.autograd.backward(model.loss(model(batch), batch).mean())
            optimizer.step()
        return model.eval()

    def test_gives_finite_logits_for_any_number_of_tasks(self) -> None:
        """One task, two and so on to all of them, of every kind, in training and in evaluation."""
        for count in range(1, len(self.tasks) + 1):
            columns = self.columns(count)
            model = self.build(columns)
            batch = sample(columns.valid)
            for mode in (True, False):
                logits = model.train(mode)(batch)
                shape = tuple(logits.shape)
                assert shape == (ROWS, count), f"logits must have shape ({ROWS}, {count}), not {shape}"
                assert logits.isfinite().all(), f"a logit is not finite with {count} tasks (training: {mode})"
                losses = model.loss(logits, batch)
                assert losses.shape == (count,), f"loss() must return shape ({count},), not {tuple(losses.shape)}"
                assert losses.isfinite().all(), f"a loss is not finite with {count} tasks (training: {mode})"

    def test_predicts_probabilities_for_binary_tasks(self) -> None:
        """``predict`` stays between 0 and 1."""
        columns = self.columns()
        model = self.build(columns).eval()
        predictions = model.predict(model(sample(columns.valid)))
        shape = (ROWS, columns.spec.num_tasks)
        assert predictions.shape == shape, f"predictions must have shape {shape}, not {tuple(predictions.shape)}"
        probabilities = predictions[:, [task.probability for task in columns.spec.tasks]]
        assert ((probabilities >= 0) & (probabilities <= 1)).all(), "a binary task's prediction is no probability"

    def test_scores_rise_with_predictions(self) -> None:
        """What ranks rows has the order of the predictions; both stay finite where logits are as large as 200."""
        columns = self.columns(len(self.tasks))
        model = self.build(columns).eval()
        logits = torch.linspace(-200, 200, ROWS).unsqueeze(1).expand(-1, len(self.tasks)).clone()
        predictions, scores = model.predict(logits), model.score(logits)
        assert predictions.isfinite().all(), "a prediction of large logits is not finite"
        for task, predicted, scored in zip(columns.spec.tasks, predictions.unbind(1), scores.unbind(1), strict=True):
            in_order = predicted[scored.argsort()].diff() >= 0
            assert scored.isnan().all() or in_order.all(), (
                f"scores of task '{task.name}' rank otherwise than predictions"
            )

    def test_takes_a_batch_of_one_row(self) -> None:
        """The last batch of an epoch may be as small, and serving is."""
        columns = self.columns()
        model = self.build(columns)
        for mode in (True, False):
            logits = model.train(mode)(sample(columns.train, 1))
            shape = (1, columns.spec.num_tasks)
            assert logits.shape == shape, f"logits of one row must have shape {shape}, not {tuple(logits.shape)}"
            assert logits.isfinite().all(), f"a logit of a batch of one row is not finite (training: {mode})"

    def test_takes_rows_of_which_nothing_is_known(self) -> None:
        """Values that training never saw have code 0; lists and histories may be empty, for a whole batch too."""
        columns = self.columns()
        model = self.build(columns)
        batch = make_unknown(columns)
        for mode in (True, False):
            logits = model.train(mode)(batch)
            assert logits.isfinite().all(), (
                f"unseen values, empty lists and histories give a logit that is not finite (training: {mode})"
            )
        require_finite_gradients(model, batch, "rows of which nothing is known")

    def test_takes_half_precision(self) -> None:
        """``training.precision: bf16-mixed`` runs the layers in bfloat16."""
        columns = self.columns()
        model = self.build(columns).train()
        with torch.autocast("cpu", torch.bfloat16):
            require_finite_gradients(model, sample(columns.train), "bfloat16")

    def test_trains_every_parameter(self) -> None:
        """A parameter without gradient is a layer that was forgotten in ``forward`` or never registered."""
        columns = self.columns()
        model = self.train_model(columns, steps=2).train()  # what starts at zero has let gradients through by then
        model.zero_grad()
        batch = sample(columns.train, 512)
        torch.autograd.backward(model.loss(model(batch), batch).sum())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"parameter '{name}' gets no gradient"
                assert parameter.grad.isfinite().all(), f"the gradient of parameter '{name}' is not finite"
                assert parameter.grad.any(), f"the gradient of parameter '{name}' is zero throughout"

    def test_predicts_a_row_alike_in_any_batch(self) -> None:
        """The batch size and the order of the rows change no prediction."""
        columns = self.columns()
        model = self.train_model(columns, steps=3)
        batch = sample(columns.valid)
        order = torch.randperm(ROWS)
        with torch.no_grad():
            logits = model(batch)
            shuffled = model(batch.take(order))
            alone = torch.cat([model(batch.take(order[i : i + 1])) for i in range(16)])
        torch.testing.assert_close(shuffled, logits[order], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone, logits[order[:16]], rtol=1e-4, atol=1e-5)

    def test_predicts_alike_each_time(self) -> None:
        """Evaluation draws no random numbers."""
        columns = self.columns()
        model = self.build(columns).eval()
        batch = sample(columns.valid)
        assert torch.equal(model(batch), model(batch)), "two predictions of the same rows differ in evaluation"

    def test_never_reads_labels(self) -> None:
        """``forward`` gives the same logits when labels and mask are withheld."""
        columns = self.columns()
        batch = sample(columns.train)
        nothing = torch.full_like(batch.labels, torch.nan)
        blind = replace(batch, labels=nothing, mask=nothing)
        model = self.build(columns)
        for mode in (True, False):
            model.train(mode)
            logits = []
            for rows in (batch, blind):
                torch.manual_seed(0)
                logits.append(model(rows))
            assert torch.equal(*logits), f"the logits depend on the labels or their mask (training: {mode})"

    def test_uses_every_input(self) -> None:
        """Each input that the model asks for changes its logits: rows are given those of others."""
        columns = self.columns()
        model = self.train_model(columns, steps=3)
        batch = sample(columns.valid)
        for name, parts in batch.inputs.items():
            others = type(parts)(*(part.roll(1, 0) for part in parts))
            changed = replace(batch, inputs={**batch.inputs, name: others})
            assert not torch.equal(model(changed), model(batch)), f"the input '{name}' changes no logit"

    def test_takes_a_batch_without_labels_of_a_task(self) -> None:
        """Rare tasks have none in many a batch; the loss stays finite and trains the others."""
        columns = self.columns()
        batch = sample(columns.train)
        for column, task in enumerate(columns.spec.tasks):
            mask = batch.mask.clone()
            mask[:, column] = 0
            what = f"a batch without labels of task '{task.name}'"
            require_finite_gradients(self.build(columns), replace(batch, mask=mask), what)

    def test_learns_from_known_labels_alone(self) -> None:
        """What stands in a label that is unknown, or whose given task was not positive, changes no loss."""
        columns = self.columns()
        batch = sample(columns.train)
        model = self.build(columns).eval()
        garbled = replace(batch, labels=torch.where(batch.mask > 0, batch.labels, 1 - batch.labels))
        losses = [model.loss(model(rows), rows) for rows in (batch, garbled)]
        for task, known, changed in zip(columns.spec.tasks, *(loss.tolist() for loss in losses), strict=True):
            assert known == changed, f"the loss of task '{task.name}' depends on labels that are masked"

    def test_takes_labels_in_double_precision(self) -> None:
        """Labels come so where single precision cannot hold them; losses and gradients are as good."""
        columns = self.columns()
        batch = sample(columns.train)
        model = self.build(columns).eval()
        single, double = (
            model.loss(model(rows), rows)
            for rows in (replace(batch, labels=batch.labels.to(kind)) for kind in (torch.float32, torch.float64))
        )
        torch.autograd.backward(double.sum())
        torch.testing.assert_close(double, single, check_dtype=False, msg="labels in float64 give another loss")

    def test_survives_a_checkpoint(self) -> None:
        """All that prediction needs is in ``state_dict``, in types that ``weights_only`` loads."""
        columns = self.columns()
        model = self.train_model(columns, steps=3)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        restored = self.build(columns, seed=1).eval()
        restored.load_state_dict(torch.load(file, weights_only=True))
        batch = sample(columns.valid)
        assert torch.equal(restored(batch), model(batch)), "a model restored from its checkpoint predicts otherwise"

    def test_learns(self) -> None:
        """On rows that it was not trained on, the model is better by far than the best constant."""
        columns = self.columns()
        model = self.train_model(columns, steps=100)
        train, valid = (sample(rows, len(rows)) for rows in (columns.train, columns.valid))
        with torch.no_grad():
            loss = model.loss(model(valid), valid)
            reference = model.loss(best_constant(model, train).expand_as(valid.labels), valid)
        for task, learnt, best in zip(columns.spec.tasks, loss.tolist(), reference.tolist(), strict=True):
            assert learnt < 0.8 * best, (
                f"task '{task.name}' is not learnt: loss {learnt:.3f} after 100 steps, {best:.3f} for a constant"
            )

    def test_mixes_each_row_in_its_own_way(self) -> None:
        """Gates, attention and routing that are alike for all rows mix nothing: every softmax and sigmoid is judged.

        Weights that belong to no row, such as a learned mixture of layers, are not.
        """
        columns = self.columns()
        model = self.train_model(columns, steps=30)
        for weights in record_weights(model, sample(columns.valid)):
            assert measure_spread(weights, ROWS) > FLAT, (
                f"mixture weights of shape {tuple(weights.shape)} are the same for all rows of a batch"
            )

    def test_trains_its_networks_apart(self) -> None:
        """Experts that stay equal are one expert."""
        model = self.train_model(self.columns(), steps=30)
        seen: dict[tuple[Any, ...], str] = {}
        for name, matrix in list_matrices(model):
            if matrix.min() < matrix.max():
                key = (*matrix.shape, matrix.numpy().tobytes())
                assert key not in seen, f"'{name}' and '{seen[key]}' are equal after training"
                seen[key] = name


def sample(rows: SplitRows, count: int = ROWS) -> Batch:
    """Return ``count`` rows from everywhere between the first and the last, with their inputs."""
    return rows.take(torch.arange(count) * len(rows) // count)


def best_constant(model: MultiTaskModel, rows: Batch) -> Tensor:
    """Return the logits, one per task, that are best where all rows have the same."""
    logits = torch.zeros(model.data.num_tasks, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def close() -> Tensor:
        optimizer.zero_grad()
        loss = model.loss(logits.expand_as(rows.labels), rows).sum()
        torch.autograd.backward(loss, inputs=[logits])
        return loss

    with torch.enable_grad():
        optimizer.step(close)  # type: ignore[no-untyped-call]
    return logits.detach()


def make_unknown(columns: Columns) -> Batch:
    """Return rows of the first chunk, which have no history, with codes of unseen values and empty lists."""
    chunk = torch.from_numpy(columns.chunk()[: len(columns.train)].copy())
    batch = columns.train.take((chunk == 0).nonzero().squeeze(1)[:ROWS])
    return replace(
        batch,
        categorical=torch.zeros_like(batch.categorical),
        multi={name: Ragged(x.values[:0], torch.zeros_like(x.offsets)) for name, x in batch.multi.items()},
    )


def require_finite_gradients(model: MultiTaskModel, batch: Batch, what: str) -> None:
    """Fail if a loss or a gradient of the batch is not finite."""
    losses = model.loss(model.train()(batch), batch)
    assert losses.isfinite().all(), f"{what}: a loss is not finite"
    torch.autograd.backward(losses.sum())
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), (
            f"{what}: the gradient of parameter '{name}' is not finite"
        )


def list_matrices(model: MultiTaskModel) -> Iterator[tuple[str, Tensor]]:
    """Yield every weight matrix, those of a stack one by one."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            for number, matrix in enumerate(parameter.detach().reshape(-1, *parameter.shape[-2:])):
                yield f"{name}[{number}]", matrix
