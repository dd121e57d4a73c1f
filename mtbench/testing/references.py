"""The tests that every reference, a model that is no network, must pass; for pytest.

Inherit from the suite and name your model::

    class TestNeighbours(ReferenceSuite):
        model = Neighbours
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from mtbench.testing.examples import TASKS, examples, schema
from mtbench.testing.models import SOME, make_unknown, sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.model import Reference
    from mtbench.schema import Task

CLOSE = 1e-6


class ReferenceSuite:
    """Tests of one reference on :mod:`mtbench.testing.examples`, with the inputs that it asks for.

    ``settings`` replaces defaults of its ``Config``, ``tasks`` are what it is tested with, and ``share`` is the loss on
    held-out rows that it must stay below, as a share of the best constant's.
    """

    model: ClassVar[type[Reference]]
    settings: ClassVar[Mapping[str, Any]] = {}
    tasks: ClassVar[Sequence[Task]] = TASKS
    share: ClassVar[float] = 0.8

    def columns(self, tasks: int = SOME) -> Columns:
        """Return the examples with the first so many tasks and the model's inputs."""
        chosen = self.tasks[:tasks]
        return examples(chosen, self.model.inputs(self.model.Config(**self.settings), schema(chosen)))

    def fit_model(self, columns: Columns, train: Batch | None = None, seed: int = 0) -> Reference:
        """Return the model fitted on the examples, or on other training rows."""
        model = self.model(self.model.Config(**self.settings), columns.spec, columns.schema, seed)
        model.fit(columns.train.whole() if train is None else train, columns.valid.whole())
        return model

    def test_predicts_any_number_of_tasks(self) -> None:
        """One task, two and so on to all of them, of every kind: finite values, some of them probabilities."""
        for count in range(1, len(self.tasks) + 1):
            columns = self.columns(count)
            require_predictions(self.fit_model(columns), sample(columns.valid))

    def test_scores_rise_with_predictions(self) -> None:
        """What ranks rows comes with the same predictions, and has their order."""
        columns = self.columns(len(self.tasks))
        model, batch = self.fit_model(columns), sample(columns.valid)
        values, scores = model.predict_with_scores(batch)
        assert np.array_equal(values, model.predict(batch)), "predict_with_scores() predicts otherwise than predict()"
        for task, predicted, scored in zip(columns.spec.tasks, values.T, scores.T, strict=True):
            in_order = np.diff(predicted[np.argsort(scored)]) >= 0
            assert np.isnan(scored).all() or in_order.all(), (
                f"scores of task '{task.name}' rank otherwise than predictions"
            )

    def test_predicts_a_single_row(self) -> None:
        """As serving does."""
        columns = self.columns()
        require_predictions(self.fit_model(columns), sample(columns.valid, 1))

    def test_predicts_rows_of_which_nothing_is_known(self) -> None:
        """Values that training never saw have code 0; lists and histories may be empty, for a whole split too."""
        columns = self.columns()
        require_predictions(self.fit_model(columns), make_unknown(columns))

    def test_predicts_a_row_alike_in_any_batch(self) -> None:
        """The number and the order of the rows change no prediction."""
        columns = self.columns()
        model, batch = self.fit_model(columns), sample(columns.valid)
        order = torch.randperm(len(batch))
        values = model.predict(batch)
        alone = np.concatenate([model.predict(batch.take(order[at : at + 1])) for at in range(16)])
        np.testing.assert_allclose(model.predict(batch.take(order)), values[order], atol=CLOSE)
        np.testing.assert_allclose(alone, values[order[:16]], atol=CLOSE)

    def test_predicts_without_labels(self) -> None:
        """``predict`` gives the same values when labels and mask are withheld."""
        columns = self.columns()
        model, batch = self.fit_model(columns), sample(columns.valid)
        nothing = torch.full_like(batch.labels, torch.nan)
        blind = replace(batch, labels=nothing, mask=nothing)
        assert np.array_equal(model.predict(batch), model.predict(blind)), "the predictions depend on the labels"

    def test_learns_from_known_labels_alone(self) -> None:
        """What stands in a label that is unknown, or whose given task was not positive, changes nothing."""
        columns = self.columns()
        train, batch = columns.train.whole(), sample(columns.valid)
        garbled = replace(train, labels=torch.where(train.mask > 0, train.labels, 1 - train.labels))
        first, second = (self.fit_model(columns, rows).predict(batch) for rows in (train, garbled))
        assert np.array_equal(first, second), "the predictions depend on training labels that are masked"

    def test_fits_alike_each_time(self) -> None:
        """The same rows and the same seed give the same bits; any seed, where the model says that it has none."""
        columns = self.columns()
        batch = sample(columns.valid)
        seeds = (0, 0) if self.model.seeded else (0, 1)
        first, second = (self.fit_model(columns, seed=seed).predict(batch) for seed in seeds)
        assert np.array_equal(first, second), f"two fits with the seeds {seeds} predict otherwise"

    def test_fits_a_task_without_labels_and_one_of_a_single_class(self) -> None:
        """Rare tasks may be so in the rows that count."""
        columns = self.columns()
        train = columns.train.whole()
        mask, labels = train.mask.clone(), train.labels.clone()
        mask[:, 0] = 0
        labels[:, 1] = 0
        model = self.fit_model(columns, replace(train, mask=mask, labels=labels))
        require_predictions(model, sample(columns.valid))

    def test_learns(self) -> None:
        """On rows that it was not fitted on, the model is better than the best constant."""
        columns = self.columns()
        train, valid = columns.train.whole(), columns.valid.whole()
        constant = (train.labels * train.mask).double().sum(0) / train.mask.double().sum(0)
        values = self.fit_model(columns).predict(valid)
        for column, task in enumerate(columns.spec.tasks):
            reached = loss(task, values[:, column], valid, column)
            best = loss(task, np.full(len(valid), float(constant[column])), valid, column)
            assert reached < self.share * best, (
                f"task '{task.name}' is not learnt: loss {reached:.3f}, {best:.3f} for a constant"
            )


def require_predictions(model: Reference, rows: Batch) -> None:
    """Fail if predictions have another shape, are not finite or no probabilities."""
    values = np.asarray(model.predict(rows))
    shape = (len(rows), model.data.num_tasks)
    assert values.shape == shape, f"predictions must have shape {shape}, not {values.shape}"
    assert np.isfinite(values).all(), "a prediction is not finite"
    probabilities = values[:, [task.probability for task in model.data.tasks]]
    assert ((probabilities >= 0) & (probabilities <= 1)).all(), "a binary task's prediction is no probability"


def loss(task: Task, values: np.ndarray, rows: Batch, column: int) -> float:
    """Return the mean log loss or squared error over the rows that count for a task."""
    known = rows.mask[:, column].numpy() > 0
    labels, values = rows.labels[:, column].numpy()[known], values[known].astype(np.float64)
    if not task.probability:
        return float(np.square(values - labels).mean())
    values = values.clip(1e-7, 1 - 1e-7)
    return float(-np.where(labels > 0, np.log(values), np.log1p(-values)).mean())
