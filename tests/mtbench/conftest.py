from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import yaml

from mtbench.benchmark import Benchmark
from mtbench.evaluation import evaluate, predictions
from mtbench.experiment import load_experiment
from mtbench.files import hash_file
from mtbench.plan import make_plan
from mtbench.record import store
from mtbench.record.form import Measured, MetricValues, Predictions, Recipe, Record
from mtbench.record.store import Written
from mtbench.registry import Registry
from mtbench.schema import Task
from mtbench.training.prepare import prepare_data
from mtbench.tuning.bench import fill

if TYPE_CHECKING:
    from pathlib import Path


class Site:
    """A folder of installed distributions: packages beside their dist-info, on the path of this and child processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, source: str, version: str = "1.0", **modules: str) -> Path:
        """Install ``package`` with the given modules as a plugin of the distribution ``PACKAGE-dist``."""
        root = self.folder / package
        root.mkdir()
        (root / "__init__.py").write_text("from mtbench import hookimpl\n" + source)
        for name, content in modules.items():
            (root / f"{name}.py").write_text(content)
        self.declare(package, f"{package}-dist", version)
        return root

    def declare(self, module: str, distribution: str, version: str = "1.0") -> None:
        """Write the metadata of a distribution whose plugin is ``module``."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mtbench]\nplugin = {module}\n")
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


PROVENANCE = {"distribution": "mtbench", "sha256": "5d41402abc4b2a76b9719d911017c592"}
METRICS = {
    "auc": (True, 1.0, 0.5),
    "gauc": (True, 1.0, 0.5),
    "logloss": (False, 0.0, None),
    "rmse": (False, 0.0, None),
}


@pytest.fixture
def make_record():
    """Return a function that makes a record: ``results`` maps task -> metric -> test values, one per seed.

    Validation values are 0.01 larger. The rest is what ``bounds`` (task -> metric -> value, by kind), ``changes`` to
    the recipe and ``measured`` say.
    """

    def make(
        model="mmoe",
        results=None,
        *,
        tasks=None,
        settings=None,
        bounds=None,
        undefined=None,
        measured=None,
        baseline="single-task",
        **changes,
    ):
        results = results or {"click": {"auc": [0.71, 0.72, 0.74]}}
        tasks = tasks or [{"name": task, "metric": next(iter(metrics))} for task, metrics in results.items()]
        seeds = list(range(len(next(iter(next(iter(results.values())).values())))))
        settings = settings or {"experts": 8, "tower_layers": [64, 32]}
        names = {name for metrics in results.values() for name in metrics}
        recipe = Recipe.model_validate({
            "engine": PROVENANCE,
            "dataset": {
                "name": "movielens-100k", "settings": {"threshold": 4}, "version": 1, "provenance": PROVENANCE,
                "files": {"u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"},
            },
            "split": {
                "settings": {"by": "time", "valid": 0.1, "test": 0.1, "seed": 0},
                "rows": {"train": 80000, "valid": 10000, "test": 10000},
                "fingerprints": {"train": "aa", "valid": "bb", "test": "cc"},
            },
            "tasks": tasks,
            "metrics": {
                name: {
                    "version": 1, "higher_is_better": higher, "best": best, "chance": chance,
                    "limits": [0.0, 1.0 if higher else None],
                    "provenance": PROVENANCE,
                }
                for name, (higher, best, chance) in METRICS.items()
                if name in names
            },
            "inputs": {"warmup": 0.0, "asked": [], "pooled": []},
            "model": {"name": model, "settings": settings, "provenance": PROVENANCE},
            "balancer": {"name": "equal", "settings": {}, "provenance": PROVENANCE},
            "training": {"max_epochs": 5, "batch_size": 2048, "learning_rate": 0.001, "select": "mean"},
            "seeds": seeds,
        } | changes)  # fmt: skip
        runs = {
            str(seed): {
                "chosen": dict.fromkeys(results, 1),
                "valid": {task: [0.6, 0.7, 0.69] for task in results},
                "loss": {task: [0.5, 0.4, 0.3] for task in results},
                "seconds": [1.5, 1.25, 1.25],
            }
            for seed in recipe.seeds
        }
        return Record(
            key=recipe.key,
            recipe=recipe,
            results={task: {name: _cell(values) for name, values in each.items()} for task, each in results.items()},
            undefined=undefined or {},
            bounds={
                kind: {task: {name: _cell([value]) for name, value in each.items()} for task, each in of.items()}
                for kind, of in (bounds or {}).items()
            },
            measured=Measured.model_validate(
                {
                    "created": "2025-03-01T12:00:00+00:00",
                    "environment": {"python": "3.11.9", "torch": "2.7.1"},
                    "versions": {"mtbench": "0.1.0"},
                    "device": "cpu",
                    "processes": 1,
                    "parameters": 1234567,
                    "flops_per_row": 25088.0,
                    "step_seconds": 0.0125,
                    "latency_seconds": 0.0042,
                    "peak_memory_bytes": 734003200,
                    "seconds": 4.0 * len(seeds),
                    "seeds": runs,
                    "test_opened": 1,
                    "warnings": [],
                }
                | (measured or {})
            ),
            predictions=Predictions(
                sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", rows=60000
            ),
            baseline=baseline,
        )

    return make


@pytest.fixture
def make_predicted(make_record, tmp_path):
    """Return a function that writes a record with its predictions into ``tmp_path / "records"``, and returns it.

    ``noise`` is what its logits have beside the truth, each seed anew; labels and users are the same for every record.
    """

    def make(model="mmoe", *, seeds=5, noise=1.0, tasks=("click", "buy"), users=30, rows=600, rate=0.5, **changes):
        truth = np.random.default_rng(0)
        group = truth.integers(0, users, rows) if users else None
        logits = truth.normal(size=(rows, len(tasks))) + np.log(rate / (1 - rate))
        labels = (truth.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
        rng = np.random.default_rng([ord(letter) for letter in model])
        found = pa.concat_tables(
            predictions.make_table(
                seed, split, tasks, np.arange(rows), label=labels, mask=np.ones(labels.shape, bool), user=group,
                prediction=1 / (1 + np.exp(-logits - noise * rng.normal(size=logits.shape))),
            )
            for seed in range(seeds)
            for split in predictions.SPLITS
        )  # fmt: skip
        kinds = [Task(name=task, metric="auc") for task in tasks]
        values = evaluate.evaluate(found, kinds, {"auc": Registry.load().metric("auc")}).values
        results = {task: {"auc": values[task]["auc"].test} for task in tasks}
        bounds = {"constant": {task: {"auc": 0.5} for task in tasks}}
        record = make_record(model, results, **({"bounds": bounds} | changes))
        path = tmp_path / "records" / "predictions"
        lines = predictions.write([found], path)
        about = Predictions(sha256=hash_file(path), rows=lines)
        written = store.write(record.model_copy(update={"predictions": about}), tmp_path / "records")
        path.rename(written.with_suffix(".parquet"))
        return Written(store.read(written), written)

    return make


def _cell(values):
    return MetricValues(valid=[None if value is None else value + 0.01 for value in values], test=values)


PLANTED = {"name": "planted", "rows": 3000, "users": 100, "items": 50}


@pytest.fixture(scope="session")
def planted_benchmark() -> dict:
    """Return what a benchmark file on generated data says."""
    plan = make_plan(load_experiment({"dataset": PLANTED, "models": ["constant"]}), Registry.load())
    columns = prepare_data(plan)
    return {
        "name": "planted-v1",
        "about": "Generated data.",
        "baseline": "single-task",
        "balancer": "equal",
        "seeds": 5,
        "sweep": {"trials": 2, "heartbeat": 1},
        "datasets": [
            {
                "dataset": PLANTED,
                "version": columns.meta["version"],
                "files": {},
                "split": columns.meta["split"],
                "fingerprints": columns.meta["fingerprints"],
                "tasks": {task.name: task.primary for task in plan.schema.tasks},
                "metrics": {task.primary: 1 for task in plan.schema.tasks},
                "training": {"max_epochs": 2, "batch_size": 512, "accelerator": "cpu"},
                "settings": {"dropout": 0.1},
                "give": ["recent"],
            }
        ],
        "entries": [
            {"model": "constant"},
            {"model": {"name": "shared-bottom", "bottom_layers": [8]}},
            {"model": {"name": "single-task", "tower_layers": [4]}, "rows": ["default", "tuned"]},
        ],
    }


@pytest.fixture(scope="session")
def planted_board(planted_benchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the benchmark's default records, their predictions, and the benchmark in its place."""
    folder = tmp_path_factory.mktemp("board")
    place = folder / "configs" / "benchmarks"
    place.mkdir(parents=True)
    (place / "planted-v1.yaml").write_text(yaml.safe_dump(planted_benchmark))
    benchmark = Benchmark.model_validate(planted_benchmark)
    fill(benchmark.model_copy(update={"entries": benchmark.entries[:2]}), folder / "records")
    return folder
