from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "performance" / "step_cost.py"


@pytest.fixture(scope="module")
def step_cost(load):
    return load("step_cost")


def test_growth_is_the_ratio_of_the_largest_to_the_smallest(step_cost):
    found = {name: {10: 2.0, 100: 3.0, 1000: 5.0} for name in ("rows", *step_cost["UPDATES"])}
    head, rows, *_ = step_cost["list_lines"](found)
    assert head == ["what", "10", "100", "1,000", "growth"]
    assert rows == ["rows: µs a row", "2.00", "3.00", "5.00", "2.50x"]


@pytest.mark.parametrize("update", ["adam", "row-adam", "row-adagrad"])
def test_a_module_has_the_vocabulary_and_the_update_that_are_asked_for(step_cost, update):
    module = step_cost["draw_module"](800, update, steps=2)
    assert module.model.embed.table.shape[0] == 800
    assert int(module.columns.train.categorical.max()) < 100
    rules = [group.get("rule", "adam") for group in module.configure_optimizers().param_groups]
    assert rules[-1] == update


def test_a_small_run_writes_its_table(tmp_path):
    size = ["--size", "3000", "--size", "6000", "--steps", "5", "--rounds", "1"]
    subprocess.run([sys.executable, SCRIPT, *size, "--results", tmp_path], check=True, capture_output=True)
    found = json.loads((tmp_path / "step_cost.json").read_text())
    assert all(value > 0 for of in found.values() for value in of.values())
    assert "| rows: µs a row |" in (tmp_path / "step_cost.md").read_text()
