from __future__ import annotations

import time

import pytest

from mtbench.experiment import load_experiment
from mtbench.registry import Registry
from mtbench.tuning.studies import Storage
from mtbench.tuning.sweep import make_studies
from mtbench.tuning.trials import SweepPlan

PATIENCE = 300
"""Seconds that other processes get to do what a test waits for; no test says how fast they are."""

DIAL = '''
"""A reference that sees the labels, the less the further its dial is from 0.7."""

import os
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtbench import Choice, FloatRange, Reference, hookimpl
from mtbench.schema import Settings


class Dial(Reference):
    """Sees the labels, the less the further its dial is from 0.7."""

    class Config(Settings):
        dial: Annotated[float, FloatRange(0.0, 1.0)] = Field(0.2, description="Best at 0.7.")
        fault: Annotated[Literal["none", "bug", "memory", "harmless"], Choice(("none",))] = Field(
            "none", description="What fails."
        )
        seconds: float = Field(0.0, description="Time that a fit takes.")

    def fit(self, train, valid):
        if log := os.environ.get("DIAL_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {self.config.dial!r}\\n")
        time.sleep(self.config.seconds)
        if self.config.fault == "bug":
            raise RuntimeError("there is a bug")
        if self.config.fault == "memory":
            raise MemoryError

    def predict(self, rows):
        noise = np.random.default_rng(0).normal(size=rows.labels.shape)
        return 1 / (1 + np.exp(-(rows.labels.numpy() + (0.5 + 4 * abs(self.config.dial - 0.7)) * noise)))


@hookimpl
def mtbench_models(register):
    register("dial", Dial)
'''

SWEEP = {
    "dataset": {"name": "planted", "rows": 3000, "users": 100, "items": 50},
    "models": ["dial"],
    "seeds": 2,
    "training": {"max_epochs": 3, "batch_size": 512, "accelerator": "cpu"},
    "metrics": ["auc"],
    "sweep": {"trials": 4, "heartbeat": 1},
}


def wait_until(condition):
    """Wait until a function returns something true, and return that; the test fails if nothing comes of it."""
    for _ in range(PATIENCE * 10):
        if outcome := condition():
            return outcome
        time.sleep(0.1)
    return pytest.fail(f"waited {PATIENCE} s in vain")


@pytest.fixture
def dial(tmp_path, monkeypatch):
    """Return the file of a model with a dial, which every process of the test loads."""
    path = tmp_path / "dial.py"
    path.write_text(DIAL)
    monkeypatch.setenv("MTBENCH_PLUGINS", str(path))
    return path


@pytest.fixture
def storage(tmp_path):
    """Return the address of a database of SQLite."""
    return f"sqlite:///{tmp_path / 'sweep.db'}"


@pytest.fixture
def begin(storage):
    """Return a function that makes the studies of a sweep and what is swept."""

    def make(changes=None, *, name="test", at=storage):
        experiment = load_experiment(SWEEP | (changes or {}))
        sweep_plan = SweepPlan(experiment, Registry.load())
        return sweep_plan, make_studies(sweep_plan, Storage(at, experiment.sweep.heartbeat), name)

    return make
