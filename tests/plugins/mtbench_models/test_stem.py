from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.models import ModelSuite
from mtbench_models.stem import STEM
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, gate, network, rows, tower, weighted


class TestSTEM(ModelSuite):
    model = STEM
    settings: ClassVar = {"expert_layers": (32, 16), "tower_layers": (16,)}


class TestSTEMOfTwoLayers(ModelSuite):
    model = STEM
    settings: ClassVar = {
        "layers": 2,
        "expert_layers": (16,),
        "tower_layers": (16,),
        "gate_layers": (8,),
        "task_experts": 1,
        "shared_experts": 2,
    }


def gate_of(gates, i, x):
    return gate(gates.linear, i, network(gates.hidden, i, x))


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("layers", "own", "shared", "hidden"), [(1, 2, 3, ()), (2, 1, 2, (8,)), (3, 2, 1, ())])
def test_it_equals_its_equations(norm, layers, own, shared, hidden):
    model = build(STEM, layers=layers, task_experts=own, shared_experts=shared, gate_layers=hidden, norm=norm)
    batch = rows()
    branches = list(model.embed(batch))
    assert not torch.allclose(branches[0], branches[1])
    for i, layer in enumerate(model.layers):
        experts = [network(layer.experts, t * own + e, branches[t]) for t in range(4) for e in range(own)]
        experts += [network(layer.experts, 4 * own + e, branches[4]) for e in range(shared)]
        mixed = [weighted(experts, gate_of(layer.task_gates, t, branches[t] + branches[4])) for t in range(4)]
        if i < layers - 1:
            mixed.append(weighted(experts, gate_of(layer.shared_gate, 0, branches[4])))
        branches = mixed
    assert_logits(model, batch, [tower(model.towers, t, branches[t]) for t in range(4)])


def test_other_tasks_experts_and_embeddings_get_no_gradient_of_a_task():
    model, batch = build(STEM, task_experts=2, shared_experts=1), rows()
    for task in range(4):
        model.zero_grad()
        model(batch)[:, task].sum().backward()
        experts = model.layers[0].experts.linears[0].weight.grad
        reached = [bool(experts[e].any()) for e in range(9)]
        assert reached == [e // 2 == task or e == 8 for e in range(9)]
        tables = model.embed.table.grad.view(len(model.embed.table), 5, -1)
        assert [bool(tables[:, copy].any()) for copy in range(5)] == [copy in {task, 4} for copy in range(5)]


def test_a_task_still_learns_how_to_weigh_the_experts_of_others():
    model, batch = build(STEM, task_experts=1, shared_experts=1), rows()
    model(batch)[:, 0].sum().backward()
    assert model.layers[0].task_gates.linear.weight.grad[0, 1:4].abs().sum(-1).gt(0).all()


def test_the_shared_gate_detaches_no_expert():
    model, batch = build(STEM, layers=2, task_experts=1, shared_experts=1), rows()
    mixed = model.layers[0](model.embed(batch))
    mixed[-1].sum().backward()
    assert model.layers[0].experts.linears[0].weight.grad.flatten(1).any(1).all()
