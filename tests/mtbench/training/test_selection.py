from __future__ import annotations

import pytest

from mtbench.experiment import Training
from mtbench.schema import Task
from mtbench.training import checkpoint
from mtbench.training.selection import LAST, Selection

TASKS = (Task(name="click"), Task(name="buy"))
HISTORY = {"click": [0.1, 0.5, 0.3, 0.5], "buy": [0.2, 0.1, 0.6, 0.1]}


@pytest.fixture
def begin(tmp_path):
    """Return a function that makes a selection of a training which has come so far."""

    def make(epochs=4, *, history=HISTORY, **training):
        selection = Selection(tmp_path, TASKS, Training(**training))
        selection.improvement = {name: values[:epochs] for name, values in history.items()}
        selection.valid = {name: [value + 0.5 for value in values[:epochs]] for name, values in history.items()}
        selection.loss = {name: [1.0] * epochs for name in history}
        selection.seconds = [1.0] * epochs
        return selection

    return make


def test_one_epoch_is_chosen_by_the_mean_or_each_tasks_own_the_first_of_equals(begin):
    assert begin().scores() == pytest.approx([0.15, 0.3, 0.45, 0.3])
    assert begin(select="mean").chosen() == {"click": 2, "buy": 2}
    assert begin(select="per-task").chosen() == {"click": 1, "buy": 2}
    assert begin(select="mean", history={"click": [0.2, 0.4], "buy": [0.4, 0.2]}, epochs=2).chosen()["buy"] == 0


@pytest.mark.parametrize(("select", "click"), [("mean", 2), ("per-task", 1)])
def test_what_is_chosen_is_an_improvement_and_no_value_of_the_metric(begin, select, click):
    selection = begin(select=select)
    selection.valid = {"click": [9.0, 0, 0, 0], "buy": [9.0, 0, 0, 0]}  # a loss: lower is better
    assert selection.chosen() == {"click": click, "buy": 2}


@pytest.mark.parametrize(
    ("select", "patience", "stops"),
    [("mean", 1, 4), ("mean", 2, 5), ("per-task", 1, 4), ("per-task", 2, 5), ("mean", 9, 6)],
)
def test_training_stops_when_no_chosen_epoch_is_recent_or_all_are_done(begin, select, patience, stops):
    history = {name: [*values, 0.0, 0.0] for name, values in HISTORY.items()}
    ends = [
        begin(epochs, history=history, select=select, patience=patience, max_epochs=6).finished for epochs in range(7)
    ]
    assert ends.index(True) == stops
    assert not ends[0]


def test_weights_are_one_file_or_one_for_each_task(begin, tmp_path):
    assert {begin(select="mean").weights(name) for name in HISTORY} == {tmp_path / "best.pt"}
    files = [begin(select="per-task").weights(name) for name in HISTORY]
    assert files == [tmp_path / "best-0.pt", tmp_path / "best-1.pt"]


def test_a_history_is_taken_up_from_the_last_checkpoint(begin, tmp_path):
    selection = begin()
    selection.statistics = {"entropy": [0.1, 0.2, 0.3, 0.4]}
    fresh = Selection(tmp_path, TASKS, Training())
    assert not fresh.restore()
    checkpoint.save({"callbacks": {selection.state_key: selection.state_dict()}}, tmp_path / LAST)
    checkpoint.save({}, tmp_path / "best.pt")
    assert fresh.restore()
    assert fresh.summary() == selection.summary()
    assert fresh.scores() == selection.scores()


def test_the_summary_says_how_it_went(begin):
    run = begin(select="per-task").summary()
    assert run.chosen == {"click": 1, "buy": 2}
    assert run.valid["buy"] == pytest.approx([0.7, 0.6, 1.1, 0.6])
    assert len(run.seconds) == 4
