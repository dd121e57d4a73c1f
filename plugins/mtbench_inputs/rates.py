"""How often a row's user and item were positive before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mtbench import FloatRange, Input, InputConfig, InputReader, map_array

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from mtbench import Columns, Interactions, Ragged, Rows


class RatesConfig(InputConfig):
    """Settings of the rates."""

    strength: Annotated[float, FloatRange(1.0, 100.0, log=True)] = Field(
        20.0, gt=0, description="Rows at the rate of all users or items that each is thought to have besides its own."
    )


class RatesSpec(NamedTuple):
    """What a model builds for: the names of the numbers, in their order."""

    names: tuple[str, ...]


class RatesInput(NamedTuple):
    """``numbers`` (B, F) for B rows: F is 2 (1 + 2 T) for T tasks, first of the user, then of the item.

    These are log10(1 + n) of n rows; for each task log10(1 + p) of p positives, events before the first row among
    them; and for each task how far its share of positives, without those events, lies from that of all, in log-odds.
    """

    numbers: Tensor


class Rates(Input[RatesConfig]):
    """Counts of rows and positives of the row's user and item in earlier chunks, and their shrunk rates.

    A share is (p + strength m) / (n + strength), m the share of all rows (Micci-Barreca, SIGKDD Explorations 2001, in
    time). Rows without a label for a task count among n.
    """

    Config = RatesConfig

    def build(self, events: Interactions, rows: Rows, columns: Columns, folder: Path) -> None:
        """Count chunk after chunk; each row is given the counts before its own is added."""
        tasks = [task.name for task in columns.schema.tasks]
        learned = columns.part() == 0
        sides = [
            self._count(rows.user, events.user, events.users, rows, events, learned),
            self._count(rows.item, events.item, events.items, rows, events, learned),
        ]
        np.save(folder / "numbers.npy", np.concatenate(sides, axis=1))
        told = ["rows", *(f"positives of {task}" for task in tasks), *(f"rate of {task}" for task in tasks)]
        (folder / "names.json").write_text(json.dumps([f"{node} {name}" for node in ("user", "item") for name in told]))

    def _count(
        self,
        of_row: np.ndarray,
        of_event: np.ndarray,
        nodes: int,
        rows: Rows,
        events: Interactions,
        learned: np.ndarray,
    ) -> np.ndarray:
        """Return the numbers (rows, 1 + 2 T) of the users or the items; rows that are ``learned`` from are counted."""
        tasks = events.positive.shape[1]
        seen, positive, before = np.zeros(nodes), np.zeros((nodes, tasks)), np.zeros((nodes, tasks))
        early = slice(events.count_seen(0))
        np.add.at(before, of_event[early], events.positive[early])
        numbers = np.empty((len(of_row), 1 + 2 * tasks), np.float32)
        for chunk in range(events.chunks):
            now = np.flatnonzero(rows.chunk == chunk)
            node = of_row[now]
            n, p = seen[node][:, None], positive[node]
            mean = (positive.sum(0) + 1) / (seen.sum() + 2)
            share = (p + self.config.strength * mean) / (n + self.config.strength)
            counts = np.log10(1 + np.concatenate([n, p + before[node]], axis=1))
            numbers[now] = np.concatenate([counts, _log_odds(share) - _log_odds(mean)], axis=1)
            np.add.at(seen, node[learned[now]], 1)
            added = slice(events.count_seen(chunk), events.count_seen(chunk + 1))
            np.add.at(positive, of_event[added], events.positive[added])
        return numbers

    def open(self, folder: Path) -> OpenedRates:
        """Return the numbers, memory-mapped."""
        numbers = torch.from_numpy(map_array(folder / "numbers.npy"))
        return OpenedRates(numbers, RatesSpec(tuple(json.loads((folder / "names.json").read_text()))))


def _log_odds(share: np.ndarray) -> np.ndarray:
    odds: np.ndarray = np.log(share) - np.log1p(-share)
    return odds


class OpenedRates(InputReader):
    """Rates that are ready to be given to rows."""

    def __init__(self, numbers: Tensor, spec: RatesSpec) -> None:
        self.numbers = numbers
        self.spec = spec

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> OpenedRates:
        """Return a copy on ``device``."""
        return OpenedRates(self.numbers.to(device, non_blocking=non_blocking), self.spec)

    def take(self, rows: Tensor) -> RatesInput:
        """Return the numbers of the rows."""
        return RatesInput(self.numbers[rows])

    def features(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Return the names of the numbers."""
        return {}, self.spec.names

    def pool(self, taken: RatesInput) -> tuple[Mapping[str, Ragged], Tensor | None]:
        """Return the numbers."""
        return {}, taken.numbers
