from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench.schema import Task
from mtbench_balancers.fixed import Equal, Weighted

TASKS = (Task(name="click"), Task(name="buy"), Task(name="rating", kind="regression"))


def test_equal_is_the_mean():
    losses = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    loss = Equal(Equal.Config(), TASKS)(losses)
    assert loss.item() == 3
    assert torch.autograd.grad(loss, losses)[0].tolist() == pytest.approx([1 / 3] * 3)


def test_a_missing_weight_is_one():
    balancer = Weighted(Weighted.Config(weights={"buy": 2.0}), TASKS)
    assert balancer(torch.tensor([1.0, 2.0, 7.0])).item() == pytest.approx((1 + 2 * 2 + 7) / 4)


@given(weight=st.floats(1e-3, 1e3))
def test_equal_weights_of_any_size_are_the_mean(weight):
    balancer = Weighted(Weighted.Config(weights={task.name: weight for task in TASKS}), TASKS)
    assert balancer(torch.tensor([1.0, 2.0, 6.0])).item() == pytest.approx(3, rel=1e-5)


def test_a_weight_for_no_task_is_refused_with_a_suggestion():
    with pytest.raises(MTBenchError, match=r"weight for 'clik', which is no task \(did you mean 'click'\?\)"):
        Weighted(Weighted.Config(weights={"clik": 2.0}), TASKS)
    with pytest.raises(MTBenchError, match=r"\(tasks: click, buy, rating\)"):
        Weighted(Weighted.Config(weights={"zzz": 2.0}), TASKS)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_must_be_positive_and_finite(weight):
    with pytest.raises(ValidationError):
        Weighted.Config(weights={"click": weight})
