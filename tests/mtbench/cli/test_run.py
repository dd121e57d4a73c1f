from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from mtbench.record.store import read

EXPERIMENT = {
    "dataset": {"name": "planted", "rows": 4000, "users": 200, "items": 50},
    "models": [{"name": "shared-bottom", "bottom_layers": [8]}, {"name": "mmoe", "experts": 2, "expert_layers": [8]}],
    "seeds": 2,
    "training": {"max_epochs": 1, "batch_size": 512, "accelerator": "cpu"},
    "metrics": ["auc", "logloss"],
}
COMMAND = [sys.executable, "-c", "from mtbench.cli import main; main()", "run"]


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT))
    return path


def call(*arguments: object, cwd) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)


def test_json_alone_on_stdout_and_the_records_behind_it(experiment, tmp_path):
    done = call(experiment, "--json", "--set", "models.1.experts=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["model"] for line in lines] == ["shared-bottom", "mmoe"]
    for line in lines:
        assert line["dataset"] == "planted"
        record = read(tmp_path / line["path"])
        for task in ("click", "conversion", "like"):
            values = record.results[task]["auc"].test
            assert line["test"][task]["auc"] == pytest.approx(sum(values) / 2, abs=1e-12)
    assert record.recipe.model.settings["experts"] == 3
    assert "mmoe, seed 1" in done.stderr


def test_a_table_the_records_and_the_page(experiment, tmp_path):
    done = call(experiment, "--records", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for expected in ("mmoe", "optimum", "constant predictor", "parameters", "seconds", "±"):
        assert expected in done.stdout
    assert str(tmp_path / "out" / "site" / "index.html") in done.stdout
    assert (tmp_path / "out" / "site" / "index.html").is_file()


def test_validate_stops_after_checking(experiment, tmp_path):
    done = call(experiment, "--validate", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [experiment])
    done = call(experiment, "--validate", "--set", "training.batch_sise=3", cwd=tmp_path)
    assert done.returncode == 1
    assert "did you mean 'batch_size'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_with_the_same_command(experiment, tmp_path, sent):
    long = ["--set", "training.max_epochs=300", "--set", "training.patience=300"]
    with subprocess.Popen(
        [*COMMAND, str(experiment), *long], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        while not list(tmp_path.glob("records/.work/*/seed-0/last.ckpt")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + sent
    assert "Traceback" not in stderr
    assert "interrupted; the same command goes on from here" in stderr
    assert list(tmp_path.glob("records/.work/*/seed-0/last.ckpt"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_full_disk_is_told_and_leaves_nothing_half_written(experiment, tmp_path):
    folder = tmp_path / "small-disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        done = call(experiment, "--records", folder, cwd=tmp_path)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(folder.glob("*.json"))
        assert not list(folder.glob("*.parquet"))
    finally:
        subprocess.run(["umount", folder], check=True)
