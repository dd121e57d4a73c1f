"""The prepared columns of a dataset, memory-mapped; one method gives out the test rows."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mtbench.data.batches import Ragged
from mtbench.data.cache import reading
from mtbench.data.encode import MISSING
from mtbench.data.gates import Finding
from mtbench.data.mapped import map_array
from mtbench.data.rows import SplitRows
from mtbench.errors import MTBenchError, suggest
from mtbench.kinds import find_kind
from mtbench.schema import DataSpec, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mtbench import InputReader
    from mtbench.data.batches import EncodedRows


class Columns:
    """The encoded rows of one dataset under one split, in a folder of the cache.

    ``train`` and ``valid`` are there for everyone. The test rows are given out by :meth:`open_test` alone, which the
    run calls once, after the choice on validation is made.

    Since 0.1, provisional.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading():
            self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        self.schema = Schema.model_validate(self.meta["schema"])
        self.asked: Mapping[str, InputReader] = {}
        self.pooled: Mapping[str, InputReader] = {}
        self.test_opened = 0

    def __reduce__(self) -> tuple[Callable[..., Columns], tuple[Any, ...]]:
        return _with_inputs, (self.folder, self.asked, self.pooled)

    def with_inputs(self, asked: Mapping[str, InputReader], pooled: Mapping[str, InputReader]) -> Columns:
        """Return these columns with inputs for the model that asked, and given ones pooled into further columns."""
        return _with_inputs(self.folder, asked, pooled)

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

    def training_labels(self, task: str) -> np.ndarray:
        """Return the labels of a task in the training rows that count for it, float64."""
        column = [one.name for one in self.schema.tasks].index(task)
        train = slice(0, self.counts["train"])
        known = self._read("mask")[train, column] > 0
        labels: np.ndarray = self._read("labels")[train, column][known].astype(np.float64)
        return labels

    def constants(self) -> list[float]:
        """Return the prediction of one who knows the training labels alone, by task."""
        return [find_kind(task.kind).constant(self.training_labels(task.name)) for task in self.schema.tasks]

    @cached_property
    def spec(self) -> DataSpec:
        """What a model is built for, with what the kind of each task learns from the labels of training rows."""
        targets = []
        for task in self.schema.tasks:
            try:
                targets.append(find_kind(task.kind).fit(self.training_labels(task.name)))
            except MTBenchError as error:
                raise MTBenchError(f"task '{task.name}' (column '{task.label}') {error}") from error
        multi, numeric = dict(self.meta["multi"]), list(self.meta["numeric"])
        for input_name, reader in self.pooled.items():
            lists, numbers = reader.features()
            for name in (*lists, *numbers):
                if name in {*self.meta["categorical"], *multi, *numeric}:
                    raise MTBenchError(
                        f"the input '{input_name}' gives a feature '{name}', and there is one of that name; rename the "
                        "dataset's, or leave the input out"
                    )
            multi.update(lists)
            numeric += numbers
        return DataSpec(
            tasks=self.schema.tasks,
            categorical=self.meta["categorical"],
            multi=multi,
            numeric=tuple(numeric),
            targets=tuple(targets),
            inputs={name: reader.spec for name, reader in self.asked.items()},
            domains=self.meta["categorical"].get(self.meta["domain"], 0),
        )

    @cached_property
    def train(self) -> SplitRows:
        """The training rows."""
        return self._part(0, self.counts["train"])

    @cached_property
    def valid(self) -> SplitRows:
        """The validation rows."""
        return self._part(self.counts["train"], self.counts["valid"])

    def open_test(self) -> SplitRows:
        """Return the test rows, and count that they were given out."""
        self.test_opened += 1
        return self._part(self.counts["train"] + self.counts["valid"], self.counts["test"])

    def everything(self) -> SplitRows:
        """Return the rows of all parts without their labels, for inputs and tests of them."""
        rows = self._part(0, sum(self.counts.values()))
        return replace(rows, labels=rows.labels[:0], mask=rows.mask[:0])

    def row_ids(self, rows: EncodedRows) -> np.ndarray:
        """Return the raw table's row numbers of some rows, counted from 0."""
        return np.asarray(self._read("row")[rows.rows.cpu().numpy()])

    def identity(self, node: str) -> np.ndarray:
        """Return the number of each row's ``user`` or ``item``, int64. Raises MTBenchError where there are none."""
        if f"{node}s" not in self.meta:
            raise MTBenchError(
                f"dataset '{self.meta['dataset']}' has no {node}s, which an input of this experiment is made from; "
                f"name the column of the {node}s, or leave out the input or the model that asks for it"
            )
        return self._read(node)

    def time(self) -> np.ndarray:
        """Return the time of each row, int64 or float64; a seeded order where the data have none."""
        return self._read("time")

    def part(self) -> np.ndarray:
        """Return the part of each row, int8: 0 for training and warm-up, 1 for validation, 2 for test."""
        return np.repeat(np.array([0, 1, 2, 0], np.int8), [*self.counts.values()])

    def chunk(self) -> np.ndarray:
        """Return the point-in-time chunk of each row."""
        return self._read("chunk")

    def positive(self) -> np.ndarray:
        """Return which rows are known positives of which tasks of probabilities, bool of shape (rows, tasks)."""
        events = np.array([task.probability for task in self.schema.tasks])
        positive: np.ndarray = (self._read("labels") == 1) & events
        return positive

    def earlier_events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return user, item and positives (events, tasks) of the events before the first row, oldest first."""
        return self._read("earlier-user"), self._read("earlier-item"), self._read("earlier-positive")

    def text(self, column: str) -> pa.ChunkedArray:
        """Return a text of each item by its number, null where unknown. Raises MTBenchError for a column without.

        It is the first that training or warm-up rows have; where they have none that of validation rows, else of test.
        """
        return self._read_text(column, "text")

    def text_part(self, column: str) -> np.ndarray:
        """Return which part each item's text is from, as :meth:`part` says it: rows of earlier parts do not know it."""
        part: np.ndarray = self._read_text(column, "part").to_numpy()
        return part

    def _read_text(self, column: str, what: str) -> pa.ChunkedArray:
        texts = self.schema.texts
        if column not in texts:
            raise MTBenchError(
                f"dataset '{self.meta['dataset']}' has no text '{column}'{suggest(column, texts)}; "
                f"its texts are: {', '.join(texts) or 'none'}"
            )
        with reading():
            return pq.read_table(self.folder / f"text-{texts.index(column)}.parquet")[what]

    def users(self, rows: EncodedRows) -> np.ndarray | None:
        """Return the number of each row's user, or None where the dataset has no users."""
        return self._of("user", rows)

    def domains(self, rows: EncodedRows) -> pa.DictionaryArray | None:
        """Return the domain of each row as a text, null where missing, or None where the dataset has no domains.

        It is the column's value, so that domains which training never saw are told apart.
        """
        number = self._of("domain", rows)
        return None if number is None else pa.DictionaryArray.from_arrays(_nullable(number), self._domain_names())

    def count_domains(self) -> list[dict[str, Any]]:
        """Return each domain's ``domain``, a text or None, and its rows by part, the domain of most rows first."""
        if self.meta["domain"] is None:
            return []
        number, names = self._read("domain"), self._domain_names()
        ends = np.cumsum(list(self.counts.values()))
        parts = [np.bincount(part + 1, minlength=len(names) + 1) for part in np.split(number, ends[:-1])]
        counts = np.column_stack(parts)
        order = [domain for domain in np.argsort(-counts.sum(1), kind="stable") if counts[domain].any()]
        texts = [None, *names.to_pylist()]
        return [{"domain": texts[one], **dict(zip(self.counts, counts[one].tolist(), strict=True))} for one in order]

    def _domain_names(self) -> pa.Array:
        with reading():
            return pq.read_table(self.folder / "domains.parquet")["value"].combine_chunks()

    def bound(self, kind: str, rows: EncodedRows) -> np.ndarray | None:
        """Return the ``optimum`` or ``reachable`` predictions (rows, tasks) of generated data, NaN where unknown."""
        return self._of(kind, rows)

    def unlabelled(self, rows: EncodedRows) -> np.ndarray | None:
        """Return which rows of the official test part are predicted without being judged, bool of shape (rows, tasks).

        None where every label of that part is known.
        """
        return self._of("unlabelled", rows)

    def _of(self, name: str, rows: EncodedRows) -> np.ndarray | None:
        if not (self.folder / f"{name}.npy").is_file():
            return None
        return np.asarray(self._read(name)[rows.rows.cpu().numpy()])

    def _read(self, name: str) -> np.ndarray:
        return map_array(self.folder / f"{name}.npy")

    def _tensor(self, name: str, part: slice) -> torch.Tensor:
        return torch.from_numpy(self._read(name)[part])

    def _part(self, start: int, count: int) -> SplitRows:
        part, domain = slice(start, start + count), self.meta["domain"]
        multi = {
            name: Ragged(
                self._tensor(f"multi-{index}-values", slice(None)),
                self._tensor(f"multi-{index}-offsets", slice(start, start + count + 1)),
            )
            for index, name in enumerate(self.meta["multi"])
        }
        return SplitRows(
            rows=torch.arange(start, start + count),
            categorical=self._tensor("categorical", part),
            numeric=self._tensor("numeric", part),
            labels=self._tensor("labels", part),
            mask=self._tensor("mask", part),
            multi=multi,
            domain_column=None if domain is None else list(self.meta["categorical"]).index(domain),
            asked=self.asked,
            pooled=self.pooled,
        )


def _nullable(number: np.ndarray) -> pa.Array:
    return pa.array(number, mask=number == MISSING)


def _with_inputs(folder: Path, asked: Mapping[str, InputReader], pooled: Mapping[str, InputReader]) -> Columns:
    columns = Columns(folder)
    columns.asked, columns.pooled = asked, pooled
    return columns
