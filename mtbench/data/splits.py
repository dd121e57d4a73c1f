"""Which rows train, which choose, which judge; and in which order of time they may see each other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mtbench.errors import MTBenchError, suggestion

if TYPE_CHECKING:
    from mtbench.schema import Split

TRAIN, VALID, TEST, WARMUP = range(4)
NAMES = ("train", "valid", "test")


def assign(split: Split, rows: int, time: np.ndarray | None, official: np.ndarray | None) -> np.ndarray:
    """Return the part of each row, int8 of shape (rows,): TRAIN, VALID or TEST.

    ``official`` holds 'train', 'valid' or 'test' per row. Raises MTBenchError if it holds anything else, or if a part
    would be empty.
    """
    part = np.full(rows, TRAIN, np.int8)
    if split.by == "official":
        assert official is not None
        part = _official(official)
        if not (part == VALID).any():
            training = np.flatnonzero(part == TRAIN)
            _carve(part, training, round(split.valid * len(training)), VALID, time, split.seed)
    else:
        by = time if split.by == "time" else None
        for code, share in ((TEST, split.test), (VALID, split.valid)):
            _carve(part, np.flatnonzero(part == TRAIN), round(share * rows), code, by, split.seed)
    for code, name in enumerate(NAMES):
        if not (part == code).any():
            remedy = (
                "split by time or at random"
                if split.by == "official"
                else "change split.valid or split.test, or split at random (equal times are never divided)"
            )
            raise MTBenchError(f"the split by {split.by} leaves no {name} rows out of {rows}; {remedy}")
    return part


def _official(names: np.ndarray) -> np.ndarray:
    part = np.full(len(names), -1, np.int8)
    for code, name in enumerate(NAMES):
        part[names == name] = code
    if (part < 0).any():
        row = int((part < 0).argmax())
        raise MTBenchError(
            f"the official split of row {row + 1} is {names[row]!r}{suggestion(names[row], NAMES)}; "
            "it must be 'train', 'valid' or 'test'"
        )
    return part


def _carve(part: np.ndarray, among: np.ndarray, count: int, code: int, time: np.ndarray | None, seed: int) -> None:
    """Give ``code`` to ``count`` of the rows ``among``: the last by time, or at random."""
    if time is None:
        chosen = np.random.default_rng((seed, code)).permutation(len(among))[:count]
        part[among[chosen]] = code
    else:
        part[among[_last(time[among], count)]] = code


def _last(time: np.ndarray, count: int) -> np.ndarray:
    """Return which rows are the last ``count``, or as near to that as whole groups of equal times allow."""
    ordered = np.sort(time)
    wanted = len(time) - min(count, len(time))
    if wanted == len(time):
        return np.zeros(len(time), bool)
    first, after = (int(np.searchsorted(ordered, ordered[wanted], side)) for side in ("left", "right"))
    cut = first if wanted - first <= after - wanted else after
    last: np.ndarray = time >= ordered[cut] if cut < len(time) else np.zeros(len(time), bool)
    return last


def warm_up(part: np.ndarray, share: float, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return ``part`` with the first ``share`` of training time marked WARMUP: input for later rows, not trained on.

    Raises MTBenchError if no rows, or all of them, would be that.
    """
    if not share:
        return part
    part = part.copy()
    training = np.flatnonzero(part == TRAIN)
    part[training] = WARMUP
    _carve(part, training, len(training) - round(share * len(training)), TRAIN, time, seed)
    for code, name in ((TRAIN, "training"), (WARMUP, "warm-up")):
        if not (part == code).any():
            raise MTBenchError(
                f"inputs.warmup {share:g} leaves no {name} rows out of {len(training)}; "
                "choose another share (equal times are never divided)"
            )
    return part


def order(rows: int, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the time of each row, shape (rows,): a seeded order where the data have none."""
    return np.random.default_rng((seed, rows)).permutation(rows) if time is None else time


def chunks(part: np.ndarray, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the point-in-time chunk of each row, int32 of shape (rows,): a row sees only chunks before its own.

    Training rows are cut into chunks of equal counts, each about as long as validation and test; equal times are never
    divided. Validation and test rows share the chunk after the last. Warm-up rows are chunk 0, and training starts at 1
    where there are any. Without time the same chunks follow a seeded order.
    """
    training, warm = part == TRAIN, part == WARMUP
    held_out = ~(training | warm)
    times = order(len(part), time, seed)[training]
    count = max(1, round(2 * len(times) / held_out.sum()))
    starts = np.sort(times)[[len(times) * k // count for k in range(1, count)]]
    _, numbers = np.unique(np.searchsorted(starts, times, "right"), return_inverse=True)
    first = int(warm.any())
    chunk = np.zeros(len(part), np.int32)
    chunk[training] = numbers + first
    chunk[held_out] = numbers.max() + first + 1
    return chunk


def fingerprint(rows: np.ndarray) -> str:
    """Return the sha256 of a set of row numbers, whatever their order."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()
