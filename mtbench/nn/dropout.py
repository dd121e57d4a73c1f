"""Dropout that does not dominate a training step on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256


class Dropout(nn.Module):
    """Sets elements to zero with probability ``p`` in training and scales the others so that the mean is kept.

    ``p`` is rounded to a multiple of 1/256, for the mask is made from random bytes on the CPU, where the built-in
    dropout costs more than the matrix product before it (Srivastava et al., JMLR 2014, describe the method).

    Since 0.1, provisional.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {p}")
        self.threshold = min(round(p * LEVELS), LEVELS - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``."""
        if not self.training or not self.threshold:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.threshold / LEVELS)
        return _Drop.apply(x, self.draw_kept(x.shape), self.scale)  # type: ignore[no-any-return, no-untyped-call]

    @property
    def scale(self) -> float:
        """What an element that is kept is multiplied by."""
        return LEVELS / (LEVELS - self.threshold)

    def draw_kept(self, shape: torch.Size) -> Tensor:
        """Return a byte for each element, 1 to keep it, 0 to drop it."""
        # From the smallest integer on: the default range leaves the top bit of each eight bytes at zero.
        words = torch.empty(-(-shape.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        # In place, for bytes are compared into bytes ten times faster than into booleans.
        return words.view(torch.uint8)[: shape.numel()].ge_(self.threshold).view(shape)

    def extra_repr(self) -> str:
        """Return the rate in use."""
        return f"p={self.threshold / LEVELS}"


class ReLUDropout(Dropout):
    """Dropout of what a rectifier lets through, in fewer passes over memory than the two after each other."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``."""
        if self.training and self.threshold and x.device.type == "cpu":
            return _RectifyAndDrop.apply(x, self.draw_kept(x.shape), self.scale)  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(functional.relu(x))


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, kept: Tensor, scale: float) -> Tensor:
        return (x * scale).mul_(kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:  # noqa: ARG004
        _, kept, ctx.scale = inputs
        ctx.save_for_backward(kept)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return (gradient * ctx.scale).mul_(*ctx.saved_tensors), None, None


class _RectifyAndDrop(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, kept: Tensor, scale: float) -> Tensor:
        return (x * scale).clamp_min_(0).mul_(kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        ctx.scale = inputs[2]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (output,) = ctx.saved_tensors  # positive where both let it through
        return torch.ops.aten.threshold_backward(gradient, output, 0).mul_(ctx.scale), None, None
