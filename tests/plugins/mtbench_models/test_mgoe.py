from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.testing.examples import TASKS, examples
from mtbench.testing.models import ModelSuite, sample
from mtbench_models.mgoe import MGOE
from mtbench_models.mgoe.tower import find_towers_before
from tests.plugins.mtbench_models.slow_forms import gate, linear, network

CONFIGS = Path(__file__).parents[3] / "configs"
SMALL = {"embedding_dim": 8, "user_clusters": 4, "item_clusters": 3, "expert_layers": (16, 8), "tower_layers": (8,)}


class TestMGOE(ModelSuite):
    model = MGOE
    settings: ClassVar = SMALL


class TestMGOEOfOtherChoices(ModelSuite):
    model = MGOE
    settings: ClassVar = {**SMALL, "attention": "neighbors", "fusion": "gate", "chain": "order", "detach_gates": True}


class TestMGOEWithoutItsParts(ModelSuite):
    model = MGOE
    settings: ClassVar = {**SMALL, "gates": False, "micro": False, "task_table": False, "info": False}


def columns_of(tasks=TASKS[:4], **settings):
    config = MGOE.Config(**(SMALL | settings))
    return examples(tuple(tasks), MGOE.inputs(config, examples(tuple(tasks)).schema))


def build(tasks=TASKS[:4], **settings):
    torch.manual_seed(0)
    model = MGOE(MGOE.Config(**(SMALL | settings)), columns_of(tasks, **settings).spec)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("table") and not name.startswith("wide"):
                parameter.normal_()
    return model.eval()


def rows(**settings):
    return sample(columns_of(**settings).valid)


def hop(model, counts, kind, t, target):
    """The weighted sum over a row's macro nodes, one after another."""
    nodes, sums = getattr(model.macro, kind).table[t], getattr(model.macro, f"of_{kind}")
    powers = [(count + 1) ** (1 / model.config.temperature) for count in counts.tolist()]
    scores = [1.0] * len(powers)
    if sums.keys is not None:
        key = sums.keys.weight[t] @ target
        dots = [(sums.queries.weight[t] @ nodes[k + 1]) @ key / 8**0.5 for k in range(len(powers))]
        scores = functional.softmax(torch.stack(dots), 0)
    return sum(
        power / sum(powers) * score * (sums.values.weight[t] @ nodes[k + 1])
        for k, (power, score) in enumerate(zip(powers, scores, strict=True))
    )


def macro_expert(model, graph, x, t, row):
    user, item = graph.user_macro[row], graph.item_macro[row]
    e_user, e_item = model.macro.users.table[t, user], model.macro.items.table[t, item]
    parts = [
        x[row],
        e_user,
        e_item,
        hop(model, graph.user_hop2[row], "users", t, e_user),
        hop(model, graph.item_hop1[row], "users", t, e_user),
        hop(model, graph.user_hop1[row], "items", t, e_item),
        hop(model, graph.item_hop2[row], "items", t, e_item),
    ]
    return network(model.bottom.experts, t, torch.cat(parts)[None])[0]


def bottom(model, batch, tasks):
    x, graph = model.embed(batch), batch.inputs["macro-graph"]
    experts = [torch.stack([macro_expert(model, graph, x, t, row) for row in range(len(x))]) for t in range(tasks)]
    if model.bottom.gates is None:
        return experts
    gates = [gate(model.bottom.gates, t, x) for t in range(tasks)]
    return [sum(gates[t][:, j, None] * experts[j] for j in range(tasks)) for t in range(tasks)]


def micro(model, graph, row):
    """The user's items, one after another."""
    there = [k for k in range(graph.items.shape[1]) if graph.item_mask[row, k]]
    if not there:
        return torch.zeros(8)
    table, scores = model.micro.items.table[0], []
    for k in there:
        score = graph.item_scores[row, k]
        if model.micro.keys is not None:
            query = model.micro.queries.weight @ table[graph.items[row, k]]
            score = score + query @ (model.micro.keys.weight @ table[graph.item[row]]) / 8**0.5
        scores.append(score)
    weights = functional.softmax(torch.stack(scores), 0)
    return sum(weight * table[graph.items[row, k]] for weight, k in zip(weights, there, strict=True))


def expected(model, batch, before):
    graph, tasks = batch.inputs["macro-graph"], len(before)
    mixed = bottom(model, batch, tasks)
    neighbours = torch.stack([micro(model, graph, row) for row in range(len(batch))])
    z = []
    for t in range(tasks):
        both = torch.cat([mixed[t], neighbours], 1)
        if model.fusion.gate is None:
            fused = linear(model.fusion.linear, t, both)
        else:
            share = linear(model.fusion.gate, t, both).sigmoid()
            fused = share * mixed[t] + (1 - share) * linear(model.fusion.linear, t, neighbours)
        table = model.macro.items.table[t][graph.task_table[:, t]]
        z.append(network(model.tower.hidden, t, torch.cat([fused, table], 1)))
    info = model.tower.info
    for step, information in zip(info.steps, info.information, strict=True):
        for place, t in enumerate(step):
            pair = [z[t], linear(information, place, z[before[t]]).relu()]
            query, key, value = info.attention.weight
            dots = [((u @ query.T) * (u @ key.T)).sum(-1) / u.shape[1] ** 0.5 for u in pair]
            weights = functional.softmax(torch.stack(dots, -1), -1)
            z[t] = sum(weights[:, i, None] * (u @ value.T) for i, u in enumerate(pair))
    return torch.stack([linear(model.tower.head, t, z[t]).squeeze(-1) for t in range(tasks)], -1)


@pytest.mark.parametrize(
    ("settings", "before"),
    [
        ({}, [-1, 0, 1, -1]),
        ({"temperature": 0.5, "attention": "neighbors"}, [-1, 0, 1, -1]),
        ({"fusion": "gate", "chain": "order"}, [-1, 0, 1, 2]),
    ],
)
def test_it_equals_its_equations(settings, before):
    model, batch = build(**settings), rows(**settings)
    with torch.no_grad():
        torch.testing.assert_close(model(batch), expected(model, batch, before), rtol=1e-5, atol=1e-5)


def test_without_gates_a_task_has_its_own_expert_alone():
    model, batch = build(gates=False), rows()
    with torch.no_grad():
        torch.testing.assert_close(model(batch), expected(model, batch, [-1, 0, 1, -1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "switch",
    [
        {"macro_graph": False},
        {"gates": False},
        {"micro": False},
        {"task_table": False},
        {"info": False},
        {"chain": "order"},
        {"attention": "neighbors"},
        {"fusion": "gate"},
        {"temperature": 0.5},
        {"scores": "binary"},
        {"scores": "lexicographic"},
        {"counts": "scaled"},
        {"neighbors": 2},
        {"graph": {"beta": 0.0}},
    ],
    ids=str,
)
def test_each_switch_changes_the_logits(switch):
    model, other = build(), build(**switch)
    same = {name: value for name, value in model.state_dict().items() if name in other.state_dict()}
    fitting = {name: value for name, value in same.items() if value.shape == other.state_dict()[name].shape}
    other.load_state_dict(fitting, strict=False)
    batch, seen_otherwise = (sample(columns_of(**change).train) for change in ({}, switch))
    with torch.no_grad():
        assert (model(batch) - other(seen_otherwise)).abs().max() > 1e-4


def test_neighbours_are_left_out_in_training_alone():
    model, batch = build(neighbor_dropout=0.5, dropout=0.0, embedding_dropout=0.0), rows()
    with torch.no_grad():
        assert torch.equal(model(batch), model(batch))
        model.train()
        assert not torch.equal(model(batch), model(batch))
    full = build(neighbor_dropout=0.0, dropout=0.0, embedding_dropout=0.0).train()
    with torch.no_grad():
        assert torch.equal(full(batch), full(batch))


def test_gates_are_trained_and_not_alike_for_all_rows():
    model, batch = build(), rows()
    model.loss(model(batch), batch).sum().backward()
    assert (model.bottom.gates.weight.grad.flatten(1).abs().sum(1) > 0).all()
    weights = model.bottom.gates(model.embed(batch)).softmax(-1)
    assert weights.std(1).min() > 1e-3


def test_statistics_are_the_mean_gates():
    model, batch = build().eval(), rows()
    model(batch)
    weights = model.bottom.gates(model.embed(batch)).softmax(-1).mean(1).detach()
    names = [task.name for task in model.data.tasks]
    assert model.statistics() == {
        f"gates/{of}/{to}": pytest.approx(weights[i, j].item(), abs=1e-6)
        for i, of in enumerate(names)
        for j, to in enumerate(names)
    }
    assert build(gates=False).eval().statistics() == {}


@pytest.mark.parametrize("detached", [False, True])
def test_gates_train_embeddings_unless_they_are_detached(detached):
    model, batch = build(detach_gates=detached, macro_graph=False, micro=False), rows()
    with torch.no_grad():
        for linear_ in model.bottom.experts.linears:
            linear_.weight.zero_()  # what is left of the gradient of embeddings comes through the gates
    model.loss(model(batch), batch).sum().backward()
    assert bool(model.embed.table.grad.any()) != detached
    assert model.bottom.gates.weight.grad.any()


def test_every_expert_reaches_every_task():
    model, batch = build(), rows()
    for task in range(4):
        model.zero_grad()
        model(batch)[:, task].sum().backward()
        assert (model.bottom.experts.linears[0].weight.grad.flatten(1).abs().sum(1) > 0).all()


def test_information_flows_down_the_funnel_and_not_back():
    def reached(model, task):
        model.zero_grad()
        model(rows())[:, task].sum().backward()
        return (model.tower.hidden.linears[0].weight.grad.flatten(1).abs().sum(1) > 0).tolist()

    model = build()
    assert reached(model, 0) == [True, False, False, False]
    assert reached(model, 2) == [True, True, True, False]
    assert reached(model, 3) == [False, False, False, True]
    assert reached(build(info=False), 2) == [False, False, True, False]
    assert reached(build(chain="order"), 3) == [True, True, True, True]


def test_the_funnel_is_that_of_given_tasks_or_the_order():
    assert find_towers_before(TASKS[:8], "auto") == [-1, 0, 1, -1, -1, -1, 0, -1]
    assert find_towers_before(TASKS, "order") == list(range(-1, len(TASKS) - 1))
    assert find_towers_before([TASKS[3], TASKS[4]], "auto") == [-1, 0]
    assert find_towers_before([TASKS[0]], "auto") == [-1]


def test_each_task_has_macro_embeddings_of_its_own():
    model, batch = build(gates=False, info=False), rows()
    model(batch)[:, 1].sum().backward()
    for nodes in (model.macro.users, model.macro.items):
        assert nodes.table.grad.flatten(1).any(1).tolist() == [False, True, False, False]


def test_edge_weights_pass_by_the_embeddings_and_are_the_same_for_all_experts():
    model, batch = build(), rows()
    graph = batch.inputs["macro-graph"]
    with torch.no_grad():
        model.macro.users.table.fill_(1.0)
        model.macro.items.table.fill_(1.0)
        before = model(batch)
        other = graph._replace(user_hop1=graph.user_hop1.flip(1), item_hop2=graph.item_hop2 * 3)
        after = model(replace(batch, inputs={"macro-graph": other}))
    torch.testing.assert_close(before, after)  # weights sum to one: equal embeddings leave nothing to weigh


def test_a_row_without_any_edge_has_finite_logits_and_gradients():
    for settings in ({}, {"attention": "neighbors", "fusion": "gate"}):
        model, batch = build(**settings), rows(**settings)
        nothing = type(batch.inputs["macro-graph"])(*(torch.zeros_like(x) for x in batch.inputs["macro-graph"]))
        cold = replace(batch, inputs={"macro-graph": nothing})
        model.loss(model(cold), cold).sum().backward()
        assert model(cold).isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_ablation_is_an_experiment():
    planned = make_plan(load_experiment(CONFIGS / "mgoe-ablation.yaml"), Registry.load(), "mgoe-ablation.yaml")
    off = [model.config for model in planned.models if isinstance(model.config, MGOE.Config)]
    assert off[0] == MGOE.Config()
    parts = ({"macro_graph": False}, {"scores": "binary"}, {"gates": False}, {"micro": False}, {"task_table": False})
    for part in (*parts, {"info": False}):
        assert MGOE.Config(**part) in off
