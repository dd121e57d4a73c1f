from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from optuna.trial import TrialState

from mtbench.errors import MTBenchError
from mtbench.tuning.launcher import Job
from mtbench.tuning.studies import ModelStudy, Storage
from mtbench.tuning.sweep import sweep
from mtbench_launchers.ray import Ray, RayConfig
from tests.mtbench.tuning.conftest import DIAL, SWEEP, wait_until

ray = pytest.importorskip("ray")


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Return a file that names the process of every fit; it is set before the nodes start."""
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv("DIAL_LOG", str(path))
    return path


@pytest.fixture
def cluster(monkeypatch, log):  # noqa: ARG001
    """Return a cluster of two nodes on this machine, beside the head, that have room for one worker each."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_enable_uv_run_runtime_env", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, logging_level="error", log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def test_a_node_is_lost_and_the_sweep_completes(cluster, log, tmp_path, monkeypatch):
    made, nodes = cluster
    plugin = tmp_path / "dial.py"
    # the node that a fit runs on is found by the process that Ray's node started
    plugin.write_text(DIAL.replace('f"{os.getpid()} {self', 'f"{os.getppid()} {self'))
    monkeypatch.chdir(tmp_path)
    lost = []

    def lose():
        wait_until(lambda: len({line.split()[0] for line in log.read_text().splitlines()}) == 2)
        made.remove_node(nodes[0], allow_graceful=False)
        lost.append(len(log.read_text().splitlines()))

    thread = threading.Thread(target=lose)
    thread.start()
    content = SWEEP | {"models": [{"name": "dial", "seconds": 2.0}]}
    content["sweep"] = {"trials": 8, "heartbeat": 1, "launcher": {"name": "ray", "address": made.address}}
    (written,) = sweep(content, name="nodes", workers=2, plugins=[plugin])
    thread.join()
    study = ModelStudy(Storage(f"sqlite:///{tmp_path}/sweeps/nodes/sweep.db", 1), "nodes/dial", sweep_of(content))
    finished = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    assert sorted(trial.user_attrs["slot"] for trial in finished) == list(range(8))
    assert lost
    assert lost[0] < len(log.read_text().splitlines())
    assert written.record.measured.tuning.count("finished") == 8


def sweep_of(content):
    from mtbench.experiment import load_experiment  # noqa: PLC0415

    return load_experiment(content).sweep


def test_a_worker_runs_with_its_threads_and_is_stopped(tmp_path, cluster):  # noqa: ARG001
    say = (
        'import os, sys; print(os.environ["OMP_NUM_THREADS"], os.environ["WORD"], os.getcwd(), flush=True); '
        'sys.stdin.read(); print("closed")'
    )
    here = str(Path.cwd())
    launcher = Ray(RayConfig())
    said = tmp_path / "logs" / "0"
    worker = launcher.start(Job([sys.executable, "-c", say], {"WORD": "word"}, 0, 1, said))
    wait_until(lambda: said.is_file() and said.read_text())
    assert worker.ended() is None
    worker.stop()
    assert worker.ended() is not None
    launcher.close()
    assert ray.is_initialized()  # it was not this launcher's
    wait_until(lambda: said.read_text().split() == ["1", "word", here, "closed"])


def test_a_cluster_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("nobody answers")))
    with pytest.raises(MTBenchError, match=r"ray: no cluster at 10.0.0.1:6379: nobody answers"):
        Ray(RayConfig(address="10.0.0.1:6379"))
    assert os.environ.get("RAY_ADDRESS") is None
