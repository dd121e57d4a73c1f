"""What goes wrong with one model, or with the disk, and what becomes of everything else."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys

import pytest
import torch

import mtbench
from mtbench.data import cache
from mtbench.errors import BusyError, ModelsError, StorageError
from mtbench.files import write_atomically
from mtbench.record.store import read_all
from mtbench.training import checkpoint
from mtbench.training.module import TrainingModule
from tests.mtbench.training.test_run import outcome

PLUGIN = """
import torch
from mtbench import MultiTaskModel, MTBenchError, hookimpl
from mtbench.nn import FeatureEmbedding, StackedLinear


class Own(MultiTaskModel):
    def __init__(self, config, data):
        super().__init__(config, data)
        self.embed = FeatureEmbedding(data, 4)
        if self.WHERE == "build":
            raise KeyError("no such layer")
        self.out = StackedLinear(data.num_tasks, self.embed.width, 1)
        self.steps = 0

    def forward(self, batch):
        self.steps += 1
        embedded = self.embed(batch)
        if self.WHERE == "forward":
            return self.mix(embedded)
        if self.WHERE == "middle" and self.steps > 12:
            raise ZeroDivisionError
        return self.out(embedded).squeeze(-1).t()

    def mix(self, embedded):
        return embedded @ torch.ones(3, 2)

    def statistics(self):
        if self.WHERE == "validation":
            [][0]
        return {}


class Build(Own):
    WHERE = "build"


class Forward(Own):
    WHERE = "forward"


class Middle(Own):
    WHERE = "middle"


class Validation(Own):
    WHERE = "validation"


class Said(Own):
    @classmethod
    def inputs(cls, config, schema):
        return ()

    def __init__(self, config, data):
        raise MTBenchError("this dataset has no moon")


@hookimpl
def mtbench_models(register):
    for cls in (Build, Forward, Middle, Validation, Said):
        register(cls.__name__.lower(), cls)
"""
REASONS = {
    "build": r"build: KeyError: 'no such layer'\n  .*own\.py:12, in __init__: raise KeyError\(\"no such layer\"\)$",
    "forward": (
        r"forward: RuntimeError: mat1 and mat2 shapes cannot be multiplied .*\n"
        r"  .*own\.py:20, in forward: return self\.mix\(embedded\)\n"
        r"  .*own\.py:26, in mix: return embedded @ torch\.ones\(3, 2\)$"
    ),
    "middle": r"middle: ZeroDivisionError\n  .*own\.py:22, in forward: raise ZeroDivisionError$",
    "validation": r"validation: IndexError: list index out of range\n  .*own\.py:30, in statistics: \[\]\[0\]$",
    "said": r"said: seed 0: this dataset has no moon$",
}


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(PLUGIN)
    return path


def names(folder):
    return sorted(record.recipe.model.name for record, _ in read_all(folder)[0])


@pytest.mark.parametrize("model", REASONS)
def test_a_model_that_fails_is_told_with_the_plugins_own_lines_and_the_others_are_trained(small, tmp_path, own, model):
    small |= {"models": [model, "shared-bottom", "constant"]}
    small["training"] |= {"max_epochs": 1, "batch_size": 256}
    folder, seen = tmp_path / "records", []
    with pytest.raises(ModelsError, match=f"^{REASONS[model]}") as caught:
        mtbench.run(small, records=folder, plugins=[own], on_record=seen.append)
    assert list(caught.value.failures) == [model]
    assert names(folder) == ["constant", "shared-bottom"]
    assert [one.record.recipe.model.name for one in seen] == ["shared-bottom", "constant"]
    assert not list(folder.glob("*.part"))
    with pytest.raises(ModelsError):  # the others' records are found
        mtbench.run(small, records=folder, plugins=[own])
    assert names(folder) == ["constant", "shared-bottom"]


def test_a_failed_model_is_a_row_of_the_table_and_the_exit_status_tells(small, tmp_path, own):
    path = tmp_path / "experiment.yaml"
    small |= {"models": ["forward", "shared-bottom"]}
    small["training"] |= {"max_epochs": 1}
    path.write_text(json.dumps(small))
    command = [sys.executable, "-m", "mtbench", "run", path, "--plugin", own, "--records", tmp_path / "records"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("forward ", "shared-bottom "))]
    assert [row[:2] for row in rows] == [["shared-bottom", rows[0][1]], ["forward", "failed"], ["forward", "failed:"]]
    assert "page: " in done.stdout
    assert "error: forward: RuntimeError: mat1 and mat2" in done.stderr
    assert "Traceback" not in done.stderr
    traced = subprocess.run([*command, "--traceback"], capture_output=True, text=True, check=False)
    assert "Traceback" in traced.stderr
    assert "torch/nn/modules/module.py" in traced.stderr
    lines = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout.splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["shared-bottom", "forward"]
    assert json.loads(lines[1])["failed"].startswith("RuntimeError: mat1 and mat2")


def test_a_model_that_another_process_trains_is_left_to_it(small, tmp_path, monkeypatch):
    small |= {"models": ["mmoe", "shared-bottom"]}
    small["training"] |= {"max_epochs": 1}
    start = TrainingModule.configure_optimizers

    def meet(module):
        with pytest.raises(BusyError, match=r"^mmoe: another process is running the same thing"):
            mtbench.run(small, records=tmp_path)
        monkeypatch.setattr(TrainingModule, "configure_optimizers", start)
        return start(module)

    monkeypatch.setattr(TrainingModule, "configure_optimizers", meet)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "configure_optimizers", meet)
        small["models"] = ["mmoe"]
        mtbench.run(small, records=tmp_path)
    assert names(tmp_path) == ["mmoe"]


def _interrupt_after(monkeypatch, epochs):
    """Let trainings end as by Ctrl-C in the middle of an epoch."""
    step = TrainingModule.training_step

    def interrupted(module, batch, batch_idx):
        if module.current_epoch == epochs and batch_idx == 1:
            raise KeyboardInterrupt
        return step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("file", "damage", "starts"),
    [
        ("last.ckpt", cut, True), ("last.ckpt", flip, True), ("last.ckpt", empty, True), ("best-1.pt", cut, True),
        ("best-1.pt", flip, True), ("best-0.pt", remove, True), ("last.ckpt", remove, False),
    ],
)  # fmt: skip
def test_a_seed_whose_saved_state_is_damaged_starts_anew_and_it_is_said(
    small, tmp_path, monkeypatch, capsys, file, damage, starts
):
    small["training"] |= {"max_epochs": 3, "select": "per-task"}
    mtbench.run(small, records=tmp_path / "whole")
    with monkeypatch.context() as patch:
        _interrupt_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            mtbench.run(small, records=tmp_path / "cut")
    (path,) = tmp_path.glob(f"cut/.work/*/seed-0/{file}")
    damage(path)
    capsys.readouterr()
    mtbench.run(small, records=tmp_path / "cut", progress=True)
    said = "mmoe, seed 0 starts anew, for what it had saved is damaged: " + file
    assert (said in capsys.readouterr().err) == starts
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_bit_that_was_turned_is_found_wherever_it_is(tmp_path):
    path = tmp_path / "weights.pt"
    weights = {"weight": torch.randn(50, 50), "bias": torch.zeros(3)}
    checkpoint.save(weights, path)
    assert torch.equal(checkpoint.load(path)["weight"], weights["weight"])
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(checkpoint.DamagedError, match=r"weights\.pt is not as it was written"):
            checkpoint.load(path)


WRITES = ["last.ckpt", "best.pt", "predictions.parquet", ".json"]


@pytest.mark.parametrize("file", WRITES)
def test_a_disk_that_fills_stops_the_run_with_a_remedy_and_the_same_command_goes_on(small, tmp_path, monkeypatch, file):
    small |= {"models": ["mmoe", "shared-bottom"]}
    small["training"] |= {"max_epochs": 2}
    mtbench.run(small, records=tmp_path / "whole")
    count = 0

    def fill(path, write):
        def full(part):
            part.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        nonlocal count
        count += path.name.endswith(file)
        write_atomically(path, full if path.name.endswith(file) and count == 1 else write)

    with monkeypatch.context() as patch:
        for module in ("training.checkpoint", "evaluation.predictions", "record.store"):
            patch.setattr(f"mtbench.{module}.write_atomically", fill)
        with pytest.raises(StorageError, match=r"cannot be written: No space left on device; .*make room there"):
            mtbench.run(small, records=tmp_path / "full")
    assert not names(tmp_path / "full")  # the second model was not begun: it would fail too
    assert not list(tmp_path.glob("full/**/*.part"))
    mtbench.run(small, records=tmp_path / "full")
    assert outcome(tmp_path / "full") == outcome(tmp_path / "whole")
    assert {path.suffix for path in (tmp_path / "full").iterdir()} == {".json", ".parquet"}


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["mtbench", "run", *sys.argv[2:]]
from mtbench.cli import main
main()
"""


@pytest.mark.parametrize("limit", [1_000, 20_000, 60_000])
def test_a_limit_on_the_size_of_files_is_told_in_a_line(small, tmp_path, limit):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    small["dataset"]["rows"] = 4000
    path = tmp_path / "experiment.yaml"
    path.write_text(json.dumps(small))
    environment = os.environ | {"MTBENCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", LIMITED, str(limit), path, "--records", tmp_path / "records"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written: " in done.stderr
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".") and "part" in path.name]
    assert not left


@pytest.mark.parametrize("when", ["training", "before the test split"])
def test_a_cache_that_is_removed_or_cut_while_it_is_read_is_named_with_a_remedy(small, tmp_path, monkeypatch, when):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))
    small["training"] |= {"max_epochs": 2}
    mtbench.run(small, records=tmp_path / "whole")
    step, chosen = TrainingModule.training_step, TrainingModule.on_validation_epoch_end

    def spoil():
        if when == "training":
            for file in cache.cache_root().rglob("categorical.npy"):
                os.truncate(file, file.stat().st_size // 2)
        else:
            shutil.rmtree(cache.cache_root() / "data")

    def spoil_in_a_step(module, batch, batch_idx):
        if module.current_epoch == 1 and batch_idx == 1:
            spoil()
        return step(module, batch, batch_idx)

    def spoil_at_the_end(module):
        chosen(module)
        if module.current_epoch == 1:
            spoil()

    with monkeypatch.context() as patch:
        if when == "training":
            patch.setattr(TrainingModule, "training_step", spoil_in_a_step)
        else:
            patch.setattr(TrainingModule, "on_validation_epoch_end", spoil_at_the_end)
        said = "categorical.npy is shorter than it was written" if when == "training" else "is no longer in the cache"
        with pytest.raises(StorageError, match=f"{said}.*made anew by the same command"):
            mtbench.run(small, records=tmp_path / "spoilt")
    mtbench.run(small, records=tmp_path / "spoilt")
    assert outcome(tmp_path / "spoilt") == outcome(tmp_path / "whole")
