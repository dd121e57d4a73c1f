"""Every experiment and benchmark that comes with mtbench can be run as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtbench import benchmark as benchmarks
from mtbench import experiment as experiments
from mtbench.registry import Registry

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))
BENCHMARKS = sorted((CONFIGS / "benchmarks").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_experiment_is_valid(path, monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    experiment = experiments.load(path)
    plan = experiments.plan(experiment, Registry.load(), experiments.place_of(path))
    assert [model.name for model in plan.models] == [model.name for model in experiment.models]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_row_of_the_benchmark_is_valid_and_has_a_name_of_its_own(path, monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    registry = Registry.load()
    benchmark = benchmarks.load(str(path))
    assert benchmark.name == path.stem
    cells = benchmark.cells()
    assert len({(cell.frozen.dataset.name, cell.label) for cell in cells}) == len(cells)
    for cell in cells:
        plan = experiments.plan(benchmark.experiment(cell, registry), registry, cell.label)
        tasks = {task.name: task.primary for task in plan.schema.tasks}
        assert tasks == cell.frozen.tasks
        assert {name: getattr(plan.metrics[name], "version", 1) for name in tasks.values()} == cell.frozen.metrics
        sources = {source.name: source.sha256 for source in plan.dataset.sources()}
        assert sources == cell.frozen.files
