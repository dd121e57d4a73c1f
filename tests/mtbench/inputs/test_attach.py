from __future__ import annotations

import numpy as np
import pytest
import torch

import mtbench
from mtbench.data.prepare import prepare
from mtbench.errors import MTBenchError
from mtbench.inputs import SourcedInput
from mtbench.inputs.attach import attach_inputs
from mtbench.inputs.interactions import collect_interactions, collect_rows
from mtbench.schema import Feature, Split
from mtbench.testing.inputs import Generated, InMemory, find_leaks, generate_table
from mtbench_inputs.recent import Recent, RecentConfig

PLUGIN = '''
import torch
from mtbench import MultiTaskModel, hookimpl
from mtbench.schema import Component


class LastItem(MultiTaskModel):
    """Knows a row by the last positive of its user."""

    @classmethod
    def inputs(cls, config, schema):
        return [Component(name="recent", length=3)]

    def __init__(self, config, data):
        super().__init__(config, data)
        self.table = torch.nn.Embedding(data.inputs["recent"].items + 1, data.num_tasks)

    def forward(self, batch):
        return self.table(batch.inputs["recent"].items).sum(1)


@hookimpl
def mtbench_models(register):
    register("last-item", LastItem)
'''


class Leaking(Recent):
    """Sees the rows of its own chunk."""

    def build(self, events, rows, columns, folder):
        super().build(events, type(rows)(rows.user, rows.item, rows.time, rows.chunk + 1), columns, folder)


def test_an_input_that_leaks_is_caught_every_time(tmp_path):
    caught = tried = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        table = generate_table(rng, 150, 6, 6)
        try:
            changed = find_leaks(
                Leaking(RecentConfig(length=5)),
                Generated(table),
                Split(by="time", valid=0.15, test=0.15),
                1,
                tmp_path / str(seed),
            )
        except MTBenchError:
            continue
        tried += 1
        caught += bool(changed)
    assert tried > 30
    assert caught == tried


def test_no_event_of_validation_or_test_is_among_the_interactions():
    columns = prepare(
        "generated", Generated(generate_table(np.random.default_rng(0), 200, 9, 9)), Split(by="time"), source="i"
    )
    events, rows = collect_interactions(columns), collect_rows(columns)
    assert events.row.max() < columns.counts["train"]
    assert (np.diff(events.chunk) >= 0).all()
    np.testing.assert_array_equal(events.user, rows.user[events.row])
    np.testing.assert_array_equal(events.positive, columns.positive()[events.row])
    for chunk in range(events.chunks + 1):
        assert events.count_seen(chunk) == (events.chunk < chunk).sum()


def test_an_input_is_made_once_and_shared(monkeypatch):
    columns = prepare(
        "generated", Generated(generate_table(np.random.default_rng(0), 200, 9, 9)), Split(by="time"), source="o"
    )
    asked = Recent(RecentConfig(length=7))
    made = []
    build = Recent.build
    monkeypatch.setattr(Recent, "build", lambda *arguments: made.append(1) or build(*arguments))
    for _ in range(2):
        attach_inputs(columns, {"recent": SourcedInput(asked, "code")}, {})
    assert made == [1]
    attach_inputs(columns, {"recent": SourcedInput(asked, "other code")}, {})
    assert made == [1, 1]


SMALL = {
    "dataset": {"name": "planted", "rows": 6000, "users": 300, "items": 100, "signal": "sequence"},
    "seeds": 1,
    "training": {"max_epochs": 1, "batch_size": 512, "accelerator": "cpu"},
    "metrics": ["auc"],
}


def test_a_model_gets_what_it_asks_for_and_the_record_says_so(tmp_path):
    plugin = tmp_path / "last_item.py"
    plugin.write_text(PLUGIN)
    (written,) = mtbench.run(SMALL | {"models": ["last-item"]}, records=tmp_path / "records", plugins=[plugin])
    (asked,) = written.record.recipe.inputs.asked
    assert (asked.name, asked.settings, asked.transductive) == (
        "recent",
        {"length": 3, "item_length": 0, "features": False},
        False,
    )
    assert written.record.recipe.inputs.pooled == []
    assert 0.4 < written.record.mean("click", "auc") < 0.7


def test_inputs_given_to_a_feature_model_become_columns(tmp_path):
    models = [{"name": "shared-bottom", "bottom_layers": [8]}]
    (plain,) = mtbench.run(SMALL | {"models": models}, records=tmp_path)
    (more,) = mtbench.run(SMALL | {"models": models, "inputs": {"give": ["recent"]}}, records=tmp_path)
    assert more.record.key != plain.record.key
    assert [one.name for one in more.record.recipe.inputs.pooled] == ["recent"]
    assert more.record.measured.parameters > plain.record.measured.parameters


def test_a_model_that_asks_for_an_input_twice_is_refused(tmp_path):
    plugin = tmp_path / "last_item.py"
    asked = '[Component(name="recent", length=3)]'
    plugin.write_text(PLUGIN.replace(asked, asked + " * 2"))
    with pytest.raises(MTBenchError, match=r"models\.0: 'recent' is listed twice"):
        mtbench.run(SMALL | {"models": ["last-item"]}, records=tmp_path / "records", plugins=[plugin])


def test_a_model_with_inputs_that_is_listed_twice_is_refused(tmp_path):
    plugin = tmp_path / "last_item.py"
    plugin.write_text(PLUGIN)
    with pytest.raises(MTBenchError, match=r"models\.1: is models\.0 again"):
        mtbench.run(SMALL | {"models": ["last-item"] * 2}, records=tmp_path / "records", plugins=[plugin])


def test_a_model_may_ask_for_an_input_that_is_given_with_other_settings(tmp_path):
    plugin = tmp_path / "last_item.py"
    plugin.write_text(PLUGIN)
    experiment = SMALL | {"models": ["last-item"], "inputs": {"give": [{"name": "recent", "length": 9}]}}
    (written,) = mtbench.run(experiment, records=tmp_path / "records", plugins=[plugin])
    asked, given = (
        part[0].settings for part in (written.record.recipe.inputs.asked, written.record.recipe.inputs.pooled)
    )
    assert (asked["length"], given["length"]) == (3, 9)


def test_two_processes_get_inputs_too(tmp_path):
    models = [{"name": "shared-bottom", "bottom_layers": [8]}]
    experiment = SMALL | {"models": models, "inputs": {"give": ["recent"]}}
    experiment["training"] = experiment["training"] | {"devices": 2}
    (written,) = mtbench.run(experiment, records=tmp_path)
    assert written.record.mean("click", "auc") is not None


def test_a_dataset_without_users_is_refused_by_an_input_of_users(tmp_path):
    path = tmp_path / "rows.csv"
    rng = np.random.default_rng(0)
    path.write_text("x,y\n" + "\n".join(f"{a},{b}" for a, b in rng.integers(0, 2, (500, 2))) + "\n")
    experiment = SMALL | {"models": ["shared-bottom"], "inputs": {"give": ["recent"]}}
    experiment["dataset"] = {"name": "table", "path": str(path), "tasks": ["y"], "features": ["x"]}
    with pytest.raises(MTBenchError, match="has no users, which an input"):
        mtbench.run(experiment, records=tmp_path / "records")


def test_asked_and_given_inputs_of_one_name_keep_their_own_settings():
    columns = Generated(generate_table(np.random.default_rng(0), 200, 9, 9)).prepare(Split(by="time"))
    short, long = ({"recent": SourcedInput(Recent(RecentConfig(length=length)), "code")} for length in (2, 7))
    whole = attach_inputs(columns, short, long)
    assert whole.spec.inputs["recent"].length == 2
    rows = torch.arange(100, 120)
    batch = whole.train.take(rows)
    taken = batch.inputs["recent"]
    assert taken.items.shape == (20, 2)
    numbers = batch.multi["recent items"]
    mask = whole.pooled["recent"].take(rows).item_mask
    assert mask.sum(1).max() > 2
    torch.testing.assert_close(numbers.offsets.diff(), mask.sum(1).long())
    for row in range(20):
        pooled = numbers.values[numbers.offsets[row] : numbers.offsets[row + 1]]
        known = taken.items[row][taken.item_mask[row] > 0]
        assert torch.equal(pooled[: len(known)], known)


def test_batches_carry_inputs_row_by_row():
    columns = prepare(
        "generated", Generated(generate_table(np.random.default_rng(0), 200, 9, 9)), Split(by="time"), source="b"
    )
    recent = {"recent": SourcedInput(Recent(RecentConfig(length=4)), "code")}
    whole = attach_inputs(columns, recent, recent)
    rows = torch.tensor([5, 3, 100])
    batch = whole.train.take(rows)
    again = batch.take(torch.tensor([2, 0]))
    torch.testing.assert_close(again.inputs["recent"].items, whole.train.take(rows[[2, 0]]).inputs["recent"].items)
    assert again.numeric.shape[1] == batch.numeric.shape[1] == len(whole.spec.numeric)
    assert set(again.multi) == set(whole.spec.multi) == {"recent items"}


def test_a_given_input_may_not_take_the_name_of_a_feature(monkeypatch, tmp_path):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path))
    table = generate_table(np.random.default_rng(0), 150, 6, 6).rename(columns={"shelf": "recent items"})
    features = (Feature(name="recent items", of="item"),)
    dataset = InMemory(table, Generated(table).schema().model_copy(update={"features": features}))
    columns = dataset.prepare(Split(by="time", valid=0.15, test=0.15))
    pooled = {"recent": SourcedInput(Recent(RecentConfig(length=5)), "code")}
    with pytest.raises(MTBenchError, match=r"'recent' gives a feature 'recent items', and there is one of that name"):
        _ = attach_inputs(columns, {}, pooled).spec
