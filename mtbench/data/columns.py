"""The prepared columns of a dataset, memory-mapped; the test rows behind one door."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mtbench.data.batches import Batch, Ragged
from mtbench.data.gates import Finding
from mtbench.schema import DataSpec, Schema

if TYPE_CHECKING:
    from pathlib import Path


class Columns:
    """The encoded rows of one dataset under one split, in a folder of the cache.

    ``train`` and ``valid`` are there for everyone. The test rows are given out by :meth:`open_test` alone, which the
    run calls once, after the choice on validation is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        self.schema = Schema.model_validate(self.meta["schema"])
        self.test_opened = 0

    def __reduce__(self) -> tuple[type[Columns], tuple[Path]]:
        return Columns, (self.folder,)

    @property
    def counts(self) -> dict[str, int]:
        """Rows of train, valid, test and warmup."""
        return dict(self.meta["counts"])

    @property
    def findings(self) -> list[Finding]:
        """What the leak gates warn of."""
        return [Finding(**finding) for finding in self.meta["findings"]]

    def positive_rates(self) -> dict[str, float]:
        """Return each task's mean label over the training rows that count."""
        labels, mask = self.train.labels.double(), self.train.mask.double()
        means = (labels * mask).sum(0) / mask.sum(0)
        return {task.name: float(mean) for task, mean in zip(self.schema.tasks, means, strict=True)}

    @cached_property
    def spec(self) -> DataSpec:
        """What a model is built for; regression labels are centred and scaled by their training rows."""
        labels, mask = self._read("labels"), self._read("mask")
        train = slice(0, self.counts["train"])
        centre, scale = [], []
        for column, task in enumerate(self.schema.tasks):
            known = labels[train, column][mask[train, column] > 0] if task.kind == "regression" else np.zeros(0)
            known = known.astype(np.float64)
            centre.append(float(known.mean()) if len(known) else 0.0)
            scale.append(float(known.std()) if len(known) else 1.0)
        return DataSpec(
            self.schema.tasks,
            self.meta["categorical"],
            self.meta["multi"],
            tuple(self.meta["numeric"]),
            tuple(centre),
            tuple(scale),
        )

    @cached_property
    def train(self) -> Batch:
        """The training rows."""
        return self._part(0, self.counts["train"])

    @cached_property
    def valid(self) -> Batch:
        """The validation rows."""
        return self._part(self.counts["train"], self.counts["valid"])

    def open_test(self) -> Batch:
        """Return the test rows, and count that they were given out."""
        self.test_opened += 1
        return self._part(self.counts["train"] + self.counts["valid"], self.counts["test"])

    def row_ids(self, batch: Batch) -> np.ndarray:
        """Return the raw table's row numbers of a batch, counted from 0."""
        return np.asarray(self._read("row")[batch.rows.cpu().numpy()])

    def users(self, batch: Batch) -> np.ndarray | None:
        """Return the number of each row's user, or None where the dataset has no users."""
        return self._of("user", batch)

    def bound(self, kind: str, batch: Batch) -> np.ndarray | None:
        """Return the ``optimum`` or ``reachable`` predictions (rows, tasks) of generated data, NaN where unknown."""
        return self._of(kind, batch)

    def _of(self, name: str, batch: Batch) -> np.ndarray | None:
        if not (self.folder / f"{name}.npy").is_file():
            return None
        return np.asarray(self._read(name)[batch.rows.cpu().numpy()])

    def _read(self, name: str) -> np.ndarray:
        # copy-on-write: torch wants a writable array, the file stays as it is
        column: np.ndarray = np.load(self.folder / f"{name}.npy", mmap_mode="c")
        return column

    def _tensor(self, name: str, part: slice) -> torch.Tensor:
        return torch.from_numpy(self._read(name)[part])

    def _part(self, start: int, count: int) -> Batch:
        part = slice(start, start + count)
        multi = {
            name: Ragged(
                self._tensor(f"multi-{index}-values", slice(None)),
                self._tensor(f"multi-{index}-offsets", slice(start, start + count + 1)),
            )
            for index, name in enumerate(self.meta["multi"])
        }
        return Batch(
            rows=torch.arange(start, start + count),
            categorical=self._tensor("categorical", part),
            numeric=self._tensor("numeric", part),
            labels=self._tensor("labels", part),
            mask=self._tensor("mask", part),
            multi=multi,
        )
