from __future__ import annotations

from itertools import product

import pytest


def test_a_grid_tries_every_width_with_every_rate(load, tmp_path):
    sweeps = load("sweeps")
    content = sweeps["make_experiment"](2000, 1)
    found = sweeps["run_grid"](content, tmp_path, rates=(1e-4, 1e-2), widths=(2, 16))
    tried = [(each.params["training.learning_rate"], each.params["model.bottom_layers"]) for each in found.outcomes]
    assert tried == list(product((1e-4, 1e-2), ("[2]", "[16]")))
    assert sweeps["count_epochs"](found) == 4
    assert sweeps["average_auc"](found) == pytest.approx(sum(found.best.tasks.values()) / 3)


def test_a_sweep_in_this_process_and_its_time(load, tmp_path):
    sweeps = load("sweeps")
    found, seconds = sweeps["run_sweep"](sweeps["make_experiment"](2000, 1, trials=2), tmp_path)
    assert len(found.finished) == 2
    assert seconds >= sum(each.seconds for each in found.outcomes)


def test_a_line_has_what_was_measured_and_gaps(load):
    lines = [{"what": "one", "trials": 3, "auc": 0.75}, {"what": "two", "trials": 3, "epochs_saved": 0.4321}]
    head, rule, one, two = load("sweeps")["make_sheet"](lines).markdown().splitlines()
    assert head.split(" | ")[:3] == ["| what", "trials", "auc"]
    assert rule.count("---") == head.count(" | ") + 1
    assert one.startswith("| one | 3 | 0.7500 |")
    assert "| 43% |" in two
