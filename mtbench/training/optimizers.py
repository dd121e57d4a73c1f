"""Adam, and updates of embedding tables whose cost does not grow with the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class RowWise(torch.optim.Adam):
    """Adam, but where a group of parameters has a ``rule``: of these tables a step changes the rows it looked up alone.

    Their gradients are sparse. ``row-adam`` leaves Adam's moments of a row as they are until it is looked up again
    (lazy Adam, as ``torch.optim.SparseAdam``); ``row-adagrad`` divides by the root of the sum of squared gradients
    (Duchi, Hazan and Singer, JMLR 2011). Weight decay reaches these rows alone, too.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return what the closure returned."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        every = self.param_groups
        self.param_groups = [group for group in every if "rule" not in group]
        try:
            super().step()
        finally:
            self.param_groups = every
        for group in every:
            if "rule" in group:
                for table in group["params"]:
                    if table.grad is not None:
                        self._update(table, group)
        return result

    def _update(self, table: Tensor, group: dict[str, Any]) -> None:
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows, g = gradient.indices()[0], gradient.values()
        if group["weight_decay"]:
            g = g.add(table[rows], alpha=group["weight_decay"])
        state, adagrad = self.state[table], group["rule"] == "row-adagrad"
        if not state:
            sums = ("sum",) if adagrad else ("exp_avg", "exp_avg_sq")
            state |= {"step": torch.zeros(()), **{name: torch.zeros_like(table) for name in sums}}
        state["step"] += 1
        if adagrad:
            squares = state["sum"][rows].addcmul_(g, g)
            state["sum"][rows] = squares
            table.index_add_(0, rows, g.div(squares.sqrt_().add_(group["eps"])), alpha=-group["lr"])
            return
        step, (first, second) = float(state["step"]), group["betas"]
        mean = state["exp_avg"][rows].lerp_(g, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(g, g, value=1 - second)
        state["exp_avg"][rows] = mean
        state["exp_avg_sq"][rows] = square
        size = square.sqrt_().div_((1 - second**step) ** 0.5).add_(group["eps"])
        table.index_add_(0, rows, mean.div_(size), alpha=-group["lr"] / (1 - first**step))
