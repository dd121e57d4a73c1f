from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = Path(__file__).parents[2] / "performance" / "evaluation.py"


def test_every_user_has_both_classes_and_no_two_predictions_are_alike(load):
    predictions, labels, users = load("evaluation")["draw_rows"](30, 4)
    assert len(predictions.unique()) == 120
    positives = torch.bincount(users, weights=labels.double())
    assert ((positives > 0) & (positives < 4)).all()


def test_a_small_run_finds_equal_values(tmp_path):
    size = ["--users", "50", "--items", "12", "--growing", "20", "--rounds", "1"]
    subprocess.run([sys.executable, SCRIPT, *size, "--results", tmp_path], check=True, capture_output=True)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert [entry["metric"] for entry in written["beside"]] == ["gauc", "ndcg@10", "hr@10"]
    assert all(entry["difference"] < 1e-7 and entry["seconds"] > 0 for entry in written["beside"])
    assert all(entry["growth"] == entry["more"] / entry["seconds"] for entry in written["growth"])
    table = (tmp_path / "evaluation.md").read_text()
    assert "| gauc |" in table
    assert "100 rows, s | 1,000 rows, s |" in table
