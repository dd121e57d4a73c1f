from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from mtbench.testing.examples import TASKS, examples
from mtbench.testing.models import ModelSuite, sample
from mtbench_models.macgnn import MacGNN
from tests.plugins.mtbench_models.slow_forms import tower

SMALL = {"embedding_dim": 6, "user_clusters": 4, "item_clusters": 3, "tower_layers": (16, 8)}


class TestMacGNN(ModelSuite):
    model = MacGNN
    settings: ClassVar = SMALL


class TestMacGNNAsReleased(ModelSuite):
    model = MacGNN
    settings: ClassVar = {**SMALL, "attention": "released"}


def columns_of(**settings):
    return examples(TASKS[:3], MacGNN.inputs(MacGNN.Config(**(SMALL | settings)), examples(TASKS[:3]).schema))


def build(**settings):
    torch.manual_seed(0)
    model = MacGNN(MacGNN.Config(**(SMALL | settings)), columns_of(**settings).spec)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("table") and not name.startswith("wide"):
                parameter.normal_()
    return model.eval()


def rows(**settings):
    return sample(columns_of(**settings).valid)


def attended(kind, nodes, target):
    """Attention of nodes to a target; all ones as released."""
    sums = kind.aggregation
    if sums.queries is None:
        return torch.ones(len(nodes))
    key = sums.keys.weight[0] @ target
    return functional.softmax(torch.stack([(sums.queries.weight[0] @ node) @ key / 12**0.5 for node in nodes]), 0)


def hop(kind, counts, target, tau):
    nodes = list(kind.macro.table[0, 1:])
    weights = functional.softmax((counts + 1).log() / tau, 0)
    scores = attended(kind, nodes, target)
    return sum(w * a * (kind.aggregation.values.weight[0] @ e) for w, a, e in zip(weights, scores, nodes, strict=True))


def recent(kind, numbers, mask, target):
    nodes = [kind.micro.table[0, number] for number, there in zip(numbers, mask, strict=True) if there]
    if not nodes:
        return torch.zeros(12)
    scores = attended(kind, nodes, target)
    return sum(a * (kind.aggregation.values.weight[0] @ e) for a, e in zip(scores, nodes, strict=True))


@pytest.mark.parametrize("settings", [{}, {"attention": "released"}, {"temperature": 0.6}], ids=str)
def test_it_equals_its_equations(settings):
    model, batch = build(**settings), rows(**settings)
    graph, tau = batch.inputs["macro-graph"], model.config.temperature
    z = []
    with torch.no_grad():
        x = model.embed(batch)
        for row in range(len(batch)):
            user = model.users.micro.table[0, graph.user[row]]
            item = model.items.micro.table[0, graph.item[row]]
            parts = [
                user,
                hop(model.items, graph.user_hop1[row], item, tau),
                hop(model.users, graph.user_hop2[row], user, tau),
                recent(model.items, graph.items[row], graph.item_mask[row], item),
                item,
                hop(model.users, graph.item_hop1[row], user, tau),
                hop(model.items, graph.item_hop2[row], item, tau),
                recent(model.users, graph.users[row], graph.user_mask[row], user),
            ]
            z.append(torch.cat([x[row], *parts]))
        expected = torch.stack([tower(model.towers, t, torch.stack(z)) for t in range(3)], -1)
        torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=1e-5)


def test_attention_is_trained_and_differs_between_neighbours_and_rows():
    model, batch = build(), rows()
    model.loss(model(batch), batch).sum().backward()
    for kind in (model.users, model.items):
        assert kind.aggregation.queries.weight.grad.any()
        assert kind.aggregation.keys.weight.grad.any()
    graph = batch.inputs["macro-graph"]
    with torch.no_grad():
        items = model.items.micro.table[0, 1 : 1 + 5]
        scores = torch.stack([attended(model.items, list(items), e) for e in model.items.micro(graph.item)[0]])
    assert scores.std(0).min() > 1e-3
    assert scores.std(1).min() > 1e-3


def test_as_released_the_target_item_changes_no_neighbour():
    for attention, changes in (("released", False), ("neighbors", True)):
        model = build(attention=attention)
        counts, targets = torch.rand(1, 3), torch.randn(2, 1, 1, 6)
        first, second = (model.items.hop(counts, target) for target in targets)
        assert torch.equal(first, second) != changes


def test_as_released_there_are_no_queries_and_keys_to_train():
    names = {name for name, _ in build(attention="released").named_parameters()}
    assert not any("queries" in name or "keys" in name for name in names)


def test_edges_are_of_one_kind_unless_asked_otherwise():
    (component,) = MacGNN.inputs(MacGNN.Config(graph={"tasks": ["click"]}), examples(TASKS[:3]).schema)
    assert component.settings["scores"] == "binary"
    assert component.settings["tasks"] == ["click"]
    (component,) = MacGNN.inputs(MacGNN.Config(graph={"scores": "additive"}), examples(TASKS[:3]).schema)
    assert component.settings["scores"] == "additive"


def test_a_row_without_any_edge_has_finite_logits():
    model, batch = build(), rows()
    nothing = type(batch.inputs["macro-graph"])(*(torch.zeros_like(x) for x in batch.inputs["macro-graph"]))
    assert model(replace(batch, inputs={"macro-graph": nothing})).isfinite().all()
