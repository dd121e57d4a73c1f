from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.models import ModelSuite
from mtbench_models.mmoe import MMoE
from mtbench_models.omoe import OMoE
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, gate, network, rows, tower, weighted


class TestOMoE(ModelSuite):
    model = OMoE
    settings: ClassVar = {"experts": 3, "expert_layers": (32, 16), "tower_layers": (16,)}


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_it_equals_its_equations(norm):
    model, batch = build(OMoE, experts=5, norm=norm), rows()
    x = model.embed(batch)
    mixed = weighted([network(model.experts, e, x) for e in range(5)], gate(model.gate, 0, x))
    assert_logits(model, batch, [tower(model.towers, t, mixed) for t in range(4)])


def test_mmoe_with_equal_gates_is_omoe():
    one, many, batch = build(OMoE), build(MMoE), rows()
    state = one.state_dict()
    for name in ("weight", "bias"):
        gate_of_all = state.pop(f"gate.{name}")
        state[f"gates.{name}"] = gate_of_all.expand(4, *gate_of_all.shape[1:])
    many.load_state_dict(state)
    torch.testing.assert_close(many(batch), one(batch))
