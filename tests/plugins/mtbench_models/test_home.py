from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from mtbench.errors import MTBenchError
from mtbench.schema import Task
from mtbench.testing.models import ModelSuite
from mtbench_models.home import HoME, _number_categories
from tests.plugins.mtbench_models.slow_forms import (
    assert_logits,
    build,
    gate,
    linear,
    network,
    rows,
    tower,
    weighted,
)


class TestHoME(ModelSuite):
    model = HoME
    settings: ClassVar = {"expert_layers": (32, 16), "tower_layers": (16,), "gate_rank": 4}


class TestHoMEOfOneCategory(ModelSuite):
    model = HoME
    settings: ClassVar = {
        "categories": "one",
        "task_experts": 1,
        "shared_experts": 1,
        "category_experts": 1,
        "expert_layers": (16,),
        "tower_layers": (16,),
    }


def expert(experts, e, x):
    scale = 2 * (x @ experts.down.weight[e].T @ experts.up.weight[e].T).sigmoid()
    return network(experts.networks, e, scale * x)


def own_gate(stack, i, x):
    logits = linear(stack, i, x)
    return logits.sigmoid() if logits.shape[1] == 1 else functional.softmax(logits, -1)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("own", "of_category", "shared"), [(1, 1, 1), (2, 3, 2), (3, 1, 2)])
def test_it_equals_its_equations(norm, own, of_category, shared):
    """Click, cart and buy are a category, the regression is another."""
    sizes = {"task_experts": own, "category_experts": of_category, "shared_experts": shared}
    model, batch = build(HoME, norm=norm, **sizes), rows()
    category = [0, 0, 0, 1]
    x, meta, level = model.embed(batch), model.meta, model.level

    experts = [expert(meta.experts, e, x) for e in range(2 * of_category + shared)]
    common = experts[2 * of_category :]
    branches = []
    for c in range(2):
        mine = experts[c * of_category : (c + 1) * of_category]
        branches.append(
            weighted(mine + common, gate(meta.gates, c, x)) + weighted(mine, own_gate(meta.self_gates, c, x))
        )
    z = weighted(experts, gate(meta.shared_gate, 0, x)) + weighted(common, own_gate(meta.shared_self_gate, 0, x))

    pairs = [torch.cat([branch, z], 1) for branch in branches]
    common = [expert(level.shared_experts, e, z) for e in range(shared)]
    logits = []
    for t, c in enumerate(category):
        mine = [expert(level.experts, t * own + e, pairs[c]) for e in range(own)]
        peers = [expert(level.experts, 4 * own + c * of_category + e, pairs[c]) for e in range(of_category)]
        mixed = weighted(mine + peers + common, gate(level.gates, t, pairs[c]))
        logits.append(tower(model.towers, t, mixed + weighted(mine, own_gate(level.self_gates, t, pairs[c]))))
    assert_logits(model, batch, logits)


def test_a_feature_gate_scales_its_input():
    """The output is gate * input, not the gate: with weights of zero it is the input."""
    experts = build(HoME).meta.experts
    x = torch.randn(5, experts.down.weight.shape[-1])
    with torch.no_grad():
        gated = experts.gate(x)
        scale = 2 * (x @ experts.down.weight[1].T @ experts.up.weight[1].T).sigmoid()
        torch.testing.assert_close(gated[1], scale * x)
        experts.up.weight.zero_()
        torch.testing.assert_close(experts.gate(x), x.expand(len(gated), -1, -1))


def test_experts_are_normalised_before_their_activation():
    """Swish(BatchNorm(x)) has values on both sides of zero; ReLU first would leave none below Swish(-its mean)."""
    experts = build(HoME, dropout=0).meta.experts.train()
    seen = []
    experts.networks.norms[-1].register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    with torch.no_grad():
        out = experts(torch.randn(500, experts.down.weight.shape[-1]))
    before, normalised = seen[0]
    assert (before < 0).float().mean() > 0.2
    torch.testing.assert_close(normalised.mean(0), torch.zeros(normalised.shape[1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised.std(0), torch.ones(normalised.shape[1]), rtol=0, atol=0.02)
    torch.testing.assert_close(out.transpose(0, 1).flatten(1), functional.silu(normalised))


def test_a_self_gate_of_one_expert_is_a_sigmoid():
    """A softmax over one expert would be the constant 1."""
    model, batch = build(HoME, task_experts=1), rows()
    model(batch).sum().backward()
    assert model.level.self_gates.weight.grad.flatten(1).any(1).all()


def test_a_task_sees_no_experts_of_other_categories():
    model, batch = build(HoME, task_experts=1, category_experts=1, shared_experts=1), rows()
    out = model.level(model.meta(model.embed(batch)).detach())
    out[3].sum().backward()
    gradients = model.level.experts.networks.linears[0].weight.grad
    assert [e for e in range(6) if gradients[e].any()] == [3, 5]


FUNNEL = (
    Task(name="like"),
    Task(name="click"),
    Task(name="buy", given="cart"),
    Task(name="cart", given="click"),
    Task(name="share", given="click"),
    Task(name="watch", kind="regression"),
)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("one", [0, 0, 0, 0, 0, 0]),
        ("funnel", [0, 1, 1, 1, 1, 0]),
        ((("click", "like"), ("buy", "cart"), ("watch", "share")), [0, 0, 1, 1, 2, 2]),
    ],
)
def test_categories(setting, expected):
    assert _number_categories(FUNNEL, setting) == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ((("click", "like", "buy", "cart", "share", "watched"),), "'watched', which is no task.*did you mean 'watch'"),
        ((("click", "like", "buy", "cart", "share"),), "task 'watch' is in none of the 'categories'"),
        ((("click", "like", "buy"), ("cart", "share", "watch", "click")), "task 'click' is there more than once"),
    ],
)
def test_categories_that_do_not_fit_are_refused(setting, message):
    with pytest.raises(MTBenchError, match=message):
        _number_categories(FUNNEL, setting)
