"""Which rows train, which choose, which judge; and in which order of time they may see each other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mtbench.data.scratch import blocks
from mtbench.errors import MTBenchError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtbench.schema import Split

TRAIN, VALID, TEST, WARMUP = range(4)
NAMES = ("train", "valid", "test")


def assign(split: Split, rows: int, time: np.ndarray | None, official: np.ndarray | None) -> np.ndarray:
    """Return the part of each row, int8 of shape (rows,): TRAIN, VALID or TEST.

    ``official`` holds the parts of :func:`parse_official`. Raises MTBenchError if a part would be empty.
    """
    part = np.full(rows, TRAIN, np.int8)
    if split.by == "official":
        assert official is not None
        part = official.copy()
        if not (part == VALID).any():
            training = part == TRAIN
            _carve(part, training, round(split.valid * training.sum()), VALID, time, split.seed)
    else:
        by = time if split.by == "time" else None
        for code, share in ((TEST, split.test), (VALID, split.valid)):
            _carve(part, part == TRAIN, round(share * rows), code, by, split.seed)
    for code, name in enumerate(NAMES):
        if not (part == code).any():
            remedy = (
                "split by time or at random"
                if split.by == "official"
                else "change split.valid or split.test, or split at random (equal times are never divided)"
            )
            raise MTBenchError(f"the split by {split.by} leaves no {name} rows out of {rows}; {remedy}")
    return part


def parse_official(names: np.ndarray, first: int = 0) -> np.ndarray:
    """Return the parts that 'train', 'valid' and 'test' name, int8; ``first`` is the row number of the first.

    Raises MTBenchError for any other name.
    """
    part = np.full(len(names), -1, np.int8)
    for code, name in enumerate(NAMES):
        part[names == name] = code
    if (part < 0).any():
        row = int((part < 0).argmax())
        raise MTBenchError(
            f"the official split of row {first + row + 1} is {names[row]!r}{suggest(names[row], NAMES)}; "
            "it must be 'train', 'valid' or 'test'"
        )
    return part


def _carve(part: np.ndarray, among: np.ndarray, count: int, code: int, time: np.ndarray | None, seed: int) -> None:
    """Give ``code`` to ``count`` of the rows ``among`` (bool): the last by time, or at random."""
    if time is None:
        chosen = np.random.default_rng((seed, code)).permutation(np.flatnonzero(among))[:count]
        part[chosen] = code
    elif (start := _start_of_last(time[among], count)) is not None:
        part[among & (time >= start)] = code


def _start_of_last(time: np.ndarray, count: int) -> np.generic | None:
    """Return when the last ``count`` rows begin, or as near to that as whole groups of equal times allow.

    None where that is no row; ``time`` is sorted in place.
    """
    time.sort()
    wanted = len(time) - min(count, len(time))
    if wanted == len(time):
        return None
    first, after = (int(np.searchsorted(time, time[wanted], side)) for side in ("left", "right"))
    cut = first if wanted - first <= after - wanted else after
    start: np.generic | None = time[cut] if cut < len(time) else None
    return start


def warm_up(part: np.ndarray, share: float, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return ``part`` with the first ``share`` of training time marked WARMUP: input for later rows, not trained on.

    Raises MTBenchError if no rows, or all of them, would be that.
    """
    if not share:
        return part
    training = part == TRAIN
    count = int(training.sum())
    part = np.where(training, np.int8(WARMUP), part)
    _carve(part, training, count - round(share * count), TRAIN, time, seed)
    for code, name in ((TRAIN, "training"), (WARMUP, "warm-up")):
        if not (part == code).any():
            raise MTBenchError(
                f"inputs.warmup {share:g} leaves no {name} rows out of {count}; "
                "choose another share (equal times are never divided)"
            )
    return part


def order(part: np.ndarray, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the time of each row, shape (rows,).

    Where the data have none it is a seeded order, in which warm-up comes first, and validation and test last.
    """
    if time is not None:
        return time
    rows = len(part)
    drawn = np.random.default_rng((seed, rows)).permutation(rows)
    drawn[part == WARMUP] -= rows
    drawn[(part == VALID) | (part == TEST)] += rows
    return drawn


def assign_chunks(part: np.ndarray, time: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the point-in-time chunk of each row, int32 of shape (rows,): a row sees only chunks before its own.

    Training rows are cut into chunks of equal counts, each about as long as validation and test; equal times are never
    divided. Warm-up rows are chunk 0, and training starts at 1 where there are any. Validation and test rows share the
    chunk after the last, if that part begins no earlier than training ends. Else a row of it is in the chunk that a
    training row of its time would be in, so that it sees nothing that came later. Without time the same chunks follow
    :func:`order`.
    """
    time = order(part, time, seed)
    held_out = int(((part == VALID) | (part == TEST)).sum())
    times = time[part == TRAIN]
    times.sort()
    count = max(1, round(2 * len(times) / held_out))
    starts = np.unique(times[[len(times) * k // count for k in range(1, count)]])
    starts = starts[starts > times[0]]
    last = times[-1]
    del times
    follows = np.array([code in {VALID, TEST} and (time[part == code] >= last).all() for code in range(WARMUP + 1)])
    warm = part == WARMUP
    first = int(warm.any())
    warm_end = time[warm].max() if first else None
    chunk = np.empty(len(part), np.int32)
    for rows in blocks(len(part)):
        now = time[rows]
        chunk[rows] = np.searchsorted(starts, now, "right") + first + (follows[part[rows]] | (now > last))
        if warm_end is not None:
            chunk[rows][now <= warm_end] = 0
    return chunk


def hide_held_out(chunk: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the chunks, ``~c`` in place of c for a validation or test row that stands in a chunk of training rows."""
    held_out = (part == VALID) | (part == TEST)
    return np.where(held_out & (chunk <= chunk[part == TRAIN].max()), ~chunk, chunk)


def fingerprint(part: np.ndarray, code: int) -> str:
    """Return the sha256 of the numbers of the rows that are in a part."""
    return hash_numbers(np.flatnonzero(part[rows] == code) + rows.start for rows in blocks(len(part)))


def hash_numbers(numbers: Iterable[np.ndarray]) -> str:
    """Return the sha256 of row numbers, which come in ascending order, block by block."""
    digest = hashlib.sha256()
    for block in numbers:
        digest.update(block.astype("<i8").tobytes())
    return digest.hexdigest()
