"""Every experiment and benchmark that comes with mtbench can be run as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtbench import benchmark as benchmarks
from mtbench.experiment import load_experiment, name_source
from mtbench.plan import make_plan
from mtbench.registry import Registry

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))
BENCHMARKS = sorted((CONFIGS / "benchmarks").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_experiment_is_valid(path, monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    experiment = load_experiment(path)
    plan = make_plan(experiment, Registry.load(), name_source(path))
    assert [model.name for model in plan.models] == [model.name for model in experiment.models]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_row_of_the_benchmark_is_valid_and_has_a_name_of_its_own(path, monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    registry = Registry.load()
    benchmark = benchmarks.load(str(path))
    assert benchmark.name == path.stem
    cells = benchmark.rows()
    assert len({(row.frozen.dataset.name, row.label) for row in cells}) == len(cells)
    for row in cells:
        plan = make_plan(benchmark.experiment(row, registry), registry, row.label)
        tasks = {task.name: task.primary for task in plan.schema.tasks}
        assert tasks == row.frozen.tasks
        assert {name: getattr(plan.metrics[name], "version", 1) for name in tasks.values()} == row.frozen.metrics
        sources = {source.name: source.sha256 for source in plan.dataset.sources()}
        assert sources == row.frozen.files
