"""Dropout that does not dominate a training step on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256


class Dropout(nn.Module):
    """Sets elements to zero with probability ``p`` in training and scales the others so that the mean is kept.

    ``p`` is rounded to a multiple of 1/256, for the mask is made from random bytes on the CPU, where the built-in
    dropout costs more than the matrix product before it (Srivastava et al., JMLR 2014, describe the method).
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
        # From the smallest integer on: the default range leaves the top bit of each eight bytes at zero.
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - self.threshold))

    def extra_repr(self) -> str:
        """Return the rate in use."""
        return f"p={self.threshold / LEVELS}"
