"""Mixing of the tokens of a row with the token of each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtbench.nn import ParallelBlock

if TYPE_CHECKING:
    from mtbench.nn import Projected


class TaskMixing(nn.Module):
    """A parallel block over [tokens of the row, token of the task], for all tasks at once.

    What the row's tokens project to and what they say to each other is the same for every task and computed once. The
    softmax of such a token over the row's keys and the task's is a weighted mean of the softmax over the row's keys and
    of the task's value, with weight ``sigmoid(score - logsumexp(scores of the row))`` for the latter: the outcome is
    that of the block run for each task by itself. ``residual`` adds the tokens that went in.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, residual: bool) -> None:
        super().__init__()
        self.block = ParallelBlock(width, heads, dropout=dropout)
        self.residual = residual

    def forward(self, tokens: Tensor, tasks: Tensor) -> Tensor:
        """Return shape (batch, T, L + 1, width) for tokens (batch, L, width) and tasks (T, width)."""
        size = tokens.shape[1]
        row = self.block.project_inputs(tokens, torch.arange(size, device=tokens.device))
        task = self.block.project_inputs(tasks.unsqueeze(1), torch.full((1,), size, device=tokens.device))
        mixed = self._mix_row(row, task)
        mixed[:, :, -1:] += self._mix_task(row, task)
        if self.residual:
            mixed[:, :, :-1] += tokens.unsqueeze(1)
            mixed[:, :, -1:] += tasks.unsqueeze(1)
        y: Tensor = self.block.dropout(mixed)
        return y

    def _mix_row(self, row: Projected, task: Projected) -> Tensor:
        """Return what the row's tokens become for each task, and zeros in the place of the task's own token."""
        scores = row.keys.unsqueeze(1) @ row.queries.mT  # (batch, heads, key, query)
        out = self.block.attention_out.weight.view(len(self.block.attention_out.weight), self.block.heads, -1)
        alone = torch.einsum("bhld,whd->bhlw", scores.softmax(-2).mT @ row.values.unsqueeze(1), out)
        added = torch.einsum("td,whd->thw", task.values.squeeze(1), out)
        seen = torch.einsum("bhld,td->bthl", row.queries, task.keys.squeeze(1))
        weight = functional.pad((seen - scores.logsumexp(-2).unsqueeze(1)).sigmoid(), (0, 1)).unsqueeze(-1).contiguous()
        mixed = functional.pad(alone.sum(1) + row.forward, (0, 0, 0, 1)).unsqueeze(1)
        alone = functional.pad(alone, (0, 0, 0, 1))
        for head in range(self.block.heads):
            mixed = torch.addcmul(mixed, weight[:, :, head], added[:, head, None])
            mixed = mixed.addcmul_(weight[:, :, head], alone[:, None, head], value=-1)
        return mixed

    def _mix_task(self, row: Projected, task: Projected) -> Tensor:
        """Return what the task's token becomes for each row (batch, T, 1, width)."""
        queries = task.queries.squeeze(-2)
        scores = torch.einsum("bld,thd->blth", row.keys, queries)
        own = (queries * task.keys).sum(-1).expand(len(scores), 1, -1, -1)
        weights = torch.cat([scores, own], 1).softmax(1)
        mixed = torch.einsum("blth,bld->bthd", weights[:, :-1], row.values)
        mixed = torch.addcmul(mixed, weights[:, -1, :, :, None], task.values)
        return self.block.merge_heads(mixed.unsqueeze(-2)) + task.forward
