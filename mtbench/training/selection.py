"""Which epoch is kept: decided by validation alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl

from mtbench.record.form import SeedRun
from mtbench.training import checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtbench.experiment import Training
    from mtbench.schema import Task
    from mtbench.training.module import TrainingModule

LAST = "last.ckpt"


class Selection(pl.Callback):
    """Scores each epoch, keeps the best weights, stops when validation no longer improves, and saves where it stands.

    ``folder`` gets ``last.ckpt`` (everything that a resumed run needs) and the weights of the best epoch: ``best.pt``,
    or one file per task where each task keeps its own.
    """

    HISTORY = ("valid", "loss", "improvement", "seconds", "statistics")

    def __init__(self, folder: Path, tasks: Sequence[Task], training: Training) -> None:
        self.folder = folder
        self.training = training
        self.names = [task.name for task in tasks]
        self.valid: dict[str, list[float]] = {name: [] for name in self.names}
        self.loss: dict[str, list[float]] = {name: [] for name in self.names}
        self.improvement: dict[str, list[float]] = {name: [] for name in self.names}
        self.seconds: list[float] = []
        self.statistics: dict[str, list[float]] = {}
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the history as plain JSON types."""
        return {name: getattr(self, name) for name in self.HISTORY}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a history."""
        for name in self.HISTORY:
            setattr(self, name, state_dict[name])

    def restore(self) -> bool:
        """Take up the history of ``last.ckpt``; return whether there is one.

        Raises DamagedError if it is not as it was written.
        """
        if not (self.folder / LAST).is_file():
            return False
        history = checkpoint.load(self.folder / LAST)["callbacks"][self.state_key]
        self.load_state_dict(history)
        return True

    def require_weights(self) -> None:
        """Raise DamagedError if weights that were chosen are not as they were written."""
        for path in {self.weights(name) for name in self.names}:
            checkpoint.load(path)

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done, or validation has not improved for as long as patience lasts."""
        epochs = len(self.seconds)
        if not epochs:
            return False
        return epochs >= self.training.max_epochs or epochs - 1 - max(self.chosen().values()) >= self.training.patience

    def scores(self) -> list[float]:
        """Return the mean over tasks of the improvement, by epoch."""
        means: list[float] = np.array([self.improvement[name] for name in self.names]).mean(0).tolist()
        return means

    def chosen(self) -> dict[str, int]:
        """Return the epoch, from 0, that each task is predicted with; the first of equals."""
        history = np.array([self.improvement[name] for name in self.names])
        if self.training.select == "mean":
            history = np.tile(self.scores(), (len(self.names), 1))
        return {name: int(epoch) for name, epoch in zip(self.names, history.argmax(1), strict=True)}

    def weights(self, task: str) -> Path:
        """Return the file with the weights that a task is predicted with."""
        return self.folder / ("best.pt" if self.training.select == "mean" else f"best-{self.names.index(task)}.pt")

    def summary(self) -> SeedRun:
        """Return how the training went."""
        return SeedRun(
            chosen=self.chosen(),
            valid=self.valid,
            loss=self.loss,
            seconds=self.seconds,
            statistics=self.statistics,
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:  # type: ignore[override]
        """Score, choose and save; the best weights first, so that a kill in between costs nothing."""
        assert pl_module.valid_predictions is not None
        values = pl_module.scorer.values(pl_module.valid_predictions)
        improvements = pl_module.scorer.improvements(values)
        steps = trainer.num_training_batches
        for column, name in enumerate(self.names):
            self.valid[name].append(values[name])
            self.improvement[name].append(improvements[name])
            self.loss[name].append(pl_module.epoch_loss[column].item() / steps)
        for name, value in pl_module.valid_statistics.items():
            self.statistics.setdefault(name, []).append(value)
        self.seconds.append(time.perf_counter() - self._started)
        epoch, chosen = len(self.seconds) - 1, self.chosen()
        if trainer.is_global_zero:
            for path in {self.weights(name) for name in self.names if chosen[name] == epoch}:
                checkpoint.save(pl_module.model.state_dict(), path)
        trainer.should_stop = self.finished
        trainer.save_checkpoint(self.folder / LAST)
