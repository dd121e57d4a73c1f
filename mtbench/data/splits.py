"""Which rows train, which choose, which judge; and in which order of time they may see each other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from mtbench.schema import Split

TRAIN, VALID, TEST, WARMUP = range(4)
NAMES = ("train", "valid", "test")


def assign(split: Split, rows: int, time: np.ndarray | None, official: np.ndarray | None) -> np.ndarray:
    """Return the part of each row, int8 of shape (rows,): TRAIN, VALID or TEST.

    ``official`` holds 'train', 'valid' or 'test' per row. Raises MTBenchError if a part would be empty.
    """
    part = np.full(rows, TRAIN, np.int8)
    if split.by == "official":
        assert official is not None
        for code, name in enumerate(NAMES):
            part[official == name] = code
        if not (part == VALID).any():
            _carve(part, np.flatnonzero(part == TRAIN), split.valid, VALID, time, split.seed)
    else:
        by = time if split.by == "time" else None
        everything = np.arange(rows)
        _carve(part, everything, split.test, TEST, by, split.seed)
        _carve(part, np.flatnonzero(part == TRAIN), split.valid / (1 - split.test), VALID, by, split.seed)
    for code, name in enumerate(NAMES):
        if not (part == code).any():
            raise MTBenchError(
                f"the split by {split.by} leaves no {name} rows out of {rows}; "
                "enlarge split.valid or split.test, or split at random (equal times are never divided)"
            )
    return part


def _carve(part: np.ndarray, among: np.ndarray, share: float, code: int, time: np.ndarray | None, seed: int) -> None:
    """Give ``code`` to a share of the rows ``among``: the last by time, whole groups of equal times, else at random."""
    count = round(share * len(among))
    if time is None:
        chosen = np.random.default_rng((seed, code)).permutation(len(among))[:count]
        part[among[chosen]] = code
        return
    times = time[among]
    ordered = np.sort(times)
    if not 0 < count < len(ordered):
        return
    boundary = ordered[-count]
    at_least, above = (
        len(ordered) - np.searchsorted(ordered, boundary),
        len(ordered) - np.searchsorted(ordered, boundary, "right"),
    )
    keep = times >= boundary if abs(at_least - count) <= abs(above - count) else times > boundary
    part[among[keep]] = code


def warm_up(part: np.ndarray, share: float, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return ``part`` with the first ``share`` of training time marked WARMUP: input for later rows, not trained on."""
    if not share:
        return part
    part = part.copy()
    _carve(part, np.flatnonzero(part == TRAIN), share, WARMUP, None if time is None else -time, seed)
    return part


def chunks(part: np.ndarray, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the point-in-time chunk of each row, int32 of shape (rows,): a row sees only chunks before its own.

    Training rows are cut into chunks of equal counts, each about as long as validation and test; equal times are never
    divided. Validation and test rows share the chunk after the last. Warm-up rows are chunk 0, and training starts at 1
    where there are any. Without time the same chunks follow a seeded order.
    """
    warm = part == WARMUP
    training = np.flatnonzero(part == TRAIN)
    held_out = int(((part == VALID) | (part == TEST)).sum())
    count = max(1, round(len(training) / (held_out / 2)))
    order = np.random.default_rng((seed, len(part))).permutation(len(part)) if time is None else time
    times = order[training]
    edges = np.sort(times)[[len(times) * k // count for k in range(1, count)]] if count > 1 else times[:0]
    chunk = np.full(len(part), count, np.int32)
    _, chunk[training] = np.unique(np.searchsorted(edges, times, "right"), return_inverse=True)
    chunk[(part == VALID) | (part == TEST)] = chunk[training].max() + 1
    if warm.any():
        chunk += 1
        chunk[warm] = 0
    return chunk


def fingerprint(rows: np.ndarray) -> str:
    """Return the sha256 of a set of row numbers, whatever their order."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()
