"""Labels that single precision cannot hold give what small ones give, and what a plain calculation in float64 gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import xlogy

import mtbench
from mtbench.evaluation import predictions

ROWS = 3000
MODELS = [
    {"name": "mmoe", "experts": 2, "expert_layers": [16], "tower_layers": [8], "embedding_dim": 4, "dropout": 0.0},
    "constant",
    "means",
    "logistic-regression",
    {"name": "lightgbm", "rounds": 60},
]


@pytest.fixture
def run_on(tmp_path):
    """Return a function that runs models on labels, 0 to 82 plus a base, that a number and a category tell of."""
    rng = np.random.default_rng(0)
    x, shelf, click = rng.normal(size=ROWS), rng.integers(200, size=ROWS), rng.integers(2, size=ROWS)
    own = (41 + 12 * x + 8 * (shelf % 3 - 1) + 5 * rng.normal(size=ROWS)).round().clip(0, 82)

    def run(base, kind="regression", models=MODELS, labels=own):
        path = tmp_path / "rows.parquet"
        table = pd.DataFrame({"x": x, "shelf": shelf, "click": click, "y": base + labels})
        table.to_parquet(path)
        experiment = {
            "dataset": {
                "name": "table", "path": str(path), "item": "shelf",
                "tasks": ["click", {"name": "y", "kind": kind}],
                "features": [{"name": "x", "kind": "numeric"}],
            },
            "split": {"by": "random"},
            "models": models,
            "seeds": 1,
            "training": {
                "max_epochs": 8, "patience": 8, "batch_size": 256, "learning_rate": 0.01, "accelerator": "cpu",
            },
        }  # fmt: skip
        return {
            written.record.recipe.model.name: (
                written.record, predictions.read(written.path.with_suffix(".parquet")).to_pandas()
            )
            for written in mtbench.run(experiment, records=tmp_path / "records")
        }  # fmt: skip

    return run


def of_y(table, split="test"):
    return table[(table["task"] == "y") & (table["split"] == split)]


@pytest.mark.parametrize("base", [1e7 + 0.1, 1.6e9])
def test_errors_are_those_of_small_labels(run_on, base):
    small, large = run_on(0), run_on(base)
    for name, (record, table) in large.items():
        near, of_small = small[name]
        alike = 1e-2 if name == "lightgbm" else 1e-4  # one split of a tree may fall the other way
        assert of_y(table)["label"].nunique() > 60
        np.testing.assert_array_equal(of_y(table)["label"], base + of_y(of_small)["label"])
        for split in predictions.SPLITS:
            rows = of_y(table, split)
            errors = rows["prediction"] - rows["label"]
            for metric, slow in (("rmse", np.sqrt(np.square(errors).mean())), ("mae", errors.abs().mean())):
                value = getattr(record.results["y"][metric], split)[0]
                assert value == pytest.approx(slow, rel=1e-9)
                assert value == pytest.approx(getattr(near.results["y"][metric], split)[0], rel=alike)
        bound, of_constant = (one.bounds["constant"]["y"]["rmse"].test[0] for one in (record, near))
        assert bound == pytest.approx(of_constant, rel=1e-9)
        assert bound == pytest.approx(large["constant"][0].results["y"]["rmse"].test[0], rel=1e-12)
        if name != "constant":
            assert record.results["y"]["rmse"].test[0] < (0.99 if name == "means" else 0.6) * bound
            run = record.measured.seeds["0"]
            assert run.valid["y"][run.chosen["y"]] == record.results["y"]["rmse"].valid[0]


def test_counts_beyond_two_to_the_31(run_on):
    counts = np.random.default_rng(1).poisson(10 * np.arange(1, ROWS + 1)) * 1e6 + 1
    assert counts.max() > 2**31
    for record, table in run_on(0, "count", labels=counts).values():
        rows = of_y(table)
        assert set(rows["label"]) <= set(counts)
        rate, label = rows["prediction"], rows["label"]
        deviance = 2 * (xlogy(label, label / rate) - label + rate)
        assert record.results["y"]["poisson_deviance"].test[0] == pytest.approx(deviance.mean(), rel=1e-9)


def test_grades_are_exact(run_on):
    grades = np.random.default_rng(2).integers(1, 6, ROWS)
    small, large = (run_on(base, "ordinal", MODELS[:1], grades)["mmoe"] for base in (0, 10_000_000))
    for metric in ("qwk", "rmse", "mae"):
        assert large[0].mean("y", metric) == pytest.approx(small[0].mean("y", metric), rel=1e-6)
    assert sorted(set(of_y(large[1])["label"])) == [10_000_001.0 + grade for grade in range(5)]
    shifted = of_y(large[1])["prediction"] - 10_000_000
    np.testing.assert_allclose(shifted, of_y(small[1])["prediction"], rtol=1e-7)
