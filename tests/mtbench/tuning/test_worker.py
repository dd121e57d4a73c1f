"""Whose turn it is, and how a worker ends; its work is tested where trials and faults are."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from mtbench.errors import MTBenchError
from mtbench.tuning.worker import _take_next, join_sweep
from tests.mtbench.tuning.conftest import PATIENCE

CHILD = """
import sys, time
from mtbench.tuning.worker import Parent
class Cycle:  # what is interrupted as it goes is reported, and no interruption of anything else
    def __del__(self):
        time.sleep(0.01)
parent = Parent(attached=True)
with parent.watch():
    while sys.argv[1] == "busy":
        print("working", flush=True)
        time.sleep(0.05)
print("working", flush=True)
while sys.argv[1] == "between" and not parent.is_gone():
    parent.wait(100)
    Cycle()
"""


class Study:
    """A study with so many slots, of which some are used and some taken."""

    def __init__(self, used, running, trials=3):
        self.used, self.running, self.trials = used, running, trials

    def slots(self):
        return SimpleNamespace(used=range(self.used), running=range(self.running))

    def take(self, worker):
        assert worker == "w"
        if self.used + self.running >= self.trials:
            return None
        self.running += 1
        return f"slot {self.used + self.running - 1}"


def turns(count, **studies):
    candidates = [SimpleNamespace(label=label, index=index) for index, label in enumerate(studies)]
    taken = (_take_next(candidates, studies, "w") for _ in range(count))
    return [(candidate.label, slot) for candidate, slot in taken if slot]


def test_models_take_turns_in_their_order():
    assert turns(9, b=Study(0, 0), a=Study(0, 0)) == [
        ("b", "slot 0"), ("a", "slot 0"), ("b", "slot 1"), ("a", "slot 1"), ("b", "slot 2"), ("a", "slot 2"),
    ]  # fmt: skip


def test_the_model_that_is_behind_comes_first_and_what_others_work_on_counts():
    assert turns(3, a=Study(1, 1), b=Study(0, 1)) == [("b", "slot 1"), ("a", "slot 2"), ("b", "slot 2")]
    assert turns(2, a=Study(3, 0), b=Study(0, 3)) == []


def test_a_sweep_that_is_not_there_is_said_so(begin, tmp_path, storage):
    with pytest.raises(MTBenchError, match=r"there is no storage sqlite:.*--storage"):
        join_sweep("test", f"sqlite:///{tmp_path}/absent.db")
    assert not (tmp_path / "absent.db").exists()
    begin({"models": ["shared-bottom"]})
    with pytest.raises(MTBenchError, match=r"there is no sweep 'tset' in .*; start it with `mtbench sweep`"):
        join_sweep("tset", storage)
    place, experiment = join_sweep("test", storage)
    assert str(place) == storage
    assert [model.name for model in experiment.models] == ["shared-bottom"]


def child(*arguments):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], **pipes)
    assert started.stdout.readline() == b"working\n"
    return started


def test_a_worker_is_interrupted_when_its_parent_is_gone_and_not_before():
    worker = child("busy")
    assert worker.poll() is None
    _, errors = worker.communicate(timeout=PATIENCE)  # closes its standard input
    assert b"KeyboardInterrupt" in errors


@pytest.mark.parametrize("state", ["between", "done"])
def test_a_worker_that_has_no_work_ends_well(state):
    worker = child(state)
    assert worker.communicate(timeout=PATIENCE) == (b"", b"")
    assert worker.returncode == 0


def test_a_worker_that_is_done_ends_while_its_parent_is_there():
    worker = child("done")
    assert worker.wait(PATIENCE) == 0
    assert worker.communicate() == (b"", b"")
