"""The networks of an experiment: one model, trained by Lightning once per seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mtbench.training import checkpoint, efficiency
from mtbench.training.fit import find_device, fit
from mtbench.training.module import predict
from mtbench.training.scoring import Predicted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytorch_lightning import Callback

    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.data.rows import SplitRows
    from mtbench.model import ModelConfig, MultiTaskModel
    from mtbench.plan import Plan
    from mtbench.record.form import SeedRun
    from mtbench.training.display import RunDisplay
    from mtbench.training.efficiency import Cost
    from mtbench.training.scoring import Scorer
    from mtbench.training.selection import Selection


@dataclass
class Networks:
    """A network with its settings; ``folder`` gets what its trainings are resumed from.

    ``make_callbacks`` gives each training the callbacks of plugins, ``observers`` see what was chosen.
    """

    name: str
    cls: type[MultiTaskModel]
    config: ModelConfig
    plan: Plan
    columns: Columns
    scorer: Scorer
    folder: Path
    make_callbacks: Callable[[], Sequence[Callback]] = tuple
    observers: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        self.training = self.plan.experiment.training
        self.device = find_device(self.training)

    def build(self, seed: int) -> MultiTaskModel:
        """Return the model as this seed initialises it."""
        torch.manual_seed(seed)
        model = self.cls(self.config, self.columns.spec)
        return model.float() if self.device.type == "mps" else model  # it has no double precision

    def fit(self, seed: int, display: RunDisplay | None) -> TrainedNetwork:
        """Train until validation no longer improves, from the last epoch that the folder holds."""
        selection = fit(
            self.plan, self.columns, self.scorer, self.build(seed), seed=seed, folder=self.folder / f"seed-{seed}",
            name=f"{self.name}, seed {seed}", display=display,
            make_callbacks=self.make_callbacks, observers=self.observers,
        )  # fmt: skip
        return TrainedNetwork(self, seed, selection)

    def measure_cost(self, trained: TrainedNetwork, batch: Batch) -> Cost:
        """Return what the model costs, measured on a batch."""
        model, batch = self.build(trained.seed).to(self.device), batch.to(self.device)
        return efficiency.Cost(
            device=efficiency.device_name(self.device),
            processes=self.training.devices,
            parameters=efficiency.count_parameters(model),
            flops_per_row=efficiency.count_flops_per_row(model, batch),
            latency_seconds=efficiency.measure_latency(model, batch),
            step_seconds=efficiency.measure_step(model, batch),
            peak_memory_bytes=efficiency.peak_memory(self.device),
        )


@dataclass
class TrainedNetwork:
    """A network that was trained with one seed; its weights are in files."""

    network: Networks
    seed: int
    selection: Selection

    def summary(self) -> SeedRun:
        """Return how the training went."""
        return self.selection.summary()

    def predict(self, rows: SplitRows) -> Predicted:
        """Return the predictions of a split, each task's by the weights that were chosen for it."""
        names = [task.name for task in self.network.plan.schema.tasks]
        values, scores = (np.empty((len(rows), len(names))) for _ in range(2))
        for path in {self.selection.weights(name) for name in names}:
            predicted = predict(self._load(path), rows, self.network.training, self.network.device)
            for column, name in enumerate(names):
                if self.selection.weights(name) == path:
                    values[:, column] = predicted.values[:, column]
                    scores[:, column] = predicted.scores[:, column]
        return Predicted(rows.rows.cpu().numpy(), values, scores)

    def _load(self, weights: Path) -> MultiTaskModel:
        model = self.network.build(self.seed)
        model.load_state_dict(checkpoint.load(weights))
        return model.to(self.network.device)
