from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.errors import MTBenchError
from mtbench.testing.models import ModelSuite
from mtbench_models.pepnet import PEPNet
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, columns, linear, network, rows


class TestPEPNet(ModelSuite):
    model = PEPNet
    settings: ClassVar = {"tower_layers": (32, 16), "gate_width": 16}


def scales(gate, x, gamma=2.0):
    hidden = (x @ gate.hidden.weight.T + gate.hidden.bias).relu()
    return gamma * (hidden @ gate.out.weight.T + gate.out.bias).sigmoid()


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("gamma", [2.0, 3.0])
def test_it_equals_its_equations(norm, gamma):
    """Embeddings are of user, item, country, shelf and tags, 16 numbers each; the hour is the last of three numbers."""
    settings = {"domain": ("shelf",), "personal": ("country", "hour"), "tower_layers": (24, 12)}
    model, batch = build(PEPNet, norm=norm, gamma=gamma, **settings), rows()
    x = model.embed(batch)
    assert x.shape[1] == 5 * 16 + 3
    personal = torch.cat([x[:, 32:48], batch.numeric[:, 2:]], 1)
    x = x * scales(model.embedding_gate, torch.cat([x[:, 48:64], x], 1), gamma)
    prior = torch.cat([personal, x], 1)
    logits = []
    for t in range(4):
        h = x
        for layer, gate in zip(model.layers, model.layer_gates, strict=True):
            h = network(layer, t, h)
            h = h * scales(gate, prior, gamma)[:, t * h.shape[1] : (t + 1) * h.shape[1]]
        logits.append(linear(model.head, t, h).squeeze(-1))
    assert_logits(model, batch, logits)


def test_gates_stop_the_gradient_to_what_they_scale():
    """With everything but the gates' way to the embeddings cut, only prior features learn."""
    model, batch = build(PEPNet, domain=("shelf",), personal=("country",)), rows()
    seen = []
    for gate in (model.embedding_gate, *model.layer_gates):
        gate.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    x = model.embed(batch)
    x.retain_grad()
    model.embed.forward = lambda _: x
    model(batch)
    for (_, out), prior in zip(seen, [slice(48, 64), *[slice(32, 48)] * (len(seen) - 1)], strict=True):
        x.grad = None
        out.sum().backward(retain_graph=True)
        reached = x.grad.any(0).nonzero().squeeze(1).tolist()
        assert reached == list(range(83))[prior]


def test_gates_scale_by_about_one_at_the_start_and_by_two_at_most():
    model = PEPNet(PEPNet.Config(), columns().spec)
    for gate in (model.embedding_gate, *model.layer_gates):
        out = gate(torch.randn(100, gate.hidden.in_features))
        assert abs(float(out.detach().mean()) - 1) < 0.2
        assert float(gate(100 * torch.randn(500, gate.hidden.in_features)).detach().max()) <= 2


def test_the_features_with_the_most_values_are_personal_unless_given():
    model = PEPNet(PEPNet.Config(embedding_dim=4), columns().spec)
    sizes = list(columns().spec.categorical.values())
    assert sorted(sizes, reverse=True)[:2] == sizes[:2]
    assert model.personal.tolist() == list(range(8))
    assert not len(model.domain)


def test_an_unknown_feature_is_named():
    with pytest.raises(MTBenchError, match=r"'personal' names 'contry', which is no feature.*did you mean 'country'"):
        PEPNet(PEPNet.Config(personal=("contry",)), columns().spec)
