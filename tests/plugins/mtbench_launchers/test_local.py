from __future__ import annotations

import os
import sys
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.schema import Settings
from mtbench.tuning.launcher import Job
from mtbench_launchers.local import Local, find_cores, find_gpus, share

SAY = """
import os, sys
threads, gpu = os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES")
assert os.environ["WORD"] == "x"
print(threads, sorted(os.sched_getaffinity(0)), gpu, flush=True)
sys.stdin.read()
print("closed", flush=True)
"""


@given(st.integers(1, 40), st.integers(1, 40))
def test_cores_are_shared_out_evenly(count, of):
    cores = list(range(100, 100 + count))
    groups = [share(cores, number, of) for number in range(of)]
    assert all(groups)
    assert all(group == list(range(group[0], group[0] + len(group))) for group in groups)
    if of <= count:
        assert list(chain(*groups)) == cores
        assert max(map(len, groups)) - min(map(len, groups)) <= 1
    else:
        assert {len(group) for group in groups} == {1}
        assert set(chain(*groups)) == set(cores)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")
def test_a_worker_has_its_cores_and_threads_and_ends_when_its_input_does(tmp_path):
    launcher, logs = Local(Settings()), [tmp_path / "logs" / f"{number}" for number in range(2)]
    workers = [
        launcher.start(Job([sys.executable, "-c", SAY], {"WORD": "x"}, number, 2, log))
        for number, log in enumerate(logs)
    ]
    assert all(worker.ended() is None for worker in workers)
    for worker in workers:
        worker.stop()
        assert worker.ended() == "exit status 0"
    for number, log in enumerate(logs):
        cores = share(find_cores(), number, 2)
        first, last = log.read_text().splitlines()
        assert first.startswith(f"{len(cores)} {cores} ")
        assert last == "closed"


@pytest.mark.parametrize(
    ("named", "count", "visible"), [(None, 0, []), (None, 2, ["0", "1"]), ("4,7", 2, ["4", "7"]), ("", 0, [])]
)
def test_gpus_are_those_that_this_process_may_use(monkeypatch, named, count, visible):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert find_gpus() == visible


def test_each_worker_has_a_gpu_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr("mtbench_launchers.local.find_gpus", lambda: ["4", "7"])
    for number, gpu in enumerate(("4", "7", "4")):
        log = tmp_path / f"{number}"
        Local(Settings()).start(Job([sys.executable, "-c", SAY], {"WORD": "x"}, number, 3, log)).stop()
        assert log.read_text().splitlines()[0].endswith(f" {gpu}")
