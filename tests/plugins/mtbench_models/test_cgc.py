from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.models import ModelSuite
from mtbench_models.cgc import CGC
from mtbench_models.ple import PLE
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, gate, network, rows, tower, weighted


class TestCGC(ModelSuite):
    model = CGC
    settings: ClassVar = {"expert_layers": (32, 16), "tower_layers": (16,)}


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("own", "shared"), [(1, 1), (2, 3)])
def test_it_equals_its_equations(norm, own, shared):
    model, batch = build(CGC, task_experts=own, shared_experts=shared, norm=norm), rows()
    x = model.embed(batch)
    experts = [network(model.level.experts, e, x) for e in range(4 * own + shared)]
    seen = [experts[t * own : (t + 1) * own] + experts[4 * own :] for t in range(4)]
    mixed = [weighted(seen[t], gate(model.level.task_gates, t, x)) for t in range(4)]
    assert_logits(model, batch, [tower(model.towers, t, mixed[t]) for t in range(4)])


def test_it_is_ple_of_one_level():
    cgc, ple, batch = build(CGC), build(PLE, levels=1), rows()
    ple.load_state_dict({name.replace("level.", "levels.0.", 1): value for name, value in cgc.state_dict().items()})
    torch.testing.assert_close(ple(batch), cgc(batch))


def test_experts_of_other_tasks_do_not_reach_a_task():
    model, batch = build(CGC, task_experts=2, shared_experts=1), rows()
    model(batch)[:, 1].sum().backward()
    gradients = model.level.experts.linears[0].weight.grad
    assert [e for e in range(9) if gradients[e].any()] == [2, 3, 8]
