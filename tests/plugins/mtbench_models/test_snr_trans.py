from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from mtbench.testing.models import ModelSuite
from mtbench_models.snr_trans import SNRTrans
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, network, rows, tower


class TestSNRTrans(ModelSuite):
    model = SNRTrans
    settings: ClassVar = {"subnetworks": 3, "subnetwork_layers": (32, 16), "tower_layers": (16,)}


def expected_gate(log_alpha):
    return (log_alpha.sigmoid() * 1.2 - 0.1).clamp(0, 1)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_it_equals_its_equations(norm, levels):
    model, batch = build(SNRTrans, levels=levels, subnetworks=3, norm=norm), rows()
    with torch.no_grad():
        for connections in model.connections:
            connections.gates.log_alpha.normal_(std=3)
    xs = [model.embed(batch)] * 3
    for level, connections in zip(model.levels, model.connections, strict=True):
        us = [network(level, j, xs[j]) for j in range(3)]
        matrices = connections.linear.weight.split(us[0].shape[1], -1)  # from each lower sub-network
        z = expected_gate(connections.gates.log_alpha)
        xs = [sum(z[i, j] * (us[j] @ matrices[j][i].T) for j in range(3)) for i in range(len(z))]
    assert_logits(model, batch, [tower(model.towers, t, xs[t]) for t in range(4)])


def test_gates_are_drawn_in_training_and_fixed_in_evaluation():
    model, batch = build(SNRTrans, dropout=0), rows()
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


def test_each_connection_has_a_gate_of_its_own():
    model = build(SNRTrans, subnetworks=3, levels=2)
    assert [tuple(c.gates.log_alpha.shape) for c in model.connections] == [(3, 3), (4, 3)]
    draws = torch.stack([model.connections[0].gates.train()() for _ in range(2000)]).flatten(1)
    correlation = torch.corrcoef(draws.T) - torch.eye(9)
    assert correlation.abs().max() < 0.12


def test_a_closed_connection_lets_nothing_through():
    model, batch = build(SNRTrans, subnetworks=3, levels=1), rows()
    with torch.no_grad():
        model.connections[0].gates.log_alpha.fill_(10.0)[1, 2] = -10.0  # the third sub-network to the second task
    for task, reached in ((0, [0, 1, 2]), (1, [0, 1])):
        model.zero_grad()
        model(batch)[:, task].sum().backward()
        gradients = model.levels[0].linears[0].weight.grad
        assert [j for j in range(3) if gradients[j].any()] == reached


def test_the_penalty_is_on_the_share_of_open_connections():
    batch = rows()
    losses = []
    for weight in (0.0, 0.5):
        model = build(SNRTrans, l0=weight, subnetworks=3, levels=2)
        with torch.no_grad():
            model.connections[0].gates.log_alpha.fill_(20.0)
            model.connections[1].gates.log_alpha.fill_(-20.0)
            losses.append(model.loss(torch.zeros(len(batch), 4), batch))
    torch.testing.assert_close(losses[1] - losses[0], torch.full((4,), 0.5 * 9 / 21))


def test_the_penalty_closes_connections_that_nothing_needs():
    model, batch = build(SNRTrans, l0=1.0), rows()
    model.loss(torch.zeros(len(batch), 4), batch).sum().backward()
    for connections in model.connections:
        assert (connections.gates.log_alpha.grad > 0).all()
