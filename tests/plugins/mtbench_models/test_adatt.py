from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.models import ModelSuite
from mtbench_models.adatt import AdaTT
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, gate, network, rows, tower, weighted


class TestAdaTT(ModelSuite):
    model = AdaTT
    settings: ClassVar = {"expert_layers": (32, 16), "tower_layers": (16,)}


class TestAdaTTOfOneExpertPerTask(ModelSuite):
    model = AdaTT
    settings: ClassVar = {"levels": 1, "task_experts": 1, "expert_layers": (32, 16), "tower_layers": (16,)}


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("levels", "own"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_it_equals_its_equations(norm, levels, own):
    model = build(AdaTT, levels=levels, task_experts=own, norm=norm)
    batch = rows()
    inputs = [model.embed(batch)] * 4
    for level in model.levels:
        experts = [[network(level.experts, t * own + e, inputs[t]) for e in range(own)] for t in range(4)]
        everyone = [expert for of_task in experts for expert in of_task]
        fused = [weighted(everyone, gate(level.gates, t, inputs[t])) for t in range(4)]
        for t in range(4):
            for e in range(own):
                fused[t] = fused[t] + (1 if own == 1 else level.own_weights[t, e]) * experts[t][e]
        inputs = fused
    assert_logits(model, batch, [tower(model.towers, t, inputs[t]) for t in range(4)])


def test_own_experts_reach_a_task_past_its_gate():
    model, batch = build(AdaTT, levels=1, task_experts=2), rows()
    level, x = model.levels[0], model.embed(batch)
    with torch.no_grad():
        level.gates.weight.zero_()
        level.gates.bias.fill_(-1e4)
        level.gates.bias[:, -1] = 1e4  # every gate chooses the last task's last expert
        out, last = level(x), network(level.experts, 7, x)
        own = [level.own_weights[0, e] * network(level.experts, e, x) for e in range(2)]
    torch.testing.assert_close(out[0], last + own[0] + own[1])


def test_weights_of_own_experts_start_uniformly_by_their_number():
    model = build(AdaTT, tasks=8, levels=3, task_experts=4)
    starts = torch.cat([level.own_weights.detach().flatten() for level in model.levels])
    assert starts.abs().max() <= 0.5
    assert float(starts.std()) == pytest.approx(0.5 / 3**0.5, rel=0.15)


def test_a_single_own_expert_is_added_as_it_is():
    names = {name for name, _ in build(AdaTT, task_experts=1).named_parameters()}
    assert not any("own_weights" in name for name in names)
