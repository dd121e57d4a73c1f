"""The parallel formulation of a Transformer block."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtbench.nn.dropout import Dropout

BASE = 10_000.0


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Turn pairs of numbers of ``x`` (..., positions, width) by angles proportional to their position (RoPE).

    The product of two turned vectors depends on the difference of their positions alone. Element i is paired with
    element i + width / 2 and turned by ``position * 10000 ** (-2 i / width)``; the width is even. Su et al., RoFormer,
    Neurocomputing 568, 2024.
    """
    half = x.shape[-1] // 2
    speeds = BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = positions.to(torch.float32)[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Projected(NamedTuple):
    """What a block makes of each position by itself, for L positions, H heads of width D.

    ``queries`` (..., H, L, D), scaled and turned; ``keys`` (..., L, D), turned, and ``values`` (..., L, D), which the
    heads share; ``forward`` (..., L, width), the feed-forward branch.

    Since 0.1, provisional.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    forward: Tensor


class ParallelBlock(nn.Module):
    """Attention and feed-forward side by side: ``Attention(N(x)) + SwiGLU(N(x))``, without the residual.

    One layer norm and one projection without biases serve both branches (Chowdhery et al., PaLM, JMLR 24, 2023). All
    heads share one key and one value (Shazeer, arXiv 1911.02150, 2019); positions enter by :func:`rotate`; every
    position sees every other. The feed-forward branch is ``W (a * silu(b))`` (Shazeer, arXiv 2002.05202, 2020).
    ``head_dim``, which must be even, is the width unless given; dropout acts on what is returned.

    Since 0.1, provisional.
    """

    def __init__(
        self, width: int, heads: int = 1, head_dim: int | None = None, expansion: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim or width
        if self.head_dim % 2:
            raise ValueError(f"heads must have an even width to be turned in pairs, not {self.head_dim}")
        self.hidden = expansion * width
        self.sizes = (heads * self.head_dim, self.head_dim, self.head_dim, self.hidden, self.hidden)
        self.norm = nn.LayerNorm(width, bias=False)
        self.project = nn.Linear(width, sum(self.sizes), bias=False)
        self.attention_out = nn.Linear(heads * self.head_dim, width, bias=False)
        self.forward_out = nn.Linear(self.hidden, width, bias=False)
        self.dropout = Dropout(dropout)

    def project_inputs(self, x: Tensor, positions: Tensor) -> Projected:
        """Return the projections of ``x`` (..., L, width), whose positions are given (L,)."""
        queries, keys, values, up, gate = self.project(self.norm(x)).split(self.sizes, -1)
        queries = queries.unflatten(-1, (self.heads, self.head_dim)).transpose(-2, -3) * self.head_dim**-0.5
        forward = self.forward_out(up * functional.silu(gate))
        return Projected(rotate(queries, positions), rotate(keys, positions), values, forward)

    def merge_heads(self, mixed: Tensor) -> Tensor:
        """Return (..., L, width) for the heads' mixed values (..., H, L, D)."""
        y: Tensor = self.attention_out(mixed.transpose(-2, -3).flatten(-2))
        return y

    def forward_packed(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return shape (N, width) for the N positions where ``mask`` (batch, L), boolean, is true, row after row.

        A position sees those of its row among them; the others cost nothing but their place in the attention.
        """
        batch, length = mask.shape
        at = mask.flatten().nonzero().squeeze(1)
        queries, keys, values, forward = self.project_inputs(x, at % length)

        def lay_out(part: Tensor) -> Tensor:
            zeros = part.new_zeros(*part.shape[:-2], batch * length, part.shape[-1])
            return zeros.index_copy(-2, at, part).view(*part.shape[:-2], batch, length, -1)

        scores = lay_out(keys) @ lay_out(queries).mT  # keys first: a softmax over the last dimension is slow
        hidden = ~mask & mask.any(-1, keepdim=True)  # rows without positions see zeros rather than nothing
        weights = scores.masked_fill(hidden.unsqueeze(2), -torch.inf).softmax(-2)
        mixed = weights.mT @ lay_out(values)
        y: Tensor = self.dropout(self.merge_heads(mixed.flatten(-3, -2).index_select(-2, at)) + forward)
        return y

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return shape (batch, L, width) for ``x`` of that shape.

        Positions where ``mask`` (batch, L) is 0 are seen by none, and zero in the result.
        """
        seen = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask != 0
        return unpack(self.forward_packed(x[seen], seen), seen)


def unpack(x: Tensor, mask: Tensor) -> Tensor:
    """Return shape (batch, L, width) for ``x`` (N, width) of the positions where ``mask`` is true, zeros elsewhere.

    Since 0.1, provisional.
    """
    zeros = x.new_zeros(mask.numel(), x.shape[-1])
    return zeros.index_copy(0, mask.flatten().nonzero().squeeze(1), x).view(*mask.shape, -1)


def masked_pool(x: Tensor, mask: Tensor) -> Tensor:
    """Return mean and maximum, side by side, of ``x`` (batch, L, width) over the positions where ``mask`` is 1.

    Zeros where there are none.

    Since 0.1, provisional.
    """
    seen = mask.unsqueeze(-1) != 0
    mean = (x * seen).sum(-2) / seen.sum(-2).clamp(min=1)
    largest = x.masked_fill(~seen, -torch.inf).amax(-2)
    return torch.cat([mean, torch.where(seen.any(-2), largest, 0)], -1)
