"""The references of an experiment: one model that is no network, fitted once per seed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from mtbench.errors import MTBenchError
from mtbench.kinds import find_kind
from mtbench.record.form import SeedRun
from mtbench.training import efficiency
from mtbench.training.scoring import Predicted

if TYPE_CHECKING:
    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.data.rows import SplitRows
    from mtbench.model import Reference
    from mtbench.schema import Settings
    from mtbench.training.display import RunDisplay
    from mtbench.training.efficiency import Cost
    from mtbench.training.scoring import Scorer


@dataclass
class References:
    """A reference with its settings. A fit leaves nothing behind: one that was interrupted starts over."""

    name: str
    cls: type[Reference]
    config: Settings
    columns: Columns
    scorer: Scorer

    def __post_init__(self) -> None:
        self._first: FittedReference | None = None
        self.build(0)  # a dataset that it cannot do with is refused before anything is trained

    def build(self, seed: int) -> Reference:
        """Return the model before its fit."""
        return self.cls(self.config, self.columns.spec, self.columns.schema, seed)

    def fit(self, seed: int, display: RunDisplay | None) -> FittedReference:
        """Fit the model and score it on the validation rows."""
        tasks = self.columns.schema.tasks
        if display is not None:
            display.begin(f"{self.name}, seed {seed}", 1)
        if self._first is None or self.cls.seeded:
            fitted = self._first = self._fit(seed)
        else:
            fitted = replace(self._first, run=self._first.run.model_copy(update={"seconds": [0.0]}))
        if display is not None:
            display.end(fitted.run, tasks)
        return fitted

    def _fit(self, seed: int) -> FittedReference:
        tasks = self.columns.schema.tasks
        started = time.perf_counter()
        reference = self.build(seed)
        reference.fit(self.columns.train.whole(), self.columns.valid.whole())
        values = self.scorer.values(_predict(reference, self.columns.valid))
        run = SeedRun(
            chosen={task.name: 0 for task in tasks},
            valid={task: [value] for task, value in values.items()},
            loss={},
            seconds=[time.perf_counter() - started],
        )
        return FittedReference(reference, run)

    def measure_cost(self, fitted: FittedReference, batch: Batch) -> Cost:
        """Return what the model costs, measured on a batch."""
        device = torch.device("cpu")
        return efficiency.Cost(
            device=efficiency.device_name(device),
            processes=1,
            parameters=fitted.reference.parameters,
            flops_per_row=None,
            step_seconds=None,
            latency_seconds=efficiency.measure_seconds(lambda: fitted.reference.predict(batch), batch),
            peak_memory_bytes=efficiency.peak_memory(device),
        )


@dataclass
class FittedReference:
    """A reference that was fitted with one seed, in memory."""

    reference: Reference
    run: SeedRun

    def summary(self) -> SeedRun:
        """Return how the fit went."""
        return self.run

    def predict(self, rows: SplitRows) -> Predicted:
        """Return the predictions of a split."""
        return _predict(self.reference, rows)


def _predict(reference: Reference, rows: SplitRows) -> Predicted:
    values, scores = (np.asarray(part, np.float64) for part in reference.predict_with_scores(rows.whole()))
    shape = (len(rows), reference.data.num_tasks)
    for method, part in (("predict", values), ("predict_with_scores", scores)):
        if part.shape != shape:
            raise MTBenchError(f"{method}() returned shape {part.shape}; return (rows, tasks), {shape}")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        task = reference.data.tasks[column].name
        raise MTBenchError(f"predict() returned {values[row, column]} for task '{task}'; predictions must be finite")
    kinds = [find_kind(task.kind) for task in reference.data.tasks]
    fits = reference.data.targets
    admitted = [kind.admit(values[:, at], fit) for at, (kind, fit) in enumerate(zip(kinds, fits, strict=True))]
    return Predicted(rows.rows.numpy(), np.column_stack(admitted), scores)
