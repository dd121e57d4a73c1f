"""Macro nodes, which stand for clusters of users and of items, and what ties a row's user and item to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from mtbench import Input, InputReader, Ragged, map_array
from mtbench_inputs.macro import edges
from mtbench_inputs.macro.grouping import SIDES, Grouping, GroupingConfig
from mtbench_inputs.macro.scores import Merged, Scores, choose_tasks, merge, score_combinations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from mtbench import Columns, Interactions, Rows

HOPS = ("user-hop1", "user-hop2", "item-hop1", "item-hop2")
NEIGHBORS = ("partner", "score", "until", "start", "end")


class MacroGraphConfig(GroupingConfig):
    """Settings of the macro graph; ``scores: binary`` with one of ``tasks`` makes it MacGNN's."""

    tasks: tuple[str, ...] = Field((), description="Tasks that count, from shallow to deep; all binary ones if empty.")
    scores: Scores = Field(
        "additive",
        description="Rank of the tasks done: sum of 1, 2, 3, ...; deepest task first; as in `table`; or 1 for any.",
    )
    table: dict[str, float] = Field(
        default_factory=dict, description="Ranks of combinations for `scores: table`, such as {click: 1, click+buy: 4}."
    )
    beta: float = Field(1.0, ge=-5, le=5, description="Box-Cox exponent of ranks: 1 leaves them, 0 is a logarithm.")
    counts: Literal["scaled", "raw"] = Field(
        "scaled", description="Edge weights as if all training rows had been seen, or of those seen so far."
    )
    neighbors: int = Field(20, ge=0, le=1000, description="Latest neighbours of the user and of the item.")

    @model_validator(mode="after")
    def _check_table(self) -> Self:
        if (self.scores == "table") != bool(self.table):
            raise ValueError("'table' belongs to 'scores: table', which needs it; give both or neither")
        if any(not rank >= 0 for rank in self.table.values()):
            raise ValueError("ranks in 'table' are 0 or more")
        return self


class MacroGraphSpec(NamedTuple):
    """What a model builds for; number 0 is none, so there is one code more than users, items and clusters."""

    users: int
    items: int
    user_clusters: int
    item_clusters: int
    neighbors: int
    tasks: int


class MacroGraphInput(NamedTuple):
    """The macro graph around B rows: K_u and K_i clusters, L neighbours, T tasks. Numbers are from 1, 0 for none.

    ``user``, ``item`` (B,): the nodes themselves, 0 for one without a positive as yet. ``user_macro``, ``item_macro``
    (B,): their macro nodes. ``user_hop1`` (B, K_i), ``user_hop2`` (B, K_u), ``item_hop1`` (B, K_u), ``item_hop2``
    (B, K_i): weights of edges to macro nodes. ``items``, ``item_scores``, ``item_mask`` (B, L): the items among the
    user's latest L, the latest first, with their scores; ``users``...: likewise the item's users. The mask is 0 where
    there is none, also where a pair comes again nearer to the front. ``task_table`` (B, T): the item macro node that
    stands for each task of the user.
    """

    user: Tensor
    item: Tensor
    user_macro: Tensor
    item_macro: Tensor
    user_hop1: Tensor
    user_hop2: Tensor
    item_hop1: Tensor
    item_hop2: Tensor
    items: Tensor
    item_scores: Tensor
    item_mask: Tensor
    users: Tensor
    user_scores: Tensor
    user_mask: Tensor
    task_table: Tensor


class MacroGraph(Input[MacroGraphConfig]):
    """The macro graph of MGOE (arXiv 2506.10520), and of MacGNN (arXiv 2401.14939), in snapshots.

    The snapshot of a chunk is made from all positives of earlier chunks.
    """

    Config = MacroGraphConfig
    version = 2

    def build(self, events: Interactions, rows: Rows, columns: Columns, folder: Path) -> None:
        """Write one table line per (snapshot, node) that a row needs, and the line of each row."""
        all_tasks = columns.schema.tasks
        tasks = choose_tasks(all_tasks, self.config.tasks)
        names = [all_tasks[task].name for task in tasks]
        scores = score_combinations(self.config.scores, names, self.config.table, self.config.beta)
        merged = merge(events, tasks, names, scores)
        grouping = Grouping(self.config, events, rows, columns)
        sides = {}
        for side, node, nodes in (("user", rows.user, events.users), ("item", rows.item, events.items)):
            sides[side], line = edges.find_lines(node, rows.chunk, nodes, events.chunks)
            np.save(folder / f"{side}-line.npy", line)
            np.save(folder / f"{side}-chunk.npy", sides[side].chunk)
            np.save(folder / f"{side}-node.npy", sides[side].node.astype(np.int32))
            for name, array in edges.list_neighbors(merged, side, sides[side], events.chunks).items():
                np.save(folder / f"{side}-{name}.npy", array)
        bits = dict(enumerate(tasks))
        growth = np.ones(events.chunks)
        if self.config.counts == "scaled":
            growth = _estimate_growth(events, rows, columns.part() == 0)
        snapshots = _make_snapshots(merged, grouping, sides, bits, len(all_tasks), growth)
        edges.write(folder, {side: len(lines.node) for side, lines in sides.items()}, snapshots)
        spec = MacroGraphSpec(
            users=events.users,
            items=events.items,
            user_clusters=grouping.macro["user"].count,
            item_clusters=grouping.macro["item"].count,
            neighbors=self.config.neighbors,
            tasks=len(all_tasks),
        )
        (folder / "spec.json").write_text(json.dumps(spec))

    def open(self, folder: Path) -> OpenedMacroGraph:
        """Return the tables, memory-mapped."""

        def read(name: str) -> Tensor:
            return torch.from_numpy(map_array(folder / f"{name}.npy"))

        parts = [f"{side}-{part}" for side in SIDES for part in ("line", "chunk", "node", "macro", *NEIGHBORS)]
        tables = {name: read(name) for name in (*parts, *HOPS, "user-tasks")}
        return OpenedMacroGraph(tables, MacroGraphSpec(*json.loads((folder / "spec.json").read_text())))


class OpenedMacroGraph(InputReader):
    """A macro graph that is ready to be given to rows."""

    def __init__(self, tables: Mapping[str, Tensor], spec: MacroGraphSpec) -> None:
        self.tables = tables
        self.spec = spec

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> OpenedMacroGraph:
        """Return a copy on ``device``."""
        tables = {name: table.to(device, non_blocking=non_blocking) for name, table in self.tables.items()}
        return OpenedMacroGraph(tables, self.spec)

    def take(self, rows: Tensor) -> MacroGraphInput:
        """Return the macro graph around the rows."""
        user, item = self.tables["user-line"][rows], self.tables["item-line"][rows]
        items, item_scores, item_mask = self._take_neighbors("user", user)
        users, user_scores, user_mask = self._take_neighbors("item", item)
        return MacroGraphInput(
            user=self._number_nodes("user", user),
            item=self._number_nodes("item", item),
            user_macro=self.tables["user-macro"][user].long(),
            item_macro=self.tables["item-macro"][item].long(),
            user_hop1=self.tables["user-hop1"][user],
            user_hop2=self.tables["user-hop2"][user],
            item_hop1=self.tables["item-hop1"][item],
            item_hop2=self.tables["item-hop2"][item],
            items=items,
            item_scores=item_scores,
            item_mask=item_mask,
            users=users,
            user_scores=user_scores,
            user_mask=user_mask,
            task_table=self.tables["user-tasks"][user].long(),
        )

    def _number_nodes(self, side: str, line: Tensor) -> Tensor:
        seen = self.tables[f"{side}-end"][line] > self.tables[f"{side}-start"][line]
        return (self.tables[f"{side}-node"][line].long() + 1) * seen

    def _take_neighbors(self, side: str, line: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        table = {name: self.tables[f"{side}-{name}"] for name in (*NEIGHBORS, "chunk")}
        at = table["end"][line, None] - 1 - torch.arange(self.spec.neighbors, device=line.device)
        there = at >= table["start"][line, None]
        at = at.clamp(min=0)
        there &= (table["until"][at] >= table["chunk"][line, None]) & (table["score"][at] > 0)
        return table["partner"][at].long() * there, table["score"][at] * there, there.float()

    def features(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Return the two macro nodes as features, and the weights of all edges as numbers."""
        macro = {"user macro": self.spec.user_clusters + 1, "item macro": self.spec.item_clusters + 1}
        widths = {name: self.tables[name].shape[1] for name in HOPS}
        return macro, tuple(
            f"macro {name} {number}" for name, width in widths.items() for number in range(1, width + 1)
        )

    def pool(self, taken: MacroGraphInput) -> tuple[Mapping[str, Ragged], Tensor | None]:
        """Return the macro nodes and the logarithms of one plus the weights."""
        one_each = torch.arange(len(taken.user_macro) + 1, device=taken.user_macro.device)
        macro = {"user macro": Ragged(taken.user_macro, one_each), "item macro": Ragged(taken.item_macro, one_each)}
        return macro, torch.cat([taken.user_hop1, taken.user_hop2, taken.item_hop1, taken.item_hop2], 1).log1p()


def _make_snapshots(
    merged: Merged,
    grouping: Grouping,
    sides: Mapping[str, edges.Lines],
    bits: Mapping[int, int],
    tasks: int,
    growth: np.ndarray,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the lines of one snapshot after another."""
    users, items = (len(grouping.macro[side].numbers) for side in SIDES)
    for chunk, factor in enumerate(growth):
        seen = merged.seen_by(chunk)
        scores = seen.matrix(seen.score, users, items)
        macro = grouping.next(scores, chunk)
        some = {side: lines.of(chunk) for side, lines in sides.items()}
        weights = edges.weigh_hops(scores, macro, some)
        pieces = {name: weight * np.float32(factor ** int(name[-1])) for name, weight in weights.items()}
        pieces |= {f"{side}-macro": macro[side].numbers[some[side]].astype(np.int32) for side in sides}
        pieces["user-tasks"] = edges.make_task_table(seen, bits, tasks, macro["item"], users, some["user"])
        yield pieces


def _estimate_growth(events: Interactions, rows: Rows, learned: np.ndarray) -> np.ndarray:
    """Return by how much the positives will have grown when all training rows are seen, for each snapshot.

    That is judged by counts of the rows that are ``learned`` from: counts of later positives must not be known.
    """
    earlier = int((events.row < 0).sum())
    counts = np.bincount(rows.chunk[learned], minlength=events.chunks)
    seen = earlier + np.cumsum(counts)
    growth: np.ndarray = seen[-1] / np.maximum(seen - counts, 1)
    return growth
