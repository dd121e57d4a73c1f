"""Real processes, real signals, a real PostgreSQL: whatever is killed, every slot is used once in the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from optuna.trial import TrialState

from mtbench.experiment import Sweep
from mtbench.record.store import read_all
from mtbench.tuning.history import read_history
from mtbench.tuning.studies import ModelStudy, Storage
from tests.mtbench.tuning.conftest import PATIENCE, SWEEP, wait_until

TRIALS = 6
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)


class Running:
    """A sweep as a user starts it."""

    def __init__(self, folder, *options, seconds=1.0):
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        experiment = SWEEP | {
            "models": [{"name": "dial", "seconds": seconds}],
            "sweep": {"trials": TRIALS, "heartbeat": 1},
        }
        (folder / "e.yaml").write_text(yaml.safe_dump(experiment))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mtbench", "sweep", "e.yaml", "--workers", "2", *options],
            cwd=folder, env=os.environ | {"DIAL_LOG": str(self.log)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def starts(self):
        """Return the process of every fit that began."""
        return [int(line.split()[0]) for line in self.log.read_text().splitlines()]

    def wait_for(self, more):
        """Wait until so many more fits began; return their processes."""
        before = len(self.starts())

        def fits():
            assert self.process.poll() is None, self.process.communicate()
            started = self.starts()[before:]
            return started if len(started) >= more else None

        return wait_until(fits)

    def end(self):
        """Wait for its end; return the status and what it printed."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def kill(self):
        """Kill it, alone."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


def trials(address, name="e/dial"):
    return ModelStudy(Storage(address, 1), name, Sweep(trials=TRIALS, heartbeat=1)).trials()


def check_all_used(address, folder):
    """Assert that every slot was used once, by a trial that finished, and that the record says so."""
    found = trials(address)
    finished = [trial for trial in found if trial.state == TrialState.COMPLETE]
    assert sorted(trial.user_attrs["slot"] for trial in finished) == list(range(TRIALS))
    assert {trial.state for trial in found} <= {TrialState.COMPLETE, TrialState.FAIL}
    [(record, _)], _ = read_all(folder / "records")
    assert record.recipe.budget.trials == record.measured.tuning.count("finished") == TRIALS
    assert record.measured.tuning.score == max(trial.value for trial in finished)
    best = max(finished, key=lambda trial: trial.value)
    assert record.recipe.model.settings["dial"] == best.params["model.dial"]
    return found


def gone(pids):
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in pids))


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.usefixtures("dial")
def test_ctrl_c_gives_trials_back_and_the_same_command_goes_on(tmp_path):
    address = f"sqlite:///{tmp_path}/sweeps/e/sweep.db"
    running = Running(tmp_path)
    workers = running.wait_for(3)
    running.process.send_signal(signal.SIGINT)
    status, _, err = running.end()
    assert status == 130
    assert "interrupted; the same command goes on from here" in err
    assert "/6" in err
    assert "Traceback" not in err
    gone(workers)
    found = trials(address)
    assert TrialState.RUNNING not in {trial.state for trial in found}
    assert sum(trial.user_attrs.get("released", False) for trial in found) >= 1

    running = Running(tmp_path, seconds=0.1)
    status, out, err = running.end()
    assert status == 1  # the setting that the file keeps is another
    assert "model.settings.seconds: then 1.0, now 0.1" in err

    status, out, err = Running(tmp_path).end()
    assert status == 0, err
    assert "trials were done before" in err
    assert "tuned, 6 trials (tpe, pruner halving, seed 1000)" in out
    before = check_all_used(address, tmp_path)

    status, out, err = Running(tmp_path).end()
    assert status == 0, err
    assert len(check_all_used(address, tmp_path)) == len(before)
    assert "its record is there" in err
    command = [sys.executable, "-m", "mtbench", "sweep", "report", "e.yaml"]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    page = Path(report.stdout.strip()).read_text()
    assert page.count("<svg") >= 4
    assert "://" not in page.replace("http://www.w3.org/", "")


@contextmanager
def postgresql(folder):
    """Run a PostgreSQL of Debian's on a free port of this machine; yields its address, and what kills and starts it."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    programs, data = PROGRAMS[0].parent, folder / "data"
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data.mkdir()
    if user:
        shutil.chown(data, user)
        for parent in data.parents:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "me", "--auth=trust", "--no-sync"],
        user=user, cwd="/", check=True, capture_output=True,
    )  # fmt: skip
    server = []

    def start():
        command = [programs / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        server.append(
            subprocess.Popen(
                [*command, "-c", "unix_socket_directories="],
                user=user,
                cwd="/",
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]

        def answers():
            assert server[-1].poll() is None
            return subprocess.run(ready, check=False).returncode == 0

        wait_until(answers)

    def kill():
        os.killpg(server[-1].pid, signal.SIGKILL)
        server[-1].wait()
        time.sleep(0.5)  # its children

    start()
    try:
        yield f"postgresql://me@127.0.0.1:{port}/postgres", kill, start
    finally:
        kill()


@pytest.mark.usefixtures("dial")
def test_a_worker_the_parent_and_the_database_are_killed_and_nothing_is_lost_or_counted_twice(tmp_path):
    with postgresql(tmp_path) as (address, kill, start):
        option = ("--storage", address)
        running = Running(tmp_path, *option)
        victim = running.wait_for(2)[-1]
        os.kill(victim, signal.SIGKILL)
        workers = running.wait_for(2)
        running.kill()
        gone(workers)
        used = [trial.user_attrs["slot"] for trial in trials(address) if trial.state == TrialState.COMPLETE]

        running = Running(tmp_path, *option)
        workers = running.wait_for(2)
        kill()
        status, _, err = running.end()
        assert status == 1
        assert "the storage postgresql+psycopg://me@127.0.0.1" in err
        assert "the same command goes on" in err
        assert "Traceback" not in err
        gone(workers)

        start()
        status, _, err = Running(tmp_path, *option).end()
        assert status == 0, err
        found = check_all_used(address, tmp_path)
        assert set(used) <= set(range(TRIALS))
        assert any(trial.state == TrialState.FAIL and "released" not in trial.user_attrs for trial in found)
        study = ModelStudy(Storage(address, 1), "e/dial", Sweep(trials=TRIALS, heartbeat=1))
        assert read_history(study).count("finished") == TRIALS
