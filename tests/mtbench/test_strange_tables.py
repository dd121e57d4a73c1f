"""Strange but legal tables: every model gives finite metrics, or the user is told what is wrong, in a line each.

Here each table meets one source, one split and some models; the slow test tries all of them with all, which takes an
hour or two.
"""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import product

import numpy as np
import pytest

import mtbench
from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.experiment import load_experiment
from mtbench.plan import make_plan
from mtbench.registry import Registry
from mtbench.training.prepare import prepare_data
from tests.mtbench.strange_tables import STRANGENESS, Strange

TABLES = 60
SOURCES, SPLITS = ("memory", "csv", "parquet"), ("time", "random", "official")
MODELS = sorted(Registry.load().names("model"))
AT_ONCE = 4
PLUGIN = '''
from pathlib import Path

import pyarrow.feather

from mtbench import Card, Dataset, DatasetConfig, Schema, hookimpl


class MemoryConfig(DatasetConfig, Schema):
    """A file in Arrow's format and what its columns mean."""

    path: Path


class Memory(Dataset[MemoryConfig]):
    """A table that no reader has checked."""

    Config = MemoryConfig
    card = Card(
        title="", licence="", citation="", url="", description="", acknowledged={"time-order": "Parts are mixed."}
    )

    def schema(self):
        return Schema(**{name: getattr(self.config, name) for name in Schema.model_fields})

    def load(self, files):
        return pyarrow.feather.read_table(self.config.path)


@hookimpl
def mtbench_datasets(register):
    register("memory", Memory)
'''
SMALL = {
    "embedding_dim": 4, "tower_layers": [4], "bottom_layers": [4], "expert_layers": [4], "subnetwork_layers": [4],
    "gate_layers": [4], "gate_width": 4, "gate_rank": 2, "experts": 2, "width": 8, "head_width": 8, "rounds": 5,
    "history_length": 4, "user_clusters": 3, "item_clusters": 3, "neighbors": 3, "levels": 1, "subnetworks": 2,
}  # fmt: skip


def make_experiment(table, source, split, models, folder):
    registry = Registry.load()
    dataset = table.write(source, folder)
    if "ids" in table.settings:
        dataset["ids"] = table.settings["ids"]
    sizes = [
        {"name": name}
        | {key: SMALL[key] for key in SMALL if key in registry.resolve("model", name).Config.model_fields}
        for name in models
    ]
    return {
        "dataset": dataset,
        "split": {"by": split},
        "models": sizes,
        "seeds": 1,
        "training": {"max_epochs": 1, "batch_size": 64, "accelerator": "cpu"},
        "inputs": {key: table.settings[key] for key in ("warmup", "give") if key in table.settings},
    }


def judge(experiment, folder):
    """Return what was wrong with the outcome of an experiment, and how many records there are."""
    plugin = folder / "memory.py"
    plugin.write_text(PLUGIN)
    try:
        written = mtbench.run(experiment, records=folder / "records", plugins=[plugin])
    except MTBenchError as error:
        return judge_message(str(error), experiment), 0
    faults = []
    for record, path in written:
        name = record.recipe.model.name
        predicted = predictions.read(path.with_suffix(".parquet"))["prediction"].to_numpy()
        if not np.isfinite(predicted).all():
            faults.append(f"{name}: a prediction is not finite")
        for task, metrics in record.results.items():
            for metric, values in metrics.items():
                for split, value in (("valid", values.valid[0]), ("test", values.test[0])):
                    told = any(key.startswith(f"{task}.{metric}.{split}") for key in record.undefined)
                    if not (told if value is None else math.isfinite(value)):
                        faults.append(f"{name}: {task} {metric} {split} is {value}")
    return faults, len(written)


def judge_message(message, experiment):
    """Return what is wrong with a message: each of its lines says what is wrong, and after a semicolon what to do."""
    for feature in experiment["dataset"]["features"]:
        message = message.replace(feature["name"], "NAME")  # some have lines of their own
    lines = message.split("\n")
    faults = [f"a long message: {message}"] if len(lines) > 12 or max(map(len, lines)) > 600 else []
    return faults + [f"no remedy in: {line}" for line in lines if ";" not in line]


def choose(number):
    """Return the source and split, and the models, that a table meets."""
    pairs = list(product(SOURCES, SPLITS))
    first = number * AT_ONCE
    return pairs[number % len(pairs)], [MODELS[(first + at) % len(MODELS)] for at in range(AT_ONCE)]


@pytest.fixture(autouse=True)
def _crashes_are_raised(monkeypatch):
    def describe(error):
        if isinstance(error, MTBenchError):
            return str(error)
        raise error

    monkeypatch.setattr("mtbench.training.failures.describe_crash", describe)


def check(number, source, split, models, folder):
    table = Strange(number)
    faults, _ = judge(make_experiment(table, source, split, models, folder), folder)
    assert not faults, table.strange


@pytest.mark.parametrize("number", range(TABLES))
def test_a_strange_table_gives_finite_metrics_or_a_clear_message(number, tmp_path):
    (source, split), models = choose(number)
    check(number, source, split, models, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("number", range(TABLES))
def test_each_strange_table_with_each_source_split_and_model(number, source, split, tmp_path):
    check(number, source, split, MODELS, tmp_path)


def test_most_of_the_tables_can_be_trained_on(tmp_path):
    trained, plugin = 0, tmp_path / "memory.py"
    plugin.write_text(PLUGIN)
    registry = Registry.load([plugin])
    for number in range(TABLES):
        folder = tmp_path / str(number)
        folder.mkdir()
        experiment = make_experiment(Strange(number), "memory", "random", ["constant"], folder)
        with suppress(MTBenchError):
            trained += len(prepare_data(make_plan(load_experiment(experiment), registry)).spec.targets) > 0
    assert trained > TABLES / 2


def test_every_strangeness_every_pair_and_every_model_comes_up():
    assert {name for number in range(TABLES) for name in Strange(number).strange} == set(STRANGENESS)
    chosen = [choose(number) for number in range(TABLES)]
    assert {pair for pair, _ in chosen} == set(product(SOURCES, SPLITS))
    assert {name for _, models in chosen for name in models} == set(MODELS)
