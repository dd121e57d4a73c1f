"""What trains a model, whether it is a network or a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from mtbench.model import Reference
from mtbench.training.networks import Networks
from mtbench.training.references import References

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytorch_lightning import Callback

    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.data.rows import SplitRows
    from mtbench.model import ModelConfig
    from mtbench.plan import Plan, PlannedModel
    from mtbench.record.form import SeedRun
    from mtbench.training.display import RunDisplay
    from mtbench.training.efficiency import Cost
    from mtbench.training.scoring import Predicted, Scorer


class Trained(Protocol):
    """A model after the training with one seed."""

    def summary(self) -> SeedRun:
        """Return how it went."""

    def predict(self, rows: SplitRows) -> Predicted:
        """Return the predictions of a split."""


class ModelTrainer(Protocol):
    """One model of an experiment, however it is trained."""

    def build(self, seed: int) -> object:
        """Return the model before its training. Raises MTBenchError for a dataset that it cannot do with."""

    def fit(self, seed: int, display: RunDisplay | None) -> Trained:
        """Train it with one seed."""

    def measure_cost(self, trained: Any, batch: Batch) -> Cost:
        """Return what it costs, measured on a batch."""


def make_trainer(
    plan: Plan,
    columns: Columns,
    scorer: Scorer,
    model: PlannedModel,
    folder: Path,
    make_callbacks: Callable[[], Sequence[Callback]] = tuple,
    observers: Sequence[Callback] = (),
) -> ModelTrainer:
    """Return what trains a model of a plan.

    ``make_callbacks`` gives each training of a network the callbacks of plugins; ``observers`` see what was chosen
    after every epoch.
    """
    name, cls, config = model.name, model.cls, model.config
    if issubclass(cls, Reference):
        return References(name, cls, config, columns, scorer)
    return Networks(name, cls, cast("ModelConfig", config), plan, columns, scorer, folder, make_callbacks, observers)
