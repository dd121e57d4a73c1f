"""Networks come as near to the best possible ratings and plays of planted data as an experiment that comes along says.

The experiment has all networks and more rows; here are those that train in seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mtbench import run
from mtbench.experiment import load_experiment

EXPERIMENT = Path(__file__).parents[3] / "configs" / "planted-kinds.yaml"
FAST = ("single-task", "shared-bottom", "mmoe", "esmm", "aitm")
NEAR = 0.01


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimum")
    whole = load_experiment(EXPERIMENT)
    experiment = whole.model_dump(mode="json", exclude_unset=True) | {
        "models": [model.model_dump() for model in whole.models if model.name in FAST]
    }
    smaller = ["dataset.rows=60000", "training.batch_size=512", "training.max_epochs=4", "training.accelerator=cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTBENCH_CACHE", str(folder / "cache"))
        return [written.record for written in run(experiment, records=folder, overrides=smaller)]


@pytest.mark.parametrize(("task", "metric"), [("rating", "qwk"), ("plays", "poisson_deviance")])
def test_networks_come_near_the_optimum(records, task, metric):
    assert {record.recipe.model.name for record in records} == set(FAST)
    for record in records:
        constant, reachable, optimum = (
            record.bounds[kind][task][metric].test[0] for kind in ("constant", "reachable", "optimum")
        )
        assert reachable == optimum
        assert abs(optimum - constant) > 20 * NEAR
        (value,) = record.results[task][metric].test
        assert abs(value - optimum) < NEAR, f"{record.recipe.model.name}: {value:.4f}, and {optimum:.4f} is the best"
