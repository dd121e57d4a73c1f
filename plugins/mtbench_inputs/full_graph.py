"""The graph of all training positives, for models that propagate over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mtbench import Adjacency, Input, InputConfig, InputReader, make_adjacency, propagate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from mtbench import Columns, Interactions, Ragged, Rows

FILE = "full-graph.pt"
POOLED_LAYERS = 2


class FullGraphConfig(InputConfig):
    """Settings of the vectors that feature models are given."""

    width: int = Field(16, gt=0, le=256, description="Numbers per user and per item for feature models.")
    folds: int = Field(5, gt=1, le=100, description="Parts of the rows; a row's numbers come from the other parts.")
    seed: int = Field(0, ge=0, description="Seed of the vectors and of the parts.")


class FullGraphInput(NamedTuple):
    """Where B rows stand in the graph.

    ``users`` and ``items`` (B,) are nodes, numbered from 0. ``edges`` (B,) are the rows' own events, -1 where a row has
    none: they tell the label, and are for :meth:`TrainingGraph.propagate` alone. ``folds`` (B,) are the rows' parts.
    """

    users: Tensor
    items: Tensor
    edges: Tensor
    folds: Tensor


class FullGraphSpec(NamedTuple):
    """What a model builds for: counts of nodes, of tasks and of distinct pairs of user and item, and the graph."""

    users: int
    items: int
    tasks: int
    edges: int
    graph: TrainingGraph


class TrainingGraph:
    """The training graph as a model uses it; kept once for each device, and by no checkpoint."""

    def __init__(self, adjacency: Adjacency, pairs: Tensor, weights: Tensor) -> None:
        self._home = adjacency, pairs, weights
        self._copies = {torch.device("cpu"): self._home}

    def __getstate__(self) -> tuple[Adjacency, Tensor, Tensor]:
        return self._home

    def __setstate__(self, home: tuple[Adjacency, Tensor, Tensor]) -> None:
        self.__init__(*home)  # type: ignore[misc]

    def propagate(self, x_users: Tensor, x_items: Tensor, rows: FullGraphInput, layers: int) -> tuple[Tensor, Tensor]:
        """Return LightGCN's vectors of all users and items: the mean of layers 0 to ``layers``.

        ``x_users`` (users, width) and ``x_items`` (items, width) are layer 0; each further layer is the symmetrically
        normalised sum over neighbours, in the graph without the own edges of ``rows``. The cost is that of the whole
        graph, whatever the number of rows.
        """
        device = x_users.device
        if device not in self._copies:
            adjacency, pairs, weights = self._home
            self._copies[device] = adjacency.to(device), pairs.to(device), weights.to(device)
        adjacency, pairs, weights = self._copies[device]
        own = torch.unique(rows.edges[rows.edges >= 0])
        users, items = zip(
            *_make_layers(adjacency.without(pairs[own], weights[own]), x_users, x_items, layers), strict=True
        )
        return torch.stack(users).mean(0), torch.stack(items).mean(0)


def _make_layers(adjacency: Adjacency, x_users: Tensor, x_items: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    layers = [(x_users, x_items)]
    for _ in range(count):
        layers.append(propagate(adjacency, *layers[-1], "symmetric"))
    return layers


class FullGraph(Input[FullGraphConfig]):
    """All positives of training, warm-up and earlier time as one graph, which every row sees.

    A pair of user and item weighs as much as it had positives, over all tasks. The graph is transductive: a training
    row sees later training rows. Its law: no row sees its own edge, and none sees validation or test rows. That a
    training row's own edge was taken away can still be told by a model that knows what its user has in other batches:
    regularise, and choose on validation. The vectors for feature models do not have this flaw: they are random ones,
    propagated over the graph without the positives of any row in the same part.
    """

    Config = FullGraphConfig
    version = 2
    transductive = True

    def build(self, events: Interactions, rows: Rows, columns: Columns, folder: Path) -> None:  # noqa: ARG002
        """Write the graph, where each row stands in it, and the vectors for feature models."""
        weight = events.positive.sum(1).astype(np.float32)
        adjacency, pair = make_adjacency(events.user, events.item, weight, events.users, events.items)
        of_rows = np.flatnonzero(events.row >= 0)
        edges = np.full(len(rows.user), -1, np.int64)
        edges[events.row[of_rows]] = of_rows
        folds = np.random.default_rng(self.config.seed).integers(self.config.folds, size=len(edges), dtype=np.uint8)
        fold = np.full(len(events), -1)
        fold[of_rows] = folds[events.row[of_rows]]
        pairs, weights = torch.from_numpy(pair), torch.from_numpy(weight)
        parts = {
            "by_user": adjacency.by_user,
            "by_item": adjacency.by_item,
            "mirror": adjacency.mirror,
            "pairs": pairs,
            "weights": weights,
            "rows": [torch.from_numpy(np.array(part)) for part in (rows.user, rows.item, edges, folds)],
            "pooled": self._make_pooled(adjacency, pairs, weights, torch.from_numpy(fold)),
            "tasks": events.positive.shape[1],
        }
        _save(parts, folder / FILE)

    def _make_pooled(self, adjacency: Adjacency, pairs: Tensor, weights: Tensor, fold: Tensor) -> list[Tensor]:
        """Return the vectors of users and of items, (folds, nodes, width); ``fold`` (events,) is -1 for no row's."""
        # each side by a generator of its own, so that nodes of held-out rows alone change no vector of others
        generators = [np.random.default_rng((self.config.seed, side)) for side in range(2)]
        users, items = (
            torch.from_numpy(generator.standard_normal((count, self.config.width)))
            for generator, count in zip(generators, adjacency.by_user.shape, strict=True)
        )
        tables = []
        for left_out in range(self.config.folds):
            at = fold == left_out
            layers = _make_layers(adjacency.without(pairs[at], weights[at]), users, items, POOLED_LAYERS)
            tables.append([_scale(torch.stack(side[1:]).sum(0)).float() for side in zip(*layers, strict=True)])
        return [torch.stack(side) for side in zip(*tables, strict=True)]

    def open(self, folder: Path) -> OpenedFullGraph:
        """Return the graph and the rows' places in it, memory-mapped."""
        parts = torch.load(folder / FILE, mmap=True, weights_only=True)
        adjacency = Adjacency(parts["by_user"], parts["by_item"], parts["mirror"])
        users, items = adjacency.by_user.shape
        graph = TrainingGraph(adjacency, parts["pairs"], parts["weights"])
        spec = FullGraphSpec(users, items, parts["tasks"], len(adjacency.mirror), graph)
        return OpenedFullGraph(FullGraphInput(*parts["rows"]), parts["pooled"], spec)


def _save(parts: Mapping[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(parts, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch hides that a disk is full
            raise error.__context__ from error
        raise


def _scale(vectors: Tensor) -> Tensor:
    """Scale a table of vectors to a root mean square of 1 over those that are not zero, by nothing but the table."""
    some = vectors[vectors.any(1)]
    return vectors / some.square().mean().sqrt().clamp(min=torch.finfo().tiny) if len(some) else vectors


class OpenedFullGraph(InputReader):
    """The training graph, ready to be given to rows."""

    def __init__(self, rows: FullGraphInput, pooled: list[Tensor], spec: FullGraphSpec) -> None:
        self.rows = rows
        self.tables = pooled
        self.spec = spec

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> OpenedFullGraph:
        """Return a copy on ``device``."""
        rows = FullGraphInput(*(part.to(device, non_blocking=non_blocking) for part in self.rows))
        tables = [table.to(device, non_blocking=non_blocking) for table in self.tables]
        return OpenedFullGraph(rows, tables, self.spec)

    def take(self, rows: Tensor) -> FullGraphInput:
        """Return where the rows stand in the graph."""
        return FullGraphInput(*(part[rows] for part in self.rows))

    def features(self) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Return the numbers of the row's user and item, and how well they match."""
        width = self.tables[0].shape[-1]
        numbers = [f"propagated {node} {column}" for node in ("user", "item") for column in range(width)]
        return {}, (*numbers, "propagated match")

    def pool(self, taken: FullGraphInput) -> tuple[Mapping[str, Ragged], Tensor | None]:
        """Return the vectors of user and item and their inner product, as far as the other parts tell them."""
        folds = taken.folds.long()
        user, item = self.tables[0][folds, taken.users], self.tables[1][folds, taken.items]
        match = (user * item).mean(1, keepdim=True)
        return {}, torch.cat([user, item, match], 1)
