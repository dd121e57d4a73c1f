"""What the README promises works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import mtbench
from mtbench.registry import Registry
from mtbench.testing.models import ModelSuite

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language: str, containing: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text)
    return found


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "shared_layer.py"
    path.write_text(block("python", "hookimpl"))
    return path


@pytest.mark.parametrize(
    "command", ["pip install -c constraints.txt -e . && mtbench run configs/quickstart.yaml", "pip install tox && tox"]
)
def test_the_two_commands_stand_alone_on_their_lines(command):
    assert command in README.splitlines()


def test_the_model_trains_beside_another(plugin):
    experiment = {
        "dataset": {"name": "planted", "rows": 4000, "users": 200, "items": 50},
        "models": [{"name": "shared-layer", "width": 16}, {"name": "shared-bottom", "bottom_layers": [8]}],
        "seeds": 1,
        "training": {"max_epochs": 4, "batch_size": 128, "learning_rate": 0.01, "accelerator": "cpu"},
        "metrics": ["auc"],
    }
    mine, _ = mtbench.run(experiment, plugins=[plugin])
    assert mine.record.recipe.model.settings == {
        "embedding_dim": 16,
        "embedding_dropout": 0.3,
        "wide": True,
        "width": 16,
    }
    assert mine.record.recipe.model.provenance.distribution == "shared_layer.py"
    assert mine.record.mean("click", "auc") > 0.55


def test_the_model_conforms(plugin):
    class Suite(ModelSuite):
        model = Registry.load([plugin]).resolve("model", "shared-layer")

    tests = [name for name in dir(Suite) if name.startswith("test_")]
    assert len(tests) > 5
    for name in tests:
        getattr(Suite(), name)()


def test_the_experiment_on_a_table_of_ones_own_runs():
    random = np.random.default_rng(0)
    rows = 1500
    shelf, length = random.integers(0, 8, rows), random.lognormal(12, 1, rows)
    liked = random.random(rows) < (shelf + 1) / 9
    pd.DataFrame({
        "member": random.integers(0, 60, rows),
        "product": random.integers(0, 40, rows),
        "posted_at": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(random.integers(0, 10**7, rows)), unit="s"),
        "shelf": [f"shelf {number}" for number in shelf],
        "length_ms": length.round(),
        "liked": liked.astype(int),
        "found_helpful": (random.random(rows) < 0.4).astype(int),
    }).to_csv("ratings.csv", index=False)  # fmt: skip
    experiment = yaml.safe_load(block("yaml", "ratings.csv"))
    assert [model if isinstance(model, str) else model["name"] for model in experiment["models"]] == [
        "single-task",
        "mmoe",
    ]
    small = ["seeds=1", "training.max_epochs=2", "training.batch_size=128", "training.accelerator=cpu", "metrics=[auc]"]
    done = mtbench.run(experiment, overrides=small)
    assert [record.recipe.model.name for record, _ in done] == ["single-task", "mmoe"]
    assert all(set(record.results) == {"liked", "found_helpful"} for record, _ in done)


def test_the_commands_of_the_readme_name_what_exists():
    root = Path(__file__).parents[1]
    registry = Registry.load()
    for kind, name in re.findall(r"^mtbench show (\w+) ([\w-]+)", README, re.MULTILINE):
        registry.registration(kind, name)
    for config in re.findall(r"configs/[\w-]+\.yaml", README):
        assert (root / config).is_file()
