"""The encoders of GRec: each turns one modality into one token. They see no task, and run once for all tasks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtbench.nn import ParallelBlock, masked_pool, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtbench.nn import FeatureEmbedding
    from mtbench_inputs.recent import RecentInput

SLOPE = 0.2
STD = 0.05


class ContextEncoder(nn.Module):
    """Wide and deep: numbers, and embeddings of everything else, each through a linear layer and leaky ReLU.

    The token's first part is deep, the rest wide; where there is one kind alone, it takes the whole width.
    """

    def __init__(self, deep: int, wide: int, width: int) -> None:
        super().__init__()
        narrow = width // 2 if deep and wide else width if wide else 0
        self.sizes = (deep, wide)
        self.deep = nn.Linear(deep, width - narrow) if deep else None
        self.wide = nn.Linear(wide, narrow) if wide else None

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (batch, width) for embeddings and then numbers, side by side."""
        parts = zip((self.deep, self.wide), x.tensor_split([self.sizes[0]], -1), strict=True)
        return torch.cat([functional.leaky_relu(layer(part), SLOPE) for layer, part in parts if layer is not None], -1)


class ItemEncoder(nn.Module):
    """The item's categorical features, its id among them where ids are features, by the tables of the context.

    Where no such feature describes items, those of a history have a table of their own, by number.
    """

    def __init__(self, embed: FeatureEmbedding, places: list[int], items: int, width: int) -> None:
        super().__init__()
        self.places = places
        self.by_number = None if places else nn.Embedding(items + 1, embed.dim, padding_idx=0)
        if self.by_number is not None:
            nn.init.normal_(self.by_number.weight[1:], std=STD)
        self.linear = nn.Linear(embed.dim * max(len(self.places), 1), width, bias=False)

    def forward(self, codes: Tensor, embed: FeatureEmbedding) -> Tensor:
        """Return shape (..., width) for the codes (..., features), or numbers (...) of items without features."""
        if self.by_number is not None:
            vectors = self.by_number(codes)
        else:
            vectors = embed.lookup(codes + embed.offsets[self.places]).flatten(-2)
        y: Tensor = self.linear(embed.dropout(vectors))
        return y


class HistoryEncoder(nn.Module):
    """The user's last positives: residual parallel blocks, masked mean and maximum, two linear layers.

    An event is its item's vector times a vector made of the tasks that were positive and the time since. A user without
    events is a vector that is learned. Only events are computed, padding is not.
    """

    def __init__(self, tasks: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.kind = nn.Linear(tasks + 2, width)
        self.blocks: Iterable[ParallelBlock] = nn.ModuleList(  # type: ignore[assignment]
            ParallelBlock(width, heads, dropout=dropout) for _ in range(layers)
        )
        self.linear = nn.Sequential(nn.Linear(2 * width, width, bias=False), nn.Linear(width, width, bias=False))
        self.nothing = nn.Parameter(torch.randn(width) * STD)

    def forward(self, recent: RecentInput, item: ItemEncoder, embed: FeatureEmbedding) -> Tensor:
        """Return shape (batch, width)."""
        seen = recent.item_mask > 0
        rows = seen.any(1).nonzero().squeeze(1)
        nothing = self.nothing.expand(len(seen), -1)
        if not len(rows):
            return nothing
        gaps = recent.item_gaps[seen].unsqueeze(-1)
        kind = self.kind(torch.cat([recent.item_marks[seen], gaps, (1000 * gaps).log1p() / math.log1p(1000)], -1))
        x = kind * item((recent.item_codes if item.places else recent.items)[seen], embed)
        mask = seen[rows, : int(seen.sum(1).max())]
        for block in self.blocks:
            x = x + block.forward_packed(x, mask)
        y = self.linear(masked_pool(unpack(x, mask), mask))
        return nothing.to(y.dtype).index_copy(0, rows, y)
