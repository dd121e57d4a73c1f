"""The last positives of a row's user and item."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mtbench import Input, InputConfig, InputReader, Ragged, map_array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from mtbench import Columns, Interactions, Rows

PARTS = ("partner", "marks", "time", "start", "end", "row_time")
LONGEST = 10.0
"""A gap of more than so many training spans counts as so many."""


class RecentConfig(InputConfig):
    """Settings of the recent positives."""

    length: int = Field(20, ge=0, le=1000, description="Positives of the user, the latest first.")
    item_length: int = Field(0, ge=0, le=1000, description="Users who last were positive on the item.")
    features: bool = Field(False, description="Also give the codes of the categorical features of the items.")


class RecentSpec(NamedTuple):
    """What a model builds for: node 0 is padding, so there are ``items + 1`` and ``users + 1`` codes.

    ``features`` are the categorical features whose codes the items come with, in the order of ``item_codes``.
    """

    items: int
    users: int
    length: int
    item_length: int
    tasks: int
    features: tuple[str, ...] = ()


class RecentInput(NamedTuple):
    """The latest first, for B rows, T tasks; L is ``length`` for items and ``item_length`` for users.

    ``items`` and ``users`` (B, L) are node numbers from 1, 0 where there is none; ``marks`` (B, L, T) say which tasks
    were positive; ``gaps`` (B, L) is the time since, as a share of the time from the first to the last training row, 10
    at most; ``mask`` (B, L) is 1 where there is one. ``item_codes`` (B, L, F) are the codes that the items' features,
    the id among them where ids are features, have in ``batch.categorical``: as in the item's first training row, 0
    without one. F is 0 unless asked for.
    """

    items: Tensor
    item_marks: Tensor
    item_gaps: Tensor
    item_mask: Tensor
    users: Tensor
    user_marks: Tensor
    user_gaps: Tensor
    user_mask: Tensor
    item_codes: Tensor


class Recent(Input[RecentConfig]):
    """The last positives of the row's user and, if asked for, the last users of its item, from earlier chunks."""

    Config = RecentConfig
    version = 3

    def build(self, events: Interactions, rows: Rows, columns: Columns, folder: Path) -> None:
        """Write each node's events in order, and where those that a row may see begin and end."""
        scaled = _scale_times(rows.time[columns.part() == 0])
        for node, of_event, partner, of_row in (
            ("user", events.user, events.item, rows.user),
            ("item", events.item, events.user, rows.item),
        ):
            key = of_event * (events.chunks + 1) + events.chunk + 1
            order = np.argsort(key, kind="stable")
            ordered = key[order]
            arrays = {
                "partner": partner[order] + 1,
                "marks": events.positive[order],
                "time": scaled(events.time[order]),
                "start": np.searchsorted(ordered, of_row * (events.chunks + 1)),
                "end": np.searchsorted(ordered, of_row * (events.chunks + 1) + rows.chunk + 1),
                "row_time": scaled(rows.time),
            }
            for name, array in arrays.items():
                np.save(folder / f"{node}-{name}.npy", array)
        np.save(folder / "counts.npy", np.array([events.items, events.users]))
        features = _list_item_features(columns) if self.config.features else []
        np.save(folder / "item-codes.npy", _collect_codes(features, events.items, rows, columns))
        (folder / "features.json").write_text(json.dumps(features))

    def open(self, folder: Path) -> OpenedRecent:
        """Return the events, memory-mapped."""
        sides = {
            node: {name: torch.from_numpy(map_array(folder / f"{node}-{name}.npy")) for name in PARTS}
            for node in ("user", "item")
        }
        items, users = np.load(folder / "counts.npy").tolist()
        codes = torch.from_numpy(map_array(folder / "item-codes.npy"))
        features = tuple(json.loads((folder / "features.json").read_text()))
        tasks = sides["user"]["marks"].shape[1]
        spec = RecentSpec(items, users, self.config.length, self.config.item_length, tasks, features)
        return OpenedRecent(sides, codes, spec)


def _scale_times(learned: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what turns times into shares, float64, of the span of the ``learned`` ones, which begins at 0."""
    first = learned.min()

    def measure(time: np.ndarray) -> np.ndarray:
        if time.dtype.kind == "f":
            halves: np.ndarray = time / 2 - first / 2  # they do not overflow
            return halves
        after: np.ndarray = time.astype(np.uint64) - first.astype(np.uint64)  # exact: modulo 2 ** 64
        return np.where(time < first, after.view(np.int64), after)

    span = float(measure(learned).max()) or 1.0

    def scale(time: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return measure(time) / span

    return scale


def _list_item_features(columns: Columns) -> list[str]:
    """Return the categorical features that describe items, the id among them where ids are features."""
    schema = columns.schema
    described = {feature.name: feature.of for feature in schema.features} | {schema.user: "user"}
    return [name for name in columns.meta["categorical"] if described.get(name, "item") == "item"]


def _collect_codes(features: Sequence[str], items: int, rows: Rows, columns: Columns) -> np.ndarray:
    """Return the codes of each node's features in the first row of it that may be learned from."""
    learned = np.flatnonzero(columns.part() == 0)
    ordered = learned[np.lexsort((rows.time[learned], rows.chunk[learned]))]
    item, first = np.unique(rows.item[ordered], return_index=True)
    places = [list(columns.meta["categorical"]).index(name) for name in features]
    codes = np.zeros((items + 1, len(features)), np.int32)
    codes[item + 1] = columns.everything().categorical.numpy()[ordered[first]][:, places]
    return codes


class OpenedRecent(InputReader):
    """Recent positives that are ready to be given to rows."""

    def __init__(self, sides: Mapping[str, Mapping[str, Tensor]], codes: Tensor, spec: RecentSpec) -> None:
        self.sides = sides
        self.codes = codes
        self.spec = spec

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> OpenedRecent:
        """Return a copy on ``device``."""
        sides = {
            node: {name: part.to(device, non_blocking=non_blocking) for name, part in parts.items()}
            for node, parts in self.sides.items()
        }
        return OpenedRecent(sides, self.codes.to(device, non_blocking=non_blocking), self.spec)

    def take(self, rows: Tensor) -> RecentInput:
        """Return the recent positives of the rows."""
        items, *of_items = self._take_latest(self.sides["user"], rows, self.spec.length)
        of_users = self._take_latest(self.sides["item"], rows, self.spec.item_length)
        return RecentInput._make([items, *of_items, *of_users, self.codes[items]])

    def _take_latest(self, side: Mapping[str, Tensor], rows: Tensor, length: int) -> tuple[Tensor, ...]:
        if not len(side["partner"]):
            empty = torch.zeros(len(rows), length, device=rows.device)
            return empty.long(), empty.unsqueeze(-1).expand(-1, -1, self.spec.tasks), empty, empty
        at = side["end"][rows, None] - 1 - torch.arange(length, device=rows.device)
        mask = (at >= side["start"][rows, None]).float()
        at = at.clamp(min=0)
        gaps = (side["row_time"][rows, None] - side["time"][at]).clamp(0, LONGEST).float() * mask
        return side["partner"][at] * mask.long(), side["marks"][at] * mask.unsqueeze(-1), gaps, mask

    def features(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Return the items as a multi-valued feature, and how many of them were positives of each task."""
        return {"recent items": self.spec.items + 1}, tuple(f"recent {task}" for task in range(self.spec.tasks))

    def pool(self, taken: RecentInput) -> tuple[Mapping[str, Ragged], Tensor | None]:
        """Return the items and the logarithm of one plus the counts."""
        lengths = taken.item_mask.sum(1).long()
        offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64, device=lengths.device)
        offsets[1:] = lengths.cumsum(0)
        items = Ragged(taken.items[taken.item_mask > 0], offsets)
        return {"recent items": items}, taken.item_marks.sum(1).log1p()
