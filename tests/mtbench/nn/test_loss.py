from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributed

from mtbench.nn.loss import masked_mean


def test_each_task_has_the_mean_of_the_rows_that_count():
    values = torch.tensor([[1.0, 10.0, 5.0], [2.0, 20.0, 6.0], [6.0, 40.0, 7.0]])
    mask = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert masked_mean(values, mask).tolist() == [3.0, 30.0, 0.0]


def test_a_row_that_does_not_count_gets_no_gradient():
    values = torch.ones(3, 1, requires_grad=True)
    masked_mean(values, torch.tensor([[1.0], [0.0], [1.0]])).sum().backward()
    assert values.grad.flatten().tolist() == [0.5, 0.0, 0.5]


def test_a_batch_without_rows_has_a_loss_of_zero():
    assert masked_mean(torch.zeros(0, 2), torch.zeros(0, 2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_average_gradient_of_processes_is_that_of_one_that_saw_all_rows(monkeypatch, share):
    rng = np.random.default_rng(int(10 * share))
    mask = torch.tensor(rng.random((12, 2)) < share).float()
    weight = torch.tensor(rng.normal(size=(12, 2))).float()

    def gradient(rows):
        scale = torch.ones(2, requires_grad=True)
        masked_mean(weight[rows] * scale, mask[rows]).sum().backward()
        return scale.grad

    alone = gradient(slice(None))
    parts = [slice(0, 3), slice(3, 12), slice(12, 12)]  # three processes, of which the last one has no rows
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: len(parts))
    monkeypatch.setattr(distributed, "all_reduce", lambda count: count.copy_(mask.sum(0)))
    torch.testing.assert_close(sum(gradient(rows) for rows in parts) / len(parts), alone)
