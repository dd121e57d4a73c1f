from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "performance" / "scale.py"


@pytest.fixture(scope="module")
def scale(load):
    return load("scale")


def measured(scale, per_unit, *sizes):
    return [scale["Measured"](size, 2 + per_unit * size, 0, 3_000 + 7 * size, 0) for size in sizes]


def test_the_projection_follows_the_line(scale):
    sizes = np.array([5e6, 15e6, 50e6])
    projected = scale["project"](sizes, 3 + 8e-6 * sizes)
    assert projected.value == pytest.approx(8003)
    assert (projected.fixed, projected.slope) == pytest.approx((3, 8e-6))
    assert projected.error == pytest.approx(0, abs=1e-9)


def test_a_projection_never_falls_with_size(scale):
    sizes = np.array([1.0, 2.0, 3.0])
    falling = scale["project"](sizes, np.array([3.0, 2.0, 1.0]))
    assert falling.value == pytest.approx(2)
    assert falling.error == pytest.approx(1)


def test_no_projection_from_one_size(scale):
    assert scale["project_all"](measured(scale, 1, 10, 10)) == {}
    assert scale["project_all"](measured(scale, 1, 10, 20))["seconds"].value == pytest.approx(1e9 + 2)


def test_bars_compare_the_sizes_that_they_name(scale):
    sizes = (5_000_000, 20_000_000, 50_000_000)
    bars = scale["check_bars"](measured(scale, 1e-6, *sizes), measured(scale, 1e-6, *sizes))
    assert [bar.verdict for bar in bars] == ["pass", "FAIL", "pass", "pass"]
    assert bars[0].value == pytest.approx(5 / 7 * 1e6)
    assert bars[1].value == pytest.approx(4, rel=1e-3)
    assert bars[2].value == pytest.approx((52 / 50) / (7 / 5))
    bars = scale["check_bars"](measured(scale, 1e-5, 1_000_000), measured(scale, 1e-5, 2_000_000_000))
    assert [bar.verdict for bar in bars] == ["FAIL", "not measured", "not measured", "FAIL"]


def test_small_sizes_run_from_end_to_end(tmp_path):
    sizes = ["--rows", "2000", "--edges", "2000", "--edges", "1000"]
    folders = ["--work", str(tmp_path), "--results", str(tmp_path / "results")]
    done = subprocess.run([sys.executable, SCRIPT, *sizes, *folders], capture_output=True, text=True, check=True)
    assert "Projection to 1,000,000,000" in done.stdout
    report = json.loads((tmp_path / "results" / "scale.json").read_text())
    assert [each["size"] for each in report["preparation"]] == [2000]
    assert [each["size"] for each in report["macro graph"]] == [1000, 2000]
    for each in (*report["preparation"], *report["macro graph"]):
        assert each["seconds"] > 0
        assert 5e7 < each["before"] <= each["peak"] < 3e9
        assert each["anonymous"] <= each["peak"]
    document = (tmp_path / "results" / "scale.md").read_text()
    assert "| 2,000 |" in document
    assert str(tmp_path) not in document
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
