from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "performance" / "kmeans.py"


@pytest.fixture(scope="module")
def script(load):
    return load("kmeans")


def test_inertia_is_the_weighted_sum_of_squares_within_clusters(script):
    vectors = np.array([[0, 0], [0, 4], [9, 9], [5, 5]], np.float32)
    numbers, weights = np.array([1, 1, 2, 2]), np.array([1, 3, 1, 0])
    assert script["measure_inertia"](vectors, weights, numbers) == pytest.approx(1 * 9 + 3 * 1)


def test_a_line_compares_snapshots_one_by_one(script):
    road = [script["Clustered"](9, 2.0, None, 0.5, 0), script["Clustered"](9, 3.0, 0.75, 0.25, 2)]
    first = [script["Clustered"](9, 4.0, None, 1, 0), script["Clustered"](9, 2.0, 1.0, 1, 0)]
    assert script["write_line"]("way", road, first) == ["way", "1.0000", "1.5000", "0.750", "0.750", "0.75", "2 of 4"]


def test_a_way_that_forgets_its_numbers_keeps_few_of_them(script):
    def forgetful(vectors, _weights, _before, count, rng):
        return rng.integers(1, count + 1, len(vectors))

    columns = script["prepare_dataset"]("planted")
    kept = [one.kept for one in script["cluster_snapshots"](forgetful, columns, 10)]
    assert kept[:2] == [None, None]
    assert max(kept[2:]) < 0.2


def test_mtbench_does_not_stumble(script):
    for what, (vectors, before, clusters) in script["make_hard_cases"]().items():
        assert script["count_clusters"](script["WAYS"]["mtbench"], vectors, before) == str(clusters), what


def test_a_small_run_writes_its_tables(tmp_path):
    size = ["--dataset", "planted", "--count", "3"]
    subprocess.run([sys.executable, SCRIPT, *size, "--results", tmp_path], check=True, capture_output=True)
    written = json.loads((tmp_path / "kmeans.json").read_text())
    (road,) = written["roads"].values()
    assert [len(way) for way in road.values()] == [16, 16, 16]
    assert all(one["inertia"] > 0 for way in road.values() for one in way)
    assert not any(one["differing"] for one in road["mtbench"])
    assert "| mtbench | 1.0000 | 1.0000 |" in (tmp_path / "kmeans.md").read_text()
