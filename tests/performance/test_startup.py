from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "performance" / "startup.py"


def test_a_run_reaches_its_first_step_and_no_further(load, tmp_path):
    assert load("startup")["time_first_step"](tmp_path) > 0
    assert not list((tmp_path / "records").glob("*.json"))


def test_it_writes_its_table(tmp_path):
    subprocess.run([sys.executable, SCRIPT, "--rounds", "1", "--results", tmp_path], check=True, capture_output=True)
    found = json.loads((tmp_path / "startup.json").read_text())
    assert "mtbench --help" in found
    assert all(value > 0 for value in found.values())
    assert "| mtbench --help |" in (tmp_path / "startup.md").read_text()
