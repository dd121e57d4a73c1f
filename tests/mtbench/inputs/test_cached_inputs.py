from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mtbench.data import cache
from mtbench.errors import MTBenchError
from mtbench.inputs import SourcedInput
from mtbench.inputs.attach import open_input
from mtbench.schema import Split
from mtbench.testing.inputs import Generated, generate_table
from mtbench_inputs.full_graph import FullGraph, FullGraphConfig
from mtbench_inputs.macro_graph import MacroGraph, MacroGraphConfig
from mtbench_inputs.recent import Recent, RecentConfig
from mtbench_inputs.text import Text, TextConfig

INPUTS = {
    "recent": Recent(RecentConfig(length=5, item_length=3)),
    "macro-graph": MacroGraph(MacroGraphConfig(user_clusters=3, item_clusters=4, rank=4, neighbors=5)),
    "text": Text(TextConfig(column="title", encoder="hashed")),
    "full-graph": FullGraph(FullGraphConfig(width=4)),
}
every_input = pytest.mark.parametrize("name", INPUTS)


def columns():
    return Generated(generate_table(np.random.default_rng(0), 300, 30, 20)).prepare(Split(by="time"))


def make(name, of):
    return open_input(name, SourcedInput(INPUTS[name], "code"), of)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != cache.MANIFEST}


def damages(folder):
    """Yield after each damage: one byte of each file changed, the file cut short, the file removed."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        changed = path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == changed:  # the clock of a file system is coarse
            path.write_bytes(flipped)
        if path.name != cache.MANIFEST:  # of which not every byte counts
            yield f"{path.name} has another byte"
        path.write_bytes(content[:-1])
        yield f"{path.name} is short"
        path.unlink()
        yield f"{path.name} is gone"


@every_input
def test_a_damaged_input_is_made_again_with_the_same_bytes(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path))
    of = columns()
    make(name, of)
    (folder,) = (tmp_path / "inputs").iterdir()
    whole = contents(folder)
    assert whole
    for damage in damages(folder):
        made = folder.stat().st_ino
        make(name, of)
        assert contents(folder) == whole, damage
        assert folder.stat().st_ino != made, damage
    assert list((tmp_path / "inputs").iterdir()) == [folder]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a full disk needs root")
@every_input
def test_a_full_disk_leaves_no_half_input(name, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    monkeypatch.setenv("MTBENCH_CACHE", str(disk))
    try:
        of = columns()
        room = os.statvfs(disk)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(room.f_bavail * room.f_bsize - (12 << 10)))
        with pytest.raises(MTBenchError, match=r"cannot be written: .*No space left"):
            make(name, of)
        assert list((disk / "inputs").iterdir()) == []
        ballast.unlink()
        make(name, of)
        del of
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


CHILD = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from mtbench.inputs import SourcedInput
from mtbench.inputs.attach import open_input
from mtbench.schema import Split
from mtbench.testing.inputs import Generated, generate_table
from mtbench_inputs.recent import Recent, RecentConfig

class Slow(Recent):
    def build(self, events, rows, columns, folder):
        super().build(events, rows, columns, folder)
        time.sleep(0.5)
        np.save(folder / "last.npy", rows.item)

    def open(self, folder):
        files = sorted(path for path in folder.iterdir() if path.suffix == ".npy")
        self.seen = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        return super().open(folder)

of = Generated(generate_table(np.random.default_rng(0), 300, 30, 20)).prepare(Split(by="time"))
print("ready", flush=True)
for _ in sys.stdin:
    slow = Slow(RecentConfig(length=5))
    open_input("slow", SourcedInput(slow, "code"), of)
    print(slow.seen, flush=True)
"""


@pytest.fixture
def children(tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, "-c", CHILD], **pipes) for _ in range(2)]
    yield started
    for child in started:
        child.communicate(timeout=60)
        assert child.returncode == 0


def answers(children):
    """Let the processes prepare the input at once; return what each of them was given."""
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    return [child.stdout.readline() for child in children]


def test_processes_that_prepare_an_input_at_once_all_get_the_same(tmp_path, children):
    for child in children:
        assert child.stdout.readline() == "ready\n"
    first, other = answers(children)
    assert first == other
    assert len(first.strip()) == 64
    (folder,) = (tmp_path / "inputs").iterdir()
    whole = contents(folder)
    assert "last.npy" in whole
    next(damages(folder))
    assert contents(folder) != whole
    assert answers(children) == [first, first]
    assert contents(folder) == whole
    assert list((tmp_path / "inputs").iterdir()) == [folder]
