"""The Lightning module: one model, its balancer, one step."""

from __future__ import annotations

import math
import pickle
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from mtbench.data.rows import Batches
from mtbench.errors import MTBenchError
from mtbench.nn.embedding import FusedTable
from mtbench.registry import Registry
from mtbench.training.balancing import GradientBalancer
from mtbench.training.optimizers import RowWise
from mtbench.training.scoring import Predicted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.data.rows import SplitRows
    from mtbench.experiment import Training
    from mtbench.model import MultiTaskModel
    from mtbench.training.balancing import Balancer
    from mtbench.training.scoring import Scorer

FINITE_CHECK_EVERY = 50
DEVICE_SHARE = 0.25
PROBE_ROWS = 64
"""Rows of each task by which the parameters that tasks share are found."""


class Validated(NamedTuple):
    """A validation batch: its ``rows`` (n,), their predictions and scores, (n, tasks) each, and what the model said."""

    rows: Tensor
    values: Tensor
    scores: Tensor
    statistics: Mapping[str, float]


class TrainingModule(pl.LightningModule):
    """Trains a model on the training rows and predicts the validation rows after each epoch.

    All randomness of epoch e comes from (seed, e), so that a resumed run equals one that was never interrupted.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        balancer: Balancer,
        scorer: Scorer,
        columns: Columns,
        training: Training,
        seed: int,
        plugin_files: Sequence[Path] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.balancer = balancer
        self.scorer = scorer
        self.columns = columns
        self.plugin_files = plugin_files
        self.training_settings = training
        self.seed = seed
        self.epoch_loss = torch.zeros(len(columns.schema.tasks))
        self.epoch_steps = torch.zeros_like(self.epoch_loss)
        self.row_wise = _make_row_wise(model) if training.embeddings != "adam" else {}
        self.balanced = len(columns.schema.tasks) > 1
        self.shared: list[torch.nn.Parameter] = []
        if self.balanced and isinstance(balancer, GradientBalancer):
            # from the initial weights, on the CPU: a resumed run, and one on another device, finds the same
            self.shared = list(model.shared_parameters(_take_probe(columns.train)))
        self.own = [parameter for parameter in _list_trainable(model) if parameter not in set(self.shared)]
        self.validated: list[Validated] = []
        self.valid_predictions: Predicted | None = None
        self.valid_statistics: dict[str, float] = {}
        self._on_device: dict[str, SplitRows] = {}
        self._random: list[Tensor] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process must have loaded the plugin files before it can find the classes that they define.
        parts = (self.model, self.balancer, self.scorer, self.columns, self.training_settings, self.seed)
        return _revive, (pickle.dumps(parts), self.plugin_files)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return fused Adam over everything that learns, or with row-wise updates of tables."""
        settings = self.training_settings
        parameters = _list_trainable(self.model)
        if not parameters:
            raise MTBenchError("the model has no trainable parameters; register it as layers in __init__")
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in parameters if parameter not in self.row_wise]}
        ]
        if balancing := _list_trainable(self.balancer):
            rate = self.balancer.learning_rate or settings.learning_rate
            groups.append({"params": balancing, "lr": rate, "weight_decay": 0.0})
        common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
        if not self.row_wise:
            return torch.optim.Adam(groups, **common)
        groups.append({"params": list(self.row_wise), "rule": settings.embeddings})
        return RowWise(groups, **common)

    def train_dataloader(self) -> Batches:
        """Return the training rows in the order of this epoch."""
        shuffle = self.epoch_seed(stream=0)
        return self._batches("train", self.columns.train, shuffle)

    def val_dataloader(self) -> Batches:
        """Return the validation rows in order."""
        return self._batches("valid", self.columns.valid, None)

    def _batches(self, part: str, rows: SplitRows, shuffle: int | None) -> Batches:
        if part not in self._on_device:
            self._on_device[part] = _move_if_small(rows, self.device)
        trainer = self.trainer
        return Batches(
            self._on_device[part],
            self.training_settings.rows_per_step,
            shuffle=shuffle,
            together=self.training_settings.shuffle_rows,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )

    def epoch_seed(self, stream: int) -> int:
        """Return the seed of this epoch for one use of randomness."""
        return int(np.random.SeedSequence((self.seed, self.current_epoch, stream)).generate_state(1, np.uint64)[0] >> 1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the balanced loss of a batch. Raises MTBenchError if it is not finite."""
        if batch_idx == 0:
            torch.manual_seed(self.epoch_seed(stream=1 + self.global_rank))
            self.epoch_loss = torch.zeros(len(self.columns.schema.tasks), device=self.device)
            self.epoch_steps = torch.zeros_like(self.epoch_loss)
        if self.balancer.revisits:
            self._random = _save_random_state(self.device)
        losses = self._compute_losses(batch)
        if losses.shape != self.epoch_loss.shape:
            raise MTBenchError(
                f"loss() returned shape {tuple(losses.shape)}; return one loss per task, "
                f"shape {tuple(self.epoch_loss.shape)}"
            )
        self.epoch_loss += losses.detach()
        self.epoch_steps += self.balancer.find_present(losses)
        if self.device.type == "cpu" or batch_idx % FINITE_CHECK_EVERY == 0:
            self._require_finite(losses, batch_idx)
        total: Tensor = self.balancer(losses) if self.balanced else losses.sum()
        return total

    def backward(self, loss: Tensor) -> None:
        """Set the gradients of a step."""
        if self.balanced and isinstance(self.balancer, GradientBalancer):
            self.balancer.backward(loss, self.shared, self.own)
        else:
            torch.autograd.backward(loss)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Give a balancer that asks for it the losses after the step, with the random numbers of those before."""
        if not (self.balanced and self.balancer.revisits):
            return
        with _replay(self._random, self.device), self.trainer.precision_plugin.train_step_context(), torch.no_grad():
            losses = self._compute_losses(batch)
        self.balancer.after_step(losses)

    def _compute_losses(self, batch: Batch) -> Tensor:
        """Return the losses in single precision, whatever a model makes of labels in double."""
        return self.model.loss(self.model(batch), batch).float()

    def _require_finite(self, losses: Tensor, step: int | None) -> None:
        if torch.isfinite(losses).all():
            return
        column = int((~torch.isfinite(losses)).nonzero()[0])
        task = self.columns.schema.tasks[column].name
        where = f"epoch {self.current_epoch + 1}" + (f", step {step + 1}" if step is not None else "")
        raise MTBenchError(
            f"{where}: the loss of task '{task}' is {losses[column].item()}; "
            f"lower training.learning_rate (now {self.training_settings.learning_rate:g}), "
            "or compress heavy-tailed numeric features (log: true)"
        )

    def on_validation_epoch_start(self) -> None:
        """Close the epoch's losses, shared by all processes, and forget the last predictions."""
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(self.epoch_loss)
            self.epoch_loss /= distributed.get_world_size()
        self._require_finite(self.epoch_loss, None)
        with torch.inference_mode(mode=False):  # what the balancer keeps takes part in later steps
            self.balancer.end_epoch(self.epoch_loss / self.epoch_steps)
        self.validated = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Predict a batch."""
        if len(batch):
            values, scores = _predict_batch(self.model, batch)
            self.validated.append(Validated(batch.rows, values, scores, self.model.statistics()))

    def on_validation_epoch_end(self) -> None:
        """Collect the predictions of all processes, each row once, and the statistics."""
        rows = torch.cat([part.rows for part in self.validated]).cpu().numpy()
        values = torch.cat([part.values for part in self.validated]).cpu().double().numpy()
        scores = torch.cat([part.scores for part in self.validated]).cpu().double().numpy()
        inside = [(len(part.rows), part.statistics) for part in self.validated]
        if distributed.is_available() and distributed.is_initialized():
            gathered: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(gathered, (rows, values, scores, inside))
            *columns, all_inside = zip(*gathered, strict=True)
            order = np.argsort(np.concatenate(columns[0]))
            rows, values, scores = (np.concatenate(parts)[order] for parts in columns)
            inside = list(chain.from_iterable(all_inside))
        self.valid_predictions = Predicted(rows, values, scores)
        self.valid_statistics = _average(inside)


def _revive(parts: bytes, plugin_files: Sequence[Path]) -> TrainingModule:
    Registry.load(plugin_files)
    model, balancer, scorer, columns, training, seed = pickle.loads(parts)  # noqa: S301 - made by __reduce__ in the parent
    return TrainingModule(model, balancer, scorer, columns, training, seed, plugin_files)


def _list_trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _make_row_wise(model: MultiTaskModel) -> dict[torch.nn.Parameter, None]:
    """Let the model's tables have sparse gradients; return them in order."""
    tables: dict[torch.nn.Parameter, None] = {}
    for layer in model.modules():
        if isinstance(layer, FusedTable) and layer.table is not None:
            layer.row_wise = True
            tables[layer.table] = None
    return tables


def _take_probe(rows: SplitRows) -> Batch:
    """Return some rows that count for each task, from the first to the last."""
    chosen = []
    for counts in rows.mask.unbind(1):
        known = counts.nonzero().squeeze(1)
        chosen.append(known[torch.linspace(0, len(known) - 1, min(len(known), PROBE_ROWS), dtype=torch.float64).long()])
    return rows.take(torch.unique(torch.cat(chosen)))


def _average(parts: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the means of statistics over parts of so many rows."""
    rows = sum(count for count, _ in parts)
    means = {name: math.fsum(count * part[name] for count, part in parts) / rows for name in parts[0][1]}
    for name, value in means.items():
        if not math.isfinite(value):
            raise MTBenchError(f"statistics() of the model returned {value} for '{name}'; return finite numbers")
    return means


def _save_random_state(device: torch.device) -> list[Tensor]:
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


@contextmanager
def _replay(state: list[Tensor], device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_rng_state(state[0])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state[1], device)
        yield


def _move_if_small(rows: SplitRows, device: torch.device) -> SplitRows:
    """Return the rows on the device where they fit into a quarter of its free memory, else where they are."""
    if device.type != "cuda":
        return rows
    tensors = [rows.categorical, rows.numeric, rows.labels, rows.mask, *(lists.values for lists in rows.multi.values())]
    size = sum(tensor.nbytes for tensor in tensors)
    return rows.to(device) if size < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0] else rows


@torch.inference_mode()
def predict(model: MultiTaskModel, rows: SplitRows, training: Training, device: torch.device) -> Predicted:
    """Return the predictions of all rows, in order, by one process."""
    model.eval()
    batches = Batches(rows, training.rows_per_step)
    parts = [[part.cpu().double() for part in _predict_batch(model, batch.to(device))] for batch in batches]
    values, scores = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return Predicted(rows.rows.cpu().numpy(), values, scores)


def _predict_batch(model: MultiTaskModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return predictions and scores, (rows, tasks) each, in single precision: half of it would make ties."""
    with torch.autocast(batch.rows.device.type, enabled=False):
        outputs = model(batch)
        return model.predict(outputs), model.score(outputs)
