from __future__ import annotations

import os
import signal

import pytest

from mtbench.errors import MTBenchError
from mtbench.record.store import read_all
from mtbench.tuning.studies import ModelStudy, Storage
from mtbench.tuning.sweep import Interruption, sweep
from tests.mtbench.tuning.conftest import SWEEP

HERE = '''
"""A launcher that works in the process of the sweep itself."""

from pathlib import Path

from mtbench import hookimpl
from mtbench.tuning.launcher import Launcher
from mtbench.tuning.worker import work


class Done:
    def ended(self):
        return "done"

    def stop(self):
        pass


class Here(Launcher):
    def start(self, job):
        if job.number == 0:
            name, folder = job.command[4], job.command[job.command.index("--folder") + 1]
            work(name, job.environment["MTBENCH_STORAGE"], Path(folder) / name)
        return Done()


class Never(Launcher):
    def start(self, job):
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_text("first\\nthe disk is on fire\\n")
        return Done()


@hookimpl
def mtbench_launchers(register):
    register("here", Here)
    register("never", Never)
'''


@pytest.fixture
def launchers(tmp_path):
    path = tmp_path / "launchers.py"
    path.write_text(HERE)
    return path


def experiment(launcher="here", **changes):
    return SWEEP | {"sweep": {"trials": 4, "heartbeat": 1, "launcher": launcher}} | changes


@pytest.mark.usefixtures("dial")
def test_the_best_settings_run_on_fresh_seeds_and_the_record_says_how_they_were_found(tmp_path, launchers):
    def run(**asked):
        content = experiment()
        content["sweep"] = content["sweep"] | asked
        return sweep(content, folder=tmp_path / "s", records=tmp_path / "r", plugins=[launchers], workers=2)

    [written] = run()
    recipe, tuning = written.record.recipe, written.record.measured.tuning
    study = ModelStudy(Storage(f"sqlite:///{tmp_path}/s/sweep/sweep.db"), "sweep/dial", _asked())
    best = max(study.trials(), key=lambda trial: trial.value)
    assert recipe.model.settings["dial"] == best.params["model.dial"]
    assert recipe.seeds == [0, 1]
    assert recipe.budget.model_dump() == {
        "kind": "tuned", "trials": 4, "sampler": "tpe", "pruner": "halving", "seed": 1000,
        "space": {"model.dial": {"low": 0.0, "high": 1.0, "log": False}},
    }  # fmt: skip
    assert (tuning.count("finished"), tuning.count("pruned"), tuning.epochs) == (4, 0, 4)
    assert (tuning.best, tuning.score) == (best.user_attrs["slot"], best.value)
    assert [(trial.settings, trial.score) for trial in tuning.trials] == [
        ({"model.dial": trial.params["model.dial"]}, trial.value)
        for trial in sorted(study.trials(), key=lambda trial: trial.user_attrs["slot"])
    ]
    assert written.record.measured.test_opened == 1

    [again] = run()
    assert again.path == written.path
    assert len(study.trials()) == 4
    [more] = run(trials=6)
    assert more.record.recipe.budget.trials == 6
    assert len(study.trials()) == 6
    assert more.record.key != written.record.key
    with pytest.raises(MTBenchError, match=r"has used 6 slots already.*ask for 6 or more \(now 4\)"):
        run()


def _asked():
    from mtbench.experiment import load_experiment  # noqa: PLC0415

    return load_experiment(experiment()).sweep


@pytest.mark.usefixtures("dial")
def test_a_model_of_which_nothing_finished_keeps_no_other_from_its_record(tmp_path, launchers):
    content = experiment(models=[{"name": "dial", "fault": "bug"}, "dial"])
    with pytest.raises(MTBenchError, match=r"^dial: no trial finished; the first failed with: RuntimeError: there is"):
        sweep(content, folder=tmp_path / "s", records=tmp_path / "r", plugins=[launchers])
    [(record, _)], problems = read_all(tmp_path / "r")
    assert not problems
    assert record.recipe.model.settings["fault"] == "none"


@pytest.mark.usefixtures("dial")
def test_workers_that_end_again_and_again_stop_the_sweep_with_what_they_said_last(tmp_path, launchers, monkeypatch):
    monkeypatch.setattr("mtbench.tuning.sweep.POLL_SECONDS", 0.01)
    with pytest.raises(MTBenchError, match=r"6 workers ended without using a slot, the last with: done(.|\n)*on fire"):
        sweep(experiment("never"), folder=tmp_path / "s", records=tmp_path / "r", plugins=[launchers], workers=2)


@pytest.mark.usefixtures("dial")
@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"workers": 0}, "--workers 0: there must be one at least"),
        ({"launcher": "cloud"}, {}, "there is no launcher 'cloud'"),
        ({"launcher": {"name": "here", "size": 3}}, {}, "sweep.launcher: unknown key 'size'"),
        ({"pruner": "medium"}, {}, "sweep.pruner"),
    ],
)
def test_mistakes_are_told_before_anything_begins(tmp_path, launchers, changes, arguments, message):
    content = experiment()
    content["sweep"] = content["sweep"] | changes
    with pytest.raises(MTBenchError, match=message):
        sweep(content, folder=tmp_path / "s", plugins=[launchers], **arguments)
    assert not (tmp_path / "s").exists()


def test_a_ctrl_c_waits_for_what_it_comes_in():
    interruption = Interruption()
    try:
        interruption.wait(0)
        os.kill(os.getpid(), signal.SIGINT)
        done = sum(range(1000))  # a query that must not be cut short
        with pytest.raises(KeyboardInterrupt):
            interruption.wait(0)
    finally:
        interruption.end()
    assert done == 499500
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
