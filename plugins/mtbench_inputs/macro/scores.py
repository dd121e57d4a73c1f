"""The merging interaction matrix: one score for everything that a user has done with an item, as of any chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from mtbench import MTBenchError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench import Interactions, Task

Scores = Literal["additive", "lexicographic", "table", "binary"]
MOST_TASKS = 16
NEVER = np.iinfo(np.int32).max


def choose_tasks(tasks: Sequence[Task], names: Sequence[str]) -> list[int]:
    """Return the positions of the tasks ``names``, or of all binary tasks, those whose labels are 0 and 1.

    Raises MTBenchError for a name that is no binary task, and for none or more than 16 tasks.
    """
    binary = {task.name: position for position, task in enumerate(tasks) if task.probability}
    for name in names:
        if name not in binary:
            raise MTBenchError(
                f"macro-graph: tasks: '{name}' is no binary task{suggest(name, binary)}; known: {', '.join(binary)}"
            )
    chosen = [binary[name] for name in names or binary]
    if not 0 < len(chosen) <= MOST_TASKS:
        raise MTBenchError(
            f"macro-graph is made from 1 to {MOST_TASKS} binary tasks, not {len(chosen)}; list some in its 'tasks'"
        )
    return chosen


def score_combinations(scores: Scores, tasks: Sequence[str], table: Mapping[str, float], beta: float) -> np.ndarray:
    """Return the score of each combination of tasks, shape (2 ** tasks,); bit t of an index stands for task t.

    The rank of a combination, 0 for none, goes through a Box-Cox transform: ((rank + 1) ** beta - 1) / beta, and
    ln(rank + 1) where beta is 0 (MGOE, arXiv 2506.10520, Eq. 6). Combinations that ``table`` does not list are NaN.
    """
    codes = np.arange(2 ** len(tasks))
    if scores == "table":
        rank = _rank_listed(tasks, table)
    elif scores == "additive":
        rank = (codes[:, None] >> np.arange(len(tasks)) & 1) @ np.arange(1.0, len(tasks) + 1)
    elif scores == "lexicographic":
        rank = codes.astype(np.float64)
    else:
        rank = (codes > 0).astype(np.float64)
    transformed: np.ndarray = np.log1p(rank) if beta == 0 else np.expm1(beta * np.log1p(rank)) / beta
    return transformed


def _rank_listed(tasks: Sequence[str], table: Mapping[str, float]) -> np.ndarray:
    rank = np.full(2 ** len(tasks), np.nan)
    rank[0] = 0
    for combination, value in table.items():
        names = combination.split("+")
        for name in names:
            if name not in tasks:
                raise MTBenchError(
                    f"macro-graph: table: '{combination}' names '{name}', which is not among its tasks"
                    f"{suggest(name, tasks)}: {', '.join(tasks)}"
                )
        rank[sum(1 << tasks.index(name) for name in set(names))] = value
    return rank


@dataclass(frozen=True)
class Merged:
    """The scores of pairs through time, sorted by user, item and time.

    One entry says what a pair had done by the end of a chunk in which it did something: ``done`` (bit t for task t) and
    its ``score``. A row of a chunk after ``chunk`` and up to ``until`` sees it; then a later entry of the pair takes
    its place. ``event`` is the position of the pair's last event so far.
    """

    user: np.ndarray
    item: np.ndarray
    event: np.ndarray
    chunk: np.ndarray
    until: np.ndarray
    done: np.ndarray
    score: np.ndarray

    def seen_by(self, chunk: int) -> Merged:
        """Return the entries that a row of ``chunk`` sees, at most one per pair."""
        return self.where((self.chunk < chunk) & (self.until >= chunk) & (self.score > 0))

    def where(self, kept: np.ndarray) -> Merged:
        """Return some of the entries."""
        return Merged(**{name: part[kept] for name, part in vars(self).items()})

    def matrix(self, values: np.ndarray, users: int, items: int) -> sparse.csr_array:
        """Return the values of pairs as a float32 matrix, shape (users, items); there is one entry per pair."""
        ends = np.concatenate([[0], np.cumsum(np.bincount(self.user, minlength=users))])
        return sparse.csr_array((values.astype(np.float32), self.item, ends), shape=(users, items))


def merge(events: Interactions, tasks: Sequence[int], names: Sequence[str], scores: np.ndarray) -> Merged:
    """Return what pairs had done and when, counting these tasks alone.

    Raises MTBenchError if a combination occurs that has no score.
    """
    done = np.zeros(len(events), np.uint16)
    for bit, task in enumerate(tasks):
        done |= events.positive[:, task].astype(np.uint16) << bit
    event = np.flatnonzero(done)
    pair = events.user[event].astype(np.int64) * events.items + events.item[event]
    order = np.argsort(pair, kind="stable")
    event, pair = event[order], pair[order]
    done, chunk = done[event], events.chunk[event].astype(np.int32)
    first = np.append(True, pair[1:] != pair[:-1])[: len(pair)]
    done = _accumulate(done, first, len(tasks))
    last = np.append(first[1:] | (chunk[1:] != chunk[:-1]), True)[: len(pair)]
    pair, event, chunk, done = pair[last], event[last], chunk[last], done[last]
    until = np.full(len(pair), NEVER, np.int32)
    until[:-1] = np.where(pair[1:] == pair[:-1], chunk[1:], NEVER)
    score = scores[done].astype(np.float32)
    if np.isnan(score).any():
        combination = done[int(np.isnan(score).argmax())]
        done_names = "+".join(name for bit, name in enumerate(names) if combination >> bit & 1)
        raise MTBenchError(f"macro-graph: table: some users did '{done_names}' with an item; give it a rank")
    user, item = (pair // events.items).astype(np.int32), (pair % events.items).astype(np.int32)
    return Merged(user, item, event, chunk, until, done, score)


def _accumulate(done: np.ndarray, first: np.ndarray, tasks: int) -> np.ndarray:
    """Return the bits of each event and of those before it in its pair, which begins where ``first``."""
    at = np.arange(len(done))
    start = np.maximum.accumulate(np.where(first, at, 0))
    total = np.zeros_like(done)
    for bit in range(tasks):
        latest = np.maximum.accumulate(np.where(done >> bit & 1, at, -1))
        total |= (latest >= start).astype(done.dtype) << bit
    return total
