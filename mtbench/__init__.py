"""Fair, extensible and verifiable benchmarks of multi-task recommenders.

Names are imported when they are first used: ``import mtbench`` loads neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.data.dataset import Dataset, DatasetConfig
    from mtbench.errors import MTBenchError
    from mtbench.evaluation.metric import Metric
    from mtbench.experiment import Experiment
    from mtbench.hookspecs import hookimpl
    from mtbench.model import ModelConfig, MultiTaskModel, Reference
    from mtbench.record import Record
    from mtbench.registry import Registry
    from mtbench.schema import Card, Choice, Feature, FloatRange, IntRange, ModelCard, Schema, Split, Task
    from mtbench.training.balancing import Balancer
    from mtbench.training.run import run
    from mtbench.tuning.sweep import sweep

    __version__: str

_HOMES = {
    "Balancer": "mtbench.training.balancing",
    "Card": "mtbench.schema",
    "Choice": "mtbench.schema",
    "Dataset": "mtbench.data.dataset",
    "DatasetConfig": "mtbench.data.dataset",
    "Experiment": "mtbench.experiment",
    "Feature": "mtbench.schema",
    "FloatRange": "mtbench.schema",
    "IntRange": "mtbench.schema",
    "MTBenchError": "mtbench.errors",
    "Metric": "mtbench.evaluation.metric",
    "ModelCard": "mtbench.schema",
    "ModelConfig": "mtbench.model",
    "MultiTaskModel": "mtbench.model",
    "Record": "mtbench.record",
    "Reference": "mtbench.model",
    "Registry": "mtbench.registry",
    "Schema": "mtbench.schema",
    "Split": "mtbench.schema",
    "Task": "mtbench.schema",
    "hookimpl": "mtbench.hookspecs",
    "run": "mtbench.training.run",
    "sweep": "mtbench.tuning.sweep",
}

__all__ = [
    "Balancer",
    "Card",
    "Choice",
    "Dataset",
    "DatasetConfig",
    "Experiment",
    "Feature",
    "FloatRange",
    "IntRange",
    "MTBenchError",
    "Metric",
    "ModelCard",
    "ModelConfig",
    "MultiTaskModel",
    "Record",
    "Reference",
    "Registry",
    "Schema",
    "Split",
    "Task",
    "__version__",
    "hookimpl",
    "run",
    "sweep",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = metadata.version("mtbench")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'mtbench' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
