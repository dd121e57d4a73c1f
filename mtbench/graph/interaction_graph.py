"""Graphs of the users and items of a period."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mtbench.errors import MTBenchError, suggest
from mtbench.graph.backend import load_dgl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


@dataclass(frozen=True, eq=False)
class Adjacency:
    """The summed weights of P distinct pairs of users and items, as torch CSR matrices of both directions.

    ``by_user`` is (users, items), ``by_item`` its transpose; ``mirror`` (P,) says for each pair, in the order of
    ``by_user``, where it stands in ``by_item``. Indices are int32, weights float32.

    Since 0.1, provisional.
    """

    by_user: Tensor
    by_item: Tensor
    mirror: Tensor

    @cached_property
    def degrees(self) -> tuple[Tensor, Tensor]:
        """The summed weights of each user (users,) and of each item (items,)."""
        users, items = self.by_user.shape
        ones = self.by_user.values().new_ones
        return (self.by_user @ ones(items, 1)).squeeze(1), (self.by_item @ ones(users, 1)).squeeze(1)

    def without(self, pairs: Tensor, weights: Tensor) -> Adjacency:
        """Return a copy with ``weights`` taken from ``pairs``, positions in ``by_user``; a pair may come repeatedly.

        The matrices equal those of an adjacency that never had them, with zeros kept where nothing is left.
        """
        return Adjacency(
            _subtract(self.by_user, pairs, weights),
            _subtract(self.by_item, self.mirror[pairs], weights),
            self.mirror,
        )

    def to(self, device: torch.device | str) -> Adjacency:
        """Return a copy on ``device``."""
        return Adjacency(*(getattr(self, part.name).to(device) for part in fields(self)))


def _subtract(matrix: Tensor, at: Tensor, weights: Tensor) -> Tensor:
    values = matrix.values().index_add(0, at, weights, alpha=-1)
    offsets, columns = matrix.crow_indices(), matrix.col_indices()
    return torch.sparse_csr_tensor(offsets, columns, values, matrix.shape, check_invariants=False)


def make_adjacency(
    user: np.ndarray, item: np.ndarray, weight: np.ndarray, users: int, items: int
) -> tuple[Adjacency, np.ndarray]:
    """Return the adjacency of weighted events, and each event's pair: its position in ``by_user`` (events,).

    Since 0.1, provisional.
    """
    key = user.astype(np.int64) * items + item
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    first = np.diff(ordered, prepend=-1) != 0
    pair = np.empty(len(key), np.int64)
    pair[order] = np.cumsum(first) - 1
    of_user, of_item = np.divmod(ordered[first], items)
    values = np.bincount(pair, weights=weight, minlength=len(of_user)).astype(np.float32)
    by_item = np.argsort(of_item, kind="stable")
    mirror = np.empty(len(by_item), np.int32)
    mirror[by_item] = np.arange(len(by_item), dtype=np.int32)
    adjacency = Adjacency(
        _make_csr(of_user, of_item, values, (users, items)),
        _make_csr(of_item[by_item], of_user[by_item], values[by_item], (items, users)),
        torch.from_numpy(mirror),
    )
    return adjacency, pair


def _make_csr(row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Tensor:
    offsets = np.zeros(shape[0] + 1, np.int32)
    offsets[1:] = np.bincount(row, minlength=shape[0]).cumsum()
    # int32: half the memory, and the products are faster than with int64
    offsets_, columns, values_ = (torch.from_numpy(part) for part in (offsets, column.astype(np.int32), values))
    return torch.sparse_csr_tensor(offsets_, columns, values_, shape, check_invariants=True)


@dataclass(frozen=True, eq=False)
class InteractionGraph:
    """The positives of users with items in some period; one edge per event and task that was positive.

    ``user``, ``item`` and ``time`` (events,) and ``positive`` (events, tasks) are as in ``Interactions``; ``users`` and
    ``items`` count nodes, with and without events. Pickled without what is derived.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    positive: np.ndarray
    users: int
    items: int
    tasks: tuple[str, ...]

    def __getstate__(self) -> Mapping[str, Any]:
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @cached_property
    def heterograph(self) -> Any:
        """The DGL graph: edge types ``(user, TASK, item)`` and ``(item, rev_TASK, user)``, edge data ``time``.

        Raises MTBenchError if DGL does not load.
        """
        edges, times = {}, {}
        for column, task in enumerate(self.tasks):
            at = np.flatnonzero(self.positive[:, column])
            user, item = (torch.from_numpy(np.asarray(ends[at])) for ends in (self.user, self.item))
            edges["user", task, "item"] = user, item
            edges["item", f"rev_{task}", "user"] = item, user
            times[task] = torch.from_numpy(np.asarray(self.time[at]))
        graph = load_dgl().heterograph(
            edges, num_nodes_dict={"user": self.users, "item": self.items}, idtype=torch.int32
        )
        for task, time in times.items():
            graph.edges[task].data["time"] = graph.edges[f"rev_{task}"].data["time"] = time
        return graph

    def choose_tasks(self, task: str | None) -> tuple[str, ...]:
        """Return the task alone, or all tasks for None. Raises MTBenchError if there is no such task."""
        if task is None:
            return self.tasks
        if task not in self.tasks:
            raise MTBenchError(f"the graph has no task '{task}'{suggest(task, self.tasks)}; it has {self.tasks}")
        return (task,)

    def csr(self, task: str | None = None, device: torch.device | str = "cpu") -> Adjacency:
        """Return how often each pair of user and item was positive on a task, or the sum of that over all tasks.

        It is made once for each task and device. Raises MTBenchError if there is no such task.
        """
        made = self._adjacencies
        if (task, str(device)) not in made:
            columns = [self.tasks.index(one) for one in self.choose_tasks(task)]
            weight = self.positive[:, columns].sum(1)
            at = np.flatnonzero(weight)
            adjacency, _ = make_adjacency(self.user[at], self.item[at], weight[at], self.users, self.items)
            made[task, str(device)] = adjacency.to(device)
        return made[task, str(device)]

    @cached_property
    def _adjacencies(self) -> dict[tuple[str | None, str], Adjacency]:
        return {}
