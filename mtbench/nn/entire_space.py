"""Labels and probabilities over all impressions, of tasks that are given others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench import Batch, Task


class EntireSpace(nn.Module):
    """Turns tasks that are given others into tasks over all impressions, as Ma et al. (SIGIR 2018) do.

    A conversion given a click has the probability p(click) * p(conversion | click) of being seen at an impression,
    and so on along a chain of given tasks. A task without ``given`` stays what it is. Columns of tasks
    that predict no probability are returned too, but mean nothing.

    Since 0.1, provisional.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__()
        columns = {task.name: column for column, task in enumerate(tasks)}
        chain = torch.eye(len(tasks), dtype=torch.bool)
        for column, task in enumerate(tasks):
            given = task.given
            while given is not None:
                chain[column, columns[given]] = True
                given = tasks[columns[given]].given
        self.chain: Tensor
        self.before: Tensor
        self.register_buffer("chain", chain, persistent=False)
        self.register_buffer("before", chain & ~torch.eye(len(tasks), dtype=torch.bool), persistent=False)

    def labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return labels over all impressions and the mask of rows where they are known, both (batch, tasks).

        A label is 1 where the whole chain is positive. It is 0, and known to be, from the first negative on.
        """
        positive = batch.mask * batch.labels.to(batch.mask.dtype)
        negative = batch.mask - positive
        reached = torch.where(self.before, positive.unsqueeze(1), 1).prod(-1)
        labels = reached * positive
        ended = reached * negative
        return labels, labels + torch.where(self.chain, ended.unsqueeze(1), 0).sum(-1)

    def log_probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of a task's probability over all impressions and of the rest, both (batch, tasks).

        ``logits`` (batch, tasks) are conditional on the given task. The rest is summed from the places where a chain
        can end, because one minus a product near one would lose its digits.
        """
        yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        ends = no + torch.where(self.before, yes.unsqueeze(1), 0).sum(-1)
        log_rest = ends.unsqueeze(1).masked_fill(~self.chain, -torch.inf).logsumexp(-1)
        return torch.where(self.chain, yes.unsqueeze(1), 0).sum(-1), log_rest
