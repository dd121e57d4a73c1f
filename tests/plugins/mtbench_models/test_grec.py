from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from mtbench.nn.routing import balance_loss, z_loss
from mtbench.schema import Component, DataSpec, Schema, Task
from mtbench.testing.examples import TASKS, examples, schema
from mtbench.testing.models import ModelSuite, make_unknown, sample
from mtbench_models.grec import GRec
from mtbench_models.grec.encoders import ContextEncoder
from mtbench_models.grec.mixing import TaskMixing

SMALL = {"width": 16, "embedding_dim": 8, "history_length": 5, "head_width": 16}


class TestGRec(ModelSuite):
    model = GRec
    settings = SMALL


class TestTaskSentence(ModelSuite):
    model = GRec
    settings = SMALL | {"level": "task_sentence", "top_k": 2, "heads": 2, "mixing_residual": True, "head": "per_task"}


def columns_for(tasks=4, **settings):
    chosen = TASKS[:tasks]
    return examples(chosen, GRec.inputs(GRec.Config(**SMALL | settings), schema(chosen)))


def build(columns, seed=0, **settings):
    torch.manual_seed(seed)
    return GRec(GRec.Config(**SMALL | settings), columns.spec)


def calls(model, names, batch):
    """How often each part runs in a forward pass."""
    counts = dict.fromkeys(names, 0)

    def counted(name):
        def hook(*_):
            counts[name] += 1

        return hook

    hooks = [getattr(model, name).register_forward_hook(counted(name)) for name in names]
    model(batch)
    for hook in hooks:
        hook.remove()
    return counts


@pytest.mark.parametrize("tasks", [1, 8])
def test_encoders_run_once_for_all_tasks(tasks):
    columns = columns_for(tasks)
    model = build(columns).eval()
    batch = sample(columns.valid)
    encoders = calls(model, ("embed", "context", "history", "text", "mixing", "mixture", "head"), batch)
    assert set(encoders.values()) == {1}
    shapes = []
    block = model.mixing.block
    block.project.register_forward_hook(lambda _, inputs, __: shapes.append(tuple(inputs[0].shape)))
    model(batch)
    assert shapes == [(len(batch), 4, 16), (tasks, 1, 16)]  # the row's tokens are projected once, not for each task


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_mixing_equals_the_block_run_for_each_task(heads, residual):
    torch.manual_seed(0)
    mixing = TaskMixing(8, heads, 0.0, residual=residual).double()
    tokens, tasks = torch.randn(5, 3, 8, dtype=torch.double), torch.randn(4, 8, dtype=torch.double)
    mixed = mixing(tokens, tasks)
    parameters = list(mixing.parameters())
    gradient = torch.autograd.grad(mixed.square().sum(), parameters)
    expected = []
    for task in tasks:
        together = torch.cat([tokens, task.expand(5, 1, -1)], 1)
        expected.append(mixing.block(together) + (together if residual else 0))
    stacked = torch.stack(expected, 1)
    torch.testing.assert_close(mixed, stacked)
    torch.testing.assert_close(gradient, torch.autograd.grad(stacked.square().sum(), parameters))


def test_a_task_sees_no_other_task():
    columns = columns_for(4)
    model = build(columns).eval()
    batch = sample(columns.valid)
    before = model(batch)
    with torch.no_grad():
        model.tasks.weight[1] = torch.randn(16)
    after = model(batch)
    torch.testing.assert_close(after[:, [0, 2, 3]], before[:, [0, 2, 3]], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(after[:, 1], before[:, 1])


def test_forward_equals_its_equation():
    """The whole model, one row and one task at a time, from the tokens on."""
    columns = columns_for(3)
    model = build(columns, top_k=2).eval()
    batch = sample(columns.valid, 7)
    with torch.no_grad():
        tokens = model.tokens(batch)
        expected = torch.empty(7, 3)
        for row in range(7):
            for task in range(3):
                h = model.mixing.block(torch.cat([tokens[row], model.tasks.weight[task, None]])[None])[0]
                n = h / (h.square().mean(-1, keepdim=True).sqrt() + 1e-6)
                p = model.mixture.router.linear(n).softmax(-1)
                z = h.clone()
                for at in range(len(h)):
                    for weight, expert in zip(*p[at].topk(2), strict=True):
                        inner, outer = model.mixture.experts.inner[expert], model.mixture.experts.outer[expert]
                        z[at] += weight * (functional.leaky_relu(n[at] @ inner, 0.2) @ outer)
                head = model.head
                hidden = functional.leaky_relu(head.hidden.weight[0] @ z.flatten() + head.hidden.bias[0], 0.2)
                expected[row, task] = head.out.weight[0, 0] @ hidden + head.bias[task]
        torch.testing.assert_close(model(batch), expected, rtol=1e-5, atol=1e-6)


def test_parts_that_pass_at_once_do_not_matter(monkeypatch):
    columns = columns_for(4)
    model = build(columns).eval()
    batch = sample(columns.valid)
    whole = model(batch)
    routing = model.routing
    monkeypatch.setattr("mtbench_models.grec.model.AT_ONCE", 100)
    torch.testing.assert_close(model(batch), whole, rtol=1e-5, atol=1e-6)
    for part, expected in zip(model.routing, routing, strict=True):
        torch.testing.assert_close(part, expected)


def test_rows_without_history_get_a_learned_token():
    columns = columns_for()
    model = build(columns).eval()
    batch = make_unknown(columns)
    recent = batch.inputs["recent"]
    assert not recent.item_mask.any()
    history = model.history(recent, model.item, model.embed)
    assert torch.equal(history, model.history.nothing.expand_as(history))
    mixed = sample(columns.valid)
    some = mixed.inputs["recent"].item_mask.any(1)
    assert some.any()
    assert not some.all()
    token = model.history(mixed.inputs["recent"], model.item, model.embed)
    assert (token[some] != model.history.nothing).any(1).all()
    assert torch.equal(token[~some], model.history.nothing.expand_as(token[~some]))


def test_padding_is_neither_attended_nor_pooled():
    columns = columns_for()
    model = build(columns).eval()
    batch = sample(columns.valid)
    recent = batch.inputs["recent"]
    empty = recent.item_mask == 0
    assert empty.any()
    garbled = recent._replace(
        items=recent.items.masked_fill(empty, 1),
        item_codes=recent.item_codes.masked_fill(empty.unsqueeze(-1), 1),
        item_marks=recent.item_marks.masked_fill(empty.unsqueeze(-1), 1.0),
        item_gaps=recent.item_gaps.masked_fill(empty, 0.5),
    )
    assert torch.equal(model(replace(batch, inputs={**batch.inputs, "recent": garbled})), model(batch))


def test_the_history_is_in_the_order_of_time_and_has_times_and_marks():
    columns = columns_for()
    model = build(columns)
    torch.nn.init.normal_(model.history.kind.weight)
    model.eval()
    batch = sample(columns.valid)
    recent = batch.inputs["recent"]
    two = recent.item_mask[:, 1] > 0
    before = model(batch)
    for changed in (
        recent._replace(item_codes=torch.cat([recent.item_codes[:, :2].flip(1), recent.item_codes[:, 2:]], 1)),
        recent._replace(item_marks=recent.item_marks.flip(-1)),
        recent._replace(item_gaps=recent.item_gaps * 2),
    ):
        after = model(replace(batch, inputs={**batch.inputs, "recent": changed}))
        assert ((after - before).abs().amax(1) > 0)[two].float().mean() > 0.5


def test_history_and_item_share_the_tables_of_the_features():
    columns = columns_for()
    model = build(columns).eval()
    names = list(columns.spec.categorical)
    assert [names[place] for place in model.item_places] == ["item", "shelf"]
    batch = sample(columns.valid)
    expected = torch.cat(
        [
            functional.embedding(batch.categorical[:, place] + model.embed.offsets[place], model.embed.table)
            for place in model.item_places
        ],
        1,
    )
    torch.testing.assert_close(
        model.item(batch.categorical[:, model.item_places], model.embed), model.item.linear(expected)
    )
    assert not any("by_number" in name for name, _ in model.named_parameters())


def test_items_without_features_have_a_table_by_number():
    columns = columns_for()
    recent = columns.spec.inputs["recent"]._replace(features=())
    data = replace(columns.spec, inputs={**columns.spec.inputs, "recent": recent})
    model = GRec(GRec.Config(**SMALL), data).eval()
    assert model.tokens(sample(columns.valid)).shape[1] == 3  # no token of the current item
    assert model.item.by_number.weight.shape == (recent.items + 1, 8)
    batch = sample(columns.valid)
    history = batch.inputs["recent"]
    others = history._replace(items=history.items % recent.items + 1)
    assert not torch.equal(model(replace(batch, inputs={**batch.inputs, "recent": others})), model(batch))


@pytest.mark.parametrize(
    ("settings", "gone"),
    [({"history": False}, "history"), ({"text": "none"}, "text"), ({"history": False, "text": "none"}, "both")],
)
def test_a_switched_off_modality_drops_its_token(settings, gone):
    columns = columns_for(**settings)
    model = build(columns, **settings)
    assert (model.history is None) == (gone in {"history", "both"})
    assert (model.text is None) == (gone in {"text", "both"})
    tokens = 4 - (2 if gone == "both" else 1)
    assert model.tokens(sample(columns.valid)).shape[1] == tokens
    assert model.head.hidden.weight.shape[-1] == (tokens + 1) * 16


def test_a_dataset_without_users_items_and_texts_has_one_token():
    data = DataSpec(tasks=(Task(name="click"),), categorical={"a": 5}, numeric=("b",))
    assert GRec.inputs(GRec.Config(), Schema(tasks=("click",), features=("a",))) == []
    model = GRec(GRec.Config(**SMALL), data)
    batch = sample(columns_for().valid)
    rows = replace(batch, categorical=batch.categorical[:, :1] % 5, numeric=batch.numeric[:, :1], inputs={})
    assert model.tokens(rows).shape == (len(rows), 1, 16)
    assert model(rows).shape == (len(rows), 1)


def test_inputs_follow_the_settings_and_the_schema():
    full = schema(TASKS[:2])
    settings = {component.name: component.settings for component in GRec.inputs(GRec.Config(history_length=7), full)}
    assert settings == {
        "recent": {"length": 7, "features": True},
        "text": {"column": "title", "encoder": "hashed"},
    }
    assert GRec.inputs(GRec.Config(history=False, text="none"), full) == [
        Component(name="recent", length=0, features=True)
    ]
    two = full.model_copy(update={"texts": ("title", "description")})
    chosen = GRec.inputs(GRec.Config(text="minilm", text_column="description"), two)[1]
    assert chosen.settings == {"column": "description", "encoder": "minilm"}


@pytest.mark.parametrize("kinds", [(6, 0), (0, 3), (6, 3)])
def test_the_context_is_wide_and_deep(kinds):
    torch.manual_seed(0)
    encoder = ContextEncoder(*kinds, 8)
    x = torch.randn(5, sum(kinds))
    parts = []
    if kinds[0]:
        parts.append(functional.leaky_relu(encoder.deep(x[:, : kinds[0]]), 0.2))
    if kinds[1]:
        parts.append(functional.leaky_relu(encoder.wide(x[:, kinds[0] :]), 0.2))
    assert [part.shape[1] for part in parts] == ([4, 4] if len(parts) > 1 else [8])
    assert torch.equal(encoder(x), torch.cat(parts, 1))


@pytest.mark.parametrize("balance", ["batch", "row"])
def test_losses_of_the_routing_are_added_to_each_task_in_training_alone(balance):
    columns = columns_for()
    batch = sample(columns.train)
    model = build(columns, z_loss=0.3, balance_loss=0.7, balance=balance)
    plain = super(GRec, model).loss
    logits = model(batch)
    extra = 0.3 * z_loss(model.routing) + 0.7 * balance_loss(model.routing, balance)
    torch.testing.assert_close(model.loss(logits, batch) - plain(logits, batch), extra.expand(4))
    extra.backward()
    assert model.mixture.router.linear.weight.grad.any()
    model.eval()
    logits = model(batch)
    assert torch.equal(model.loss(logits, batch), plain(logits, batch))


def test_the_router_learns_from_the_labels_alone():
    columns = columns_for()
    batch = sample(columns.train)
    model = build(columns, z_loss=0, balance_loss=0)
    model.loss(model(batch), batch).sum().backward()
    assert model.mixture.router.linear.weight.grad.any()


def test_jitter_and_dropout_are_absent_in_evaluation():
    columns = columns_for()
    batch = sample(columns.valid)
    noisy, quiet = build(columns, jitter=0.3), build(columns, jitter=0, dropout=0, embedding_dropout=0)
    assert torch.equal(noisy.eval()(batch), quiet.eval()(batch))
    assert not torch.equal(noisy.train()(batch), noisy(batch))
    assert torch.equal(quiet.train()(batch), quiet(batch))


def test_capacity_drops_tokens_and_counts_them():
    columns = columns_for()
    batch = sample(columns.valid)
    model = build(columns, capacity=1, level="task_sentence").eval()
    model(batch)
    assert model.statistics()["dropped_tokens"] == pytest.approx(4 / 5)  # one of five tokens of a row and task is kept
    assert model.expert_use().sum(1).tolist() == pytest.approx([1] * 4)
    unlimited = build(columns, capacity=5, level="task_sentence").eval()
    assert torch.equal(unlimited(batch), build(columns, level="task_sentence").eval()(batch))
    assert unlimited.statistics()["dropped_tokens"] == 0


def test_the_level_task_sends_all_rows_of_a_task_to_one_expert():
    columns = columns_for()
    model = build(columns, level="task").eval()
    model(sample(columns.valid))
    assert (model.expert_use().amax(1) == 1).all()


def test_statistics_tell_load_and_dead_experts():
    columns = columns_for()
    model = build(columns).eval()
    with pytest.raises(ValueError, match="call forward"):
        model.statistics()
    with torch.no_grad():
        model.mixture.router.linear.weight.zero_()
        model.mixture.router.linear.bias.copy_(torch.tensor([0.0, 20.0, 0.0, 0.0]))
    model(sample(columns.valid))
    statistics = model.statistics()
    assert statistics["load/all tasks/1"] == 1
    assert statistics["load/all tasks/0"] == 0
    assert statistics["dead_experts"] == 3
    assert statistics["router_entropy"] == pytest.approx(0, abs=1e-6)
    assert statistics[f"load/{TASKS[2].name}/1"] == 1
    assert all(np.isfinite(value) for value in statistics.values())


@pytest.mark.parametrize(
    "setting",
    [
        {"sequence_layers": 2},
        {"heads": 2},
        {"mixing_residual": True},
        {"top_k": 2},
        {"level": "sentence"},
        {"level": "task"},
        {"level": "task_sentence"},
        {"level": "task_sentence", "task_sentence": "product"},
        {"capacity": 1},
        {"head": "per_task"},
        {"experts": 2},
    ],
)
def test_each_switch_changes_the_output(setting):
    columns = columns_for()
    batch = sample(columns.valid)
    assert not torch.allclose(build(columns, **setting).eval()(batch), build(columns).eval()(batch))


def test_heads_are_shared_or_one_for_each_task():
    columns = columns_for()

    def size(name, **settings):
        return sum(parameter.numel() for parameter in getattr(build(columns, **settings), name).parameters())

    shared = size("head", task_bias=False)
    assert size("head") == shared + 3  # a bias of each task in place of the common one
    assert size("head", head="per_task") == 4 * shared


def test_parameters_grow_by_one_embedding_and_one_bias_for_a_task():
    def size(tasks):
        columns = columns_for(tasks)
        model = build(columns, wide=False)
        marks = model.history.kind.weight.numel()  # what the history says of each task
        return sum(parameter.numel() for parameter in model.parameters()) - marks

    assert size(8) - size(4) == 4 * (16 + 1)


def test_a_model_that_has_been_trained_can_be_copied():
    columns = columns_for()
    model = build(columns)
    batch = sample(columns.train)
    model.loss(model(batch), batch)
    copied = copy.deepcopy(model).eval()
    assert torch.equal(copied(batch), model.eval()(batch))
