"""The leak gates over what rows hold, fed block by block: on a sample of training rows, and on a hash of every row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mtbench.data import gates, splits
from mtbench.data.fitted import take_lists
from mtbench.data.scratch import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mtbench.data.fitted import Encoded, Fitted

HASH = "hash"


class Content:
    """Collects what the gates need while the encoded rows pass by."""

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self._sample = gates.sample_training(fitted.part)
        self._picked: list[Encoded] = []

    def add(self, encoded: Encoded) -> None:
        """Take the next rows of the table into account."""
        rows = encoded.rows
        first, last = np.searchsorted(self._sample, [rows.start, rows.stop])
        self._picked.append(_take(encoded, self._sample[first:last] - rows.start))
        self._fitted.raw.scratch.append(HASH, gates.row_hashes(self._columns(encoded)))

    def findings(self, acknowledged: Mapping[str, str]) -> Iterator[gates.Finding]:
        """Check that no feature predicts a label nearly alone, and report test rows that equal training rows."""
        labels, mask = self._join("labels"), self._join("mask")
        yield from gates.predictors(self._values(), labels, mask, self._fitted.raw.schema, acknowledged)
        yield from gates.duplicates(
            self._hashes(splits.TRAIN), np.concatenate([np.zeros(0, np.uint64), *self._hashes(splits.TEST)])
        )

    def _hashes(self, code: int) -> Iterator[np.ndarray]:
        for rows in blocks(self._fitted.raw.rows):
            yield self._fitted.raw.scratch.read(HASH, rows)[self._fitted.part[rows] == code]

    def _join(self, kind: str) -> np.ndarray:
        return np.concatenate([getattr(encoded, kind) for encoded in self._picked])

    def _values(self) -> dict[str, gates.Values]:
        categorical, numeric = self._join("categorical"), self._join("numeric")
        values = dict(zip(self._fitted.categorical, map(gates.Values, categorical.T), strict=True))
        columns = dict(zip(self._fitted.numeric_names(), numeric.T, strict=True))
        for name, standard in self._fitted.numeric.items():
            bins = gates.binned(columns[name]) + 1
            if standard.missing:
                bins[columns[f"{name} missing"] > 0] = 0
            values[name] = gates.Values(bins, ordered=True)
        for name in self._fitted.multi:
            codes, lengths = (np.concatenate([encoded.multi[name][k] for encoded in self._picked]) for k in (0, 1))
            values[name] = gates.Values(codes, np.repeat(np.arange(len(lengths)), lengths))
        return values

    def _columns(self, encoded: Encoded) -> dict[str, np.ndarray]:
        columns = {f"categorical {at}": column for at, column in enumerate(encoded.categorical.T)}
        columns |= {f"numeric {at}": column for at, column in enumerate(encoded.numeric.T)}
        for name, (codes, lengths) in encoded.multi.items():
            sums = np.concatenate([[0], np.cumsum(pd.util.hash_array(codes))]).astype(np.uint64)
            ends = np.cumsum(lengths)
            columns[f"multi {name}"] = sums[ends] - sums[ends - lengths]
        for at in range(encoded.labels.shape[1]):
            columns[f"label {at}"] = np.where(encoded.mask[:, at], encoded.labels[:, at], np.float32(np.nan))
        return columns


def _take(encoded: Encoded, rows: np.ndarray) -> Encoded:
    return encoded._replace(
        categorical=encoded.categorical[rows],
        numeric=encoded.numeric[rows],
        multi={name: take_lists(rows, *lists) for name, lists in encoded.multi.items()},
        labels=encoded.labels[rows],
        mask=encoded.mask[rows],
    )
