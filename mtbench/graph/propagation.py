"""Sums over neighbours, by DGL or by torch's CSR products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from mtbench.graph.backend import load_dgl
from mtbench.graph.interaction_graph import Adjacency

if TYPE_CHECKING:
    from mtbench.graph.interaction_graph import InteractionGraph

Norm = Literal["sum", "mean", "symmetric"]


def propagate(
    graph: InteractionGraph | Adjacency, x_users: Tensor, x_items: Tensor, norm: Norm, *, task: str | None = None
) -> tuple[Tensor, Tensor]:
    """Give each user the sum of what its items have, and each item the sum of what its users have.

    ``x_users`` (users, width) and ``x_items`` (items, width) come back in the same shapes, as float32 or float64, and
    gradients flow to both. With A the weight of each pair of user and item and D_u, D_i its sums per user and per item,
    users get ``A x`` (``sum``), ``D_u^-1 A x`` (``mean``) or ``D_u^-1/2 A D_i^-1/2 x`` (``symmetric``: LightGCN, He et
    al., SIGIR 2020), items the like with A transposed; a node without neighbours gets zeros.

    In an interaction graph A counts the positives of ``task``, or of all tasks; DGL sums on the CPU, and CSR products
    elsewhere. An adjacency is summed by CSR products, so ``propagate(graph.csr(), ...)`` needs no DGL. Raises
    MTBenchError for an unknown task, or if DGL does not load.

    Since 0.1, provisional.
    """
    device, dtype = x_users.device, torch.promote_types(x_users.dtype, torch.float32)
    with torch.autocast(device.type, enabled=False):  # half precision loses counts and has no sparse kernels
        x_users, x_items = x_users.to(dtype), x_items.to(dtype)
        if isinstance(graph, Adjacency):
            return _normalise(_CSRSums(graph), x_users, x_items, norm)
        if device.type == "cpu":
            return _normalise(_DGLSums(graph, task), x_users, x_items, norm)
        return _normalise(_CSRSums(graph.csr(task, device)), x_users, x_items, norm)


def _normalise(sums: _CSRSums | _DGLSums, x_users: Tensor, x_items: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    # norms scale what goes in and what comes out: DGL's sums with edge weights are several times slower
    if norm == "sum":
        return sums(x_users, x_items)
    power = -1.0 if norm == "mean" else -0.5
    of_users, of_items = (
        torch.where(degrees > 0, degrees.to(x_users.dtype).pow(power), 0.0).unsqueeze(1) for degrees in sums.degrees
    )
    if norm == "symmetric":
        x_users, x_items = x_users * of_users, x_items * of_items
    y_users, y_items = sums(x_users, x_items)
    return y_users * of_users, y_items * of_items


class _DGLSums:
    def __init__(self, graph: InteractionGraph, task: str | None) -> None:
        self.graph: Any = graph.heterograph
        self.tasks = graph.choose_tasks(task)

    @property
    def degrees(self) -> tuple[Tensor, Tensor]:
        """The summed weights of users and of items."""
        users = sum(self.graph.out_degrees(etype=task) for task in self.tasks)
        items = sum(self.graph.in_degrees(etype=task) for task in self.tasks)
        assert isinstance(users, Tensor)
        assert isinstance(items, Tensor)
        return users, items

    def __call__(self, x_users: Tensor, x_items: Tensor) -> tuple[Tensor, Tensor]:
        y_users, y_items = torch.zeros_like(x_users), torch.zeros_like(x_items)
        for task in self.tasks:
            y_users = y_users + load_dgl().ops.copy_u_sum(self.graph[f"rev_{task}"], x_items)
            y_items = y_items + load_dgl().ops.copy_u_sum(self.graph[task], x_users)
        return y_users, y_items


class _CSRSums:
    def __init__(self, adjacency: Adjacency) -> None:
        self.adjacency = adjacency

    @property
    def degrees(self) -> tuple[Tensor, Tensor]:
        """The summed weights of users and of items."""
        return self.adjacency.degrees

    def __call__(self, x_users: Tensor, x_items: Tensor) -> tuple[Tensor, Tensor]:
        by_user, by_item = self.adjacency.by_user.to(x_users.dtype), self.adjacency.by_item.to(x_users.dtype)
        return _multiply(by_user, by_item, x_items), _multiply(by_item, by_user, x_users)


def _multiply(matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
    product: Tensor = _Product.apply(matrix, transposed, x)  # type: ignore[no-untyped-call]
    return product


class _Product(torch.autograd.Function):
    """A constant CSR matrix times x; torch's own gradient transposes the matrix at every step."""

    @staticmethod
    def forward(matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:  # noqa: ARG004
        with torch.autocast(x.device.type, enabled=False):  # there is no sparse product in half precision
            return matrix @ x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.matrix, ctx.transposed, _ = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor]:
        return None, None, _multiply(ctx.transposed, ctx.matrix, grad)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: tuple[None, None, int],
        matrix: Tensor,
        transposed: Tensor,
        x: Tensor,
    ) -> tuple[Tensor, int]:
        """Multiply a batch of x as one wide x: Jacobians, which balancers take, batch the gradients of tasks."""
        x = x.movedim(in_dims[2], -1)
        return _multiply(matrix, transposed, x.flatten(1)).reshape(-1, *x.shape[1:]), -1
