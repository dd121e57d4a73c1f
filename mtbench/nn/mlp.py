"""Stacks of equally shaped networks, computed as batched matrix products.

A stack takes one input for all of its networks, shape (batch, in), or one for each, shape (n, batch, in), and returns
shape (n, batch, out).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtbench.nn.dropout import Dropout, ReLUDropout

if TYPE_CHECKING:
    from collections.abc import Sequence

Norm = Literal["batch", "none"]
Activation = Literal["relu", "swish"]


class StackedLinear(nn.Module):
    """``n`` independent linear maps, each initialised as ``torch.nn.Linear`` is.

    Since 0.1, provisional.
    """

    def __init__(self, n: int, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(n, out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n, out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (n, batch, out) for ``x`` of shape (batch, in) or (n, batch, in)."""
        if x.dim() == 2:  # noqa: PLR2004
            bias = None if self.bias is None else self.bias.flatten()
            y = functional.linear(x, self.weight.flatten(0, 1), bias)
            return y.view(len(x), *self.weight.shape[:2]).transpose(0, 1)
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that uses its running statistics where a training batch has a single row."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if len(input) > 1:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


class StackedMLP(nn.Module):
    """``n`` independent networks; each layer is linear, batch norm (Ioffe & Szegedy, ICML 2015), activation, dropout.

    ``width`` is the size of the last layer, or of the input where there are no layers. Every network has normalisation
    statistics of its own; a training batch of one row, which has no variance, is normalised by the running ones.
    ``norm="none"`` leaves normalisation out.

    Since 0.1, provisional.
    """

    def __init__(
        self,
        n: int,
        in_features: int,
        layers: Sequence[int],
        dropout: float = 0.0,
        norm: Norm = "batch",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        sizes = (in_features, *layers)
        self.n = n
        self.width = sizes[-1]
        self.linears = nn.ModuleList(StackedLinear(n, a, b, bias=norm == "none") for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(_BatchNorm(n * b) if norm == "batch" else nn.Identity() for b in layers)
        self.activate = ReLUDropout(dropout) if activation == "relu" else nn.Sequential(nn.SiLU(), Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (n, batch, width) for ``x`` of shape (batch, in) or (n, batch, in)."""
        if not self.linears and x.dim() == 2:  # noqa: PLR2004
            return x.expand(self.n, -1, -1)
        for linear, norm in zip(self.linears, self.norms, strict=True):
            # Rows first: that is how a shared input leaves its product, and what batch norm and dropout are fast on.
            y = linear(x).transpose(0, 1).flatten(1)
            y = self.activate(norm(y))
            x = y.view(len(y), self.n, y.shape[1] // self.n).transpose(0, 1)
        return x


class Towers(nn.Module):
    """One network per task that ends in a logit.

    Since 0.1, provisional.
    """

    def __init__(
        self, tasks: int, in_features: int, layers: Sequence[int], dropout: float = 0.0, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.hidden = StackedMLP(tasks, in_features, layers, dropout, norm)
        self.head = StackedLinear(tasks, self.hidden.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (batch, tasks), for ``x`` of shape (batch, in) or (tasks, batch, in)."""
        logits: Tensor = self.head(self.hidden(x))
        return logits.squeeze(-1).t()
