"""Commands that are stopped before any of their file-system operations, and begun again: same bits, nothing is left."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from mtbench.record.store import read_all
from tests.mtbench.training.test_run import outcome
from tests.mtbench.tuning.test_sweep import HERE

if TYPE_CHECKING:
    from pathlib import Path

SIGNALS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
SAMPLE = 2
"""Operations that each signal comes before, unless all are asked for (`pytest -m slow`)."""
OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.link"}
HASHES = re.compile(r"([0-9a-f]{16})-[0-9a-f]{16}(\.[0-9a-f]{16})?")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PLANTED = {"name": "planted", "rows": 1500, "users": 60, "items": 30}
TRAINING = {"max_epochs": 2, "batch_size": 512, "accelerator": "cpu"}


def perform(arguments: list[str], folder: Path, at: int | None, sent: int) -> None:
    """Run a command in a folder; send this process a signal before its operation number ``at``, or count them."""
    count = 0
    inside = str(folder)

    def watch(event: str, details: tuple) -> None:
        nonlocal count
        writes = event == "open" and isinstance(details[2], int) and details[2] & WRITES
        if (event in OPERATIONS or writes) and os.path.abspath(os.fsdecode(str(details[0]))).startswith(inside):  # noqa: PTH100
            count += 1
            if count == at:
                os.kill(os.getpid(), sent)

    os.chdir(folder)
    os.environ |= {"MTBENCH_CACHE": str(folder / "cache"), "MTBENCH_PLUGINS": str(folder / "plugins.py")}
    log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from mtbench.cli import main  # noqa: PLC0415

    sys.argv = ["mtbench", *arguments]
    sys.addaudithook(watch)
    try:
        main()
    finally:
        done, count = count, -1_000_000
        folder.with_suffix(".count").write_text(str(done))


@pytest.fixture(scope="module")
def start():
    """Return a function that performs a command in a process of its own, and returns its exit status."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtbench.training.run", "mtbench.tuning.bench", "mtbench.board.admission"])

    def start(arguments: list[str], folder: Path, at: int | None = None, sent: int = 0) -> int:
        process = context.Process(target=perform, args=(arguments, folder, at, sent))
        process.start()
        process.join()
        return process.exitcode

    return start


def list_files(folder: Path) -> list[str]:
    """Return what lies in a folder, without locks of the cache and hashes of what has the time in it."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(HASHES.sub(r"\1", path) for path in paths if not path.startswith("cache/locks/"))


def check(start, arguments, template, tmp_path, summarize, every):
    """Stop a command before its operations, do it again, and compare with what it does uninterrupted."""
    whole = tmp_path / "whole"
    shutil.copytree(template, whole)
    assert start(arguments, whole) == 0, whole.with_suffix(".log").read_text()
    expected, files = summarize(whole), list_files(whole)
    count = int(whole.with_suffix(".count").read_text())
    points = [(at, sent) for at in range(1, count + 1) for sent in SIGNALS]
    step = 1 if every else len(points) // (SAMPLE * len(SIGNALS)) // len(SIGNALS) * len(SIGNALS) + 1
    assert count > 5
    for at, sent in points[::step]:
        folder = tmp_path / f"stopped-{at}"
        shutil.copytree(template, folder)
        # a launcher of tests trains in the process of the sweep, where Lightning makes a Ctrl-C of a SIGTERM
        statuses = {SIGNALS[sent], 130 if sent == signal.SIGTERM and arguments[0] != "run" else SIGNALS[sent]}
        assert start(arguments, folder, at, sent) in statuses, folder.with_suffix(".log").read_text()
        assert start(arguments, folder) == 0, folder.with_suffix(".log").read_text()
        assert summarize(folder) == expected, (at, sent)
        assert list_files(folder) == files, (at, sent)
        assert "Traceback" not in folder.with_suffix(".log").read_text(), (at, sent)
        folder.with_suffix(".log").unlink()
        shutil.rmtree(folder)


every = pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])


@pytest.fixture
def template(tmp_path):
    """Return a folder with experiments, a benchmark and a launcher that starts no processes."""
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "plugins.py").write_text(HERE)
    experiment = {
        "dataset": PLANTED, "seeds": 1,
        "models": [{"name": "shared-bottom", "bottom_layers": [4], "tower_layers": [4]}, "constant"],
        "training": TRAINING, "sweep": {"trials": 2, "heartbeat": 1, "launcher": "here"},
    }  # fmt: skip
    (folder / "e.yaml").write_text(yaml.safe_dump(experiment))
    return folder


@every
def test_run(start, template, tmp_path, every):
    check(start, ["run", "e.yaml"], template, tmp_path, lambda folder: outcome(folder / "records"), every)


@every
def test_sweep(start, template, tmp_path, every):
    check(start, ["sweep", "e.yaml"], template, tmp_path, lambda folder: outcome(folder / "records"), every)


@every
def test_bench_run(start, template, tmp_path, planted_benchmark, every):
    entry = {"name": "single-task", "tower_layers": [4]}
    content = planted_benchmark | {
        "seeds": 1,
        "sweep": {"trials": 1, "heartbeat": 1, "launcher": "here"},
        "entries": [{"model": "constant"}, {"model": entry, "rows": ["default", "tuned"]}],
    }
    (template / "b.yaml").write_text(yaml.safe_dump(content))
    arguments = ["bench", "run", "b.yaml"]
    check(start, arguments, template, tmp_path, lambda folder: outcome(folder / "records"), every)


@pytest.fixture
def done(start, template):
    """Return the template with the records of its experiment."""
    assert start(["run", "e.yaml"], template) == 0
    shutil.rmtree(template / "records" / "site")
    return template


@every
def test_board_add(start, done, tmp_path, every):
    def summarize(folder):
        written, problems = read_all(folder / "board")
        assert not problems
        checks = [json.loads(path.read_text()) for path in (folder / "board" / "checks").glob("*.json")]
        resamples = {path.name for path in (folder / "board" / "resamples").glob("*.json")}
        return [one.path.read_bytes() for one in written], [check | {"created": ""} for check in checks], resamples

    arguments = ["board", "add", "shared-bottom", "--records", "board"]
    check(start, arguments, done, tmp_path, summarize, every)


@every
def test_board_build(start, done, tmp_path, every):
    def summarize(folder):
        return {path.name: path.read_bytes() for path in (folder / "site").rglob("*") if path.is_file()}

    arguments = ["board", "build", "--records", "records", "--out", "site"]
    check(start, arguments, done, tmp_path, summarize, every)


def jump() -> None:
    """Let every clock that shows the time of day jump by a day, forwards and back, each time it is asked."""
    real, days = time.time, itertools.cycle((0, 86_400, -86_400))
    time.time = lambda: real() + next(days)


def perform_jumping(arguments: list[str], folder: Path) -> None:
    jump()
    perform(arguments, folder, None, 0)


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_clock_that_jumps_changes_nothing(start, template, tmp_path, command):
    whole, jumping = (shutil.copytree(template, tmp_path / name) for name in ("whole", "jumping"))
    assert start([command, "e.yaml"], whole) == 0
    process = multiprocessing.get_context("forkserver").Process(
        target=perform_jumping, args=([command, "e.yaml"], jumping)
    )
    process.start()
    process.join()
    assert process.exitcode == 0, jumping.with_suffix(".log").read_text()
    assert outcome(jumping / "records") == outcome(whole / "records")
    assert list_files(jumping) == list_files(whole)


def test_sites_are_built_while_records_are_added(start, done, tmp_path):
    """Whatever moment a build meets, it makes a site of whole records and says nothing is wrong."""
    paths = sorted((done / "records").glob("*.json"))
    (done / "board").mkdir()
    context = multiprocessing.get_context("forkserver")
    build = ["board", "build", "--records", "board", "--out", "site"]
    adding = [
        context.Process(
            target=perform, args=(["board", "add", f"records/{path.name}", "--records", "board"], done, None, 0)
        )
        for path in paths
    ]
    for process in adding:
        process.start()
    builds = 0
    while any(process.is_alive() for process in adding) or not builds:
        assert start(build, done) == 0
        first = (done / "site" / "index.html").read_text()
        assert "not a record" not in first
        assert "was changed" not in first
        builds += 1
    assert [process.exitcode for process in adding] == [0, 0]
    assert start(build, done) == 0
    shutil.copytree(done / "board", tmp_path / "alone" / "board")
    assert start(build, tmp_path / "alone") == 0
    sites = []
    for site in (done / "site", tmp_path / "alone" / "site"):
        pages = [path for path in sorted(site.rglob("*")) if path.is_file()]
        sites.append({path.relative_to(site).as_posix(): path.read_bytes() for path in pages})
    assert sites[0] == sites[1]
    assert len([name for name in sites[0] if name.startswith("records/")]) == 2
