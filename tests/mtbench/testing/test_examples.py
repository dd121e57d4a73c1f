from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mtbench.errors import MTBenchError
from mtbench.schema import Component, Task
from mtbench.testing.examples import TASKS, examples, table

INPUTS = (
    Component(name="recent", length=5, item_length=5),
    Component(name="macro-graph", user_clusters=4, item_clusters=3),
    Component(name="full-graph"),
    Component(name="text", column="title", encoder="hashed"),
)


@pytest.mark.parametrize("count", range(1, len(TASKS) + 1))
def test_any_first_tasks_can_be_prepared(count):
    columns = examples(TASKS[:count])
    assert [task.name for task in columns.spec.tasks] == [task.name for task in TASKS[:count]]
    for rows in (columns.train, columns.valid):
        for column, task in enumerate(columns.spec.tasks):
            known = rows.labels[rows.mask[:, column] > 0, column]
            assert len(known) >= 50
            least = 50 if task.kind == "regression" else 10
            assert set(known.tolist()) == {0, 1} if task.probability else len(known.unique()) > least


def test_there_is_a_funnel_of_three_and_a_task_beside_it():
    columns = examples()
    labels, mask = columns.train.labels, columns.train.mask
    click, cart, buy, share = (next(i for i, task in enumerate(TASKS) if task.name == name)
                               for name in ("click", "cart", "buy", "share"))  # fmt: skip
    for task, given in ((cart, click), (buy, cart), (share, click)):
        assert TASKS[task].given == TASKS[given].name
        assert (labels[mask[:, task] > 0, given] == 1).all()
        assert 0 < mask[:, task].sum() < mask[:, given].sum()


def test_what_may_be_missing_is_missing():
    columns = examples(TASKS, INPUTS)
    train, valid = columns.train, columns.valid
    names = list(columns.spec.categorical)
    for name in ("user", "item"):
        unseen = valid.categorical[:, names.index(name)] == 0
        assert 0 < unseen.sum() < len(valid) / 2
        assert (train.categorical[:, names.index(name)] > 0).all()
    assert (train.mask.mean(0) < 0.95).all()
    assert "age missing" in columns.spec.numeric
    assert len(np.unique(columns.time())) < len(columns.time())
    lengths = train.multi["tags"].offsets.diff()
    assert set(lengths.tolist()) == {0, 1, 2}
    everything = torch.arange(len(valid))
    inputs = valid.take(everything).inputs
    assert inputs["recent"].item_mask.any(1).double().mean() > 0.7
    assert not inputs["recent"].item_mask.any(1).all()
    assert (inputs["macro-graph"].user_macro > 0).any()
    assert not (inputs["macro-graph"].user_macro > 0).all()
    assert (train.take(everything).inputs["full-graph"].edges >= 0).any()
    assert 0 < (inputs["text"].vectors == 0).all(1).sum() < 100
    assert not train.take(torch.arange(100)).inputs["recent"].item_mask.any()


def test_likes_lie_between_user_and_item():
    rows = table(TASKS)
    for task in (task for task in TASKS if task.given is None):
        known = rows.dropna(subset=[task.name])
        by_both = known.groupby([known["user"] % 4, known["item"] % 4])[task.name].mean()
        deviation = (
            known[task.name] - by_both.loc[list(zip(known["user"] % 4, known["item"] % 4, strict=True))].to_numpy()
        )
        assert deviation.var() < 0.35 * known[task.name].var()


def test_they_are_made_once_and_apart_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path))
    tasks = (Task(name="only"),)
    assert examples(tasks, INPUTS[:1]) is examples(tasks, INPUTS[:1])
    assert examples(tasks).spec.inputs == {}
    assert not list(tmp_path.iterdir())
    assert os.environ["MTBENCH_CACHE"] == str(tmp_path)


def test_unknown_inputs_and_settings_are_told():
    with pytest.raises(MTBenchError, match=r"there is no input 'recnt'.*recent"):
        examples(TASKS[:1], [Component(name="recnt")])
    with pytest.raises(MTBenchError, match=r"input 'recent': .*lenght.*length"):
        examples(TASKS[:1], [Component(name="recent", lenght=3)])


def test_an_input_of_ones_own_is_found(monkeypatch, tmp_path):
    plugin = Path(tmp_path / "bought.py")
    plugin.write_text("""
from typing import NamedTuple

import numpy as np
import torch

from mtbench.hookspecs import hookimpl
from mtbench.inputs import Input, InputReader


class Rows(NamedTuple):
    at: torch.Tensor


class Place(Input):
    def build(self, events, rows, columns, folder):
        np.save(folder / "user.npy", rows.user)

    def open(self, folder):
        return OpenedPlace(np.load(folder / "user.npy"))


class OpenedPlace(InputReader):
    def __init__(self, user):
        self.user, self.spec = torch.from_numpy(user), int(user.max()) + 1

    def take(self, rows):
        return Rows(self.user[rows])

    def to(self, device, *, non_blocking=False):
        return self


@hookimpl
def mtbench_inputs(register):
    register("place", Place)
""")
    monkeypatch.setenv("MTBENCH_PLUGINS", str(plugin))
    columns = examples(TASKS[:2], [Component(name="place")])
    batch = columns.valid.take(torch.arange(7))
    assert columns.spec.inputs == {"place": 40}
    assert batch.inputs["place"].at.tolist() == columns.users(batch).tolist()
