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
        # by index_select and index_copy_, whose cost the size of the table does not raise as that of index_add_
        values = table.index_select(0, rows)
        if group["weight_decay"]:
            g = g.add(values, alpha=group["weight_decay"])
        state, adagrad = self.state[table], group["rule"] == "row-adagrad"
        if not state:
            state["step"] = torch.zeros(())
            state["sums"] = table.new_zeros(len(table), 1 if adagrad else 2, *table.shape[1:])  # a row's side by side
        state["step"] += 1
        sums = state["sums"].index_select(0, rows)
        if adagrad:
            squares = sums[:, 0].addcmul_(g, g)
            values.addcdiv_(g, squares.sqrt().add_(group["eps"]), value=-group["lr"])
        else:
            step, (first, second) = float(state["step"]), group["betas"]
            mean = sums[:, 0].lerp_(g, 1 - first)
            square = sums[:, 1].mul_(second).addcmul_(g, g, value=1 - second)
            size = square.sqrt().div_((1 - second**step) ** 0.5).add_(group["eps"])
            values.addcdiv_(mean, size, value=-group["lr"] / (1 - first**step))
        state["sums"].index_copy_(0, rows, sums)
        table.index_copy_(0, rows, values)
