"""Gates that training opens or closes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class HardConcrete(nn.Module):
    """Gates in [0, 1] that are exactly 0 or 1 with some probability, hard concrete variables.

    With u uniform: s = sigmoid((log u - log(1 - u) + log_alpha) / beta), z = min(1, max(0, s * (zeta - gamma) +
    gamma)), beta = 2/3, gamma = -0.1 and zeta = 1.1. In training z is drawn anew at each call, in evaluation it is
    min(1, max(0, sigmoid(log_alpha) * (zeta - gamma) + gamma)). ``start`` is the sigmoid of log_alpha at the start.
    Louizos, Welling, Kingma: Learning Sparse Neural Networks through L0 Regularization. ICLR 2018.

    Since 0.1, provisional.
    """

    BETA = 2 / 3
    GAMMA = -0.1
    ZETA = 1.1

    def __init__(self, *shape: int, start: float = 0.5) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.randn(shape).mul_(0.01).add_(math.log(start / (1 - start))))

    def forward(self) -> Tensor:
        """Return the gates, of the shape that was asked for."""
        logits: Tensor = self.log_alpha
        if self.training:
            u = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
            logits = (u.logit() + logits) / self.BETA
        return (logits.sigmoid() * (self.ZETA - self.GAMMA) + self.GAMMA).clamp(0, 1)

    def expected_open(self) -> Tensor:
        """Return the expected number of gates that are not 0, the L0 norm that a penalty keeps small; a scalar."""
        return (self.log_alpha - self.BETA * math.log(-self.GAMMA / self.ZETA)).sigmoid().sum()
