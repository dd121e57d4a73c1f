from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "performance" / "profile_step.py"


@pytest.fixture(scope="module")
def profile_step(load):
    return load("profile_step")


def test_the_first_steps_do_not_count(profile_step):
    assert profile_step["median_step"]([0.0, 9.0, 10.0, 10.5, 10.7, 10.9, 11.9]) == pytest.approx(0.2)


def test_what_is_said_follows_from_what_was_measured(profile_step):
    result = {
        "model": "mmoe", "rows": 2048, "bare_ms": 50.0, "lightning_ms": 1.5, "products_ms": 20.0,
        "operations": [{"operation": "mm", "calls": 4.0, "ms": 30.0}, {"operation": "cat", "calls": 1.0, "ms": 10.0}],
    }  # fmt: skip
    assert profile_step["write_heading"](result) == (
        "mmoe: 50.0 ms for 2,048 rows, of which matrix products need 20.0 ms (40%); Lightning adds 1.50 ms (3.0%)"
    )
    assert profile_step["list_lines"](result, 1) == [["mm", "4", "30.00", "75.0%"]]


def test_a_small_run_writes_its_tables(tmp_path):
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text("dataset: {name: planted, rows: 4000}\nmodels: [{name: shared-bottom, wide: false}]\n")
    command = [sys.executable, SCRIPT, experiment, "training.batch_size=256", "--steps", "5", "--results", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    [found] = json.loads((tmp_path / "profile_step.json").read_text())
    calls = {one["operation"]: one["calls"] for one in found["operations"]}
    assert calls["mm"] >= 2  # the gradients of the bottom's first layer and of what enters it
    assert found["products_ms"] > 0
    assert "| mm |" in (tmp_path / "profile_step.md").read_text()
