from __future__ import annotations

import torch
from torch import nn

from mtbench.nn.sharing import find_shared


class Net(nn.Module):
    """A bottom that both tasks use, a head of each, and a table whose rows the tasks divide between them."""

    def __init__(self):
        super().__init__()
        self.bottom = nn.Linear(4, 8)
        self.dropout = nn.Dropout(0.5)
        self.heads = nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])
        self.table = nn.Embedding(6, 1)
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.gate = nn.Parameter(torch.zeros(1))

    def losses(self, x, rows):
        hidden = self.dropout(self.bottom(x).relu()) * self.gate * self.frozen
        return torch.stack(
            [
                (head(hidden) + self.table(of_task)).square().mean()
                for head, of_task in zip(self.heads, rows, strict=True)
            ]
        )


X = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
APART = (torch.zeros(16, dtype=torch.long), torch.ones(16, dtype=torch.long))
TOGETHER = (torch.zeros(16, dtype=torch.long), torch.zeros(16, dtype=torch.long))


def test_what_two_losses_reach_is_shared_even_behind_a_gate_that_starts_at_zero():
    net = Net()
    assert find_shared(net, lambda: net.losses(X, APART)) == ["gate", "bottom.weight", "bottom.bias"]


def test_a_table_is_shared_only_where_two_losses_reach_one_and_the_same_value():
    net = Net()
    assert "table.weight" not in find_shared(net, lambda: net.losses(X, APART))
    assert "table.weight" in find_shared(net, lambda: net.losses(X, TOGETHER))


def test_of_one_loss_nothing_is_shared():
    net = Net()
    assert find_shared(net, lambda: net.losses(X, TOGETHER)[:1]) == []


def test_random_numbers_go_on_as_if_nobody_had_looked():
    net = Net()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    find_shared(net, lambda: net.losses(X, APART))
    assert torch.equal(torch.rand(3), expected)
