"""Every experiment that comes with mtbench can be run as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtbench import experiment as experiments
from mtbench.registry import Registry

FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_experiment_is_valid(path, monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    experiment = experiments.load(path)
    plan = experiments.plan(experiment, Registry.load(), experiments.place_of(path))
    assert [model.name for model in plan.models] == [model.name for model in experiment.models]
