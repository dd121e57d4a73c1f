"""One training: a model, a seed, a folder that it can be resumed from."""

from __future__ import annotations

import copy
import logging
import re
import shutil
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from mtbench import errors
from mtbench.errors import MTBenchError, StorageError
from mtbench.loading import describe_traceback
from mtbench.training.checkpoint import Checkpoints, DamagedError
from mtbench.training.display import RunDisplay, StepProgress
from mtbench.training.memory import keep_freed
from mtbench.training.module import TrainingModule
from mtbench.training.selection import LAST, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mtbench.data.columns import Columns
    from mtbench.experiment import Training
    from mtbench.model import MultiTaskModel
    from mtbench.plan import Plan
    from mtbench.training.scoring import Scorer


def find_device(training: Training) -> torch.device:
    """Return the device of the first process. Raises MTBenchError if this machine has none of that kind."""
    kind = training.accelerator
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    kind = "cuda" if kind == "gpu" else kind
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present[kind]:
        raise MTBenchError(
            f"training.accelerator is '{training.accelerator}', but torch finds no such device here; use 'cpu'"
        )
    if kind == "cuda" and training.devices > torch.cuda.device_count():
        raise MTBenchError(f"training.devices is {training.devices}, but torch finds {torch.cuda.device_count()} here")
    return torch.device(kind, 0) if kind == "cuda" else torch.device(kind)


def fit(
    plan: Plan,
    columns: Columns,
    scorer: Scorer,
    model: MultiTaskModel,
    *,
    seed: int,
    folder: Path,
    name: str,
    display: RunDisplay | None,
    make_callbacks: Callable[[], Sequence[pl.Callback]] = tuple,
    observers: Sequence[pl.Callback] = (),
) -> Selection:
    """Train until validation no longer improves; return what was chosen, with its weights in ``folder``.

    Goes on from the last epoch that ``folder`` holds. ``make_callbacks`` gives what is called before the selection;
    ``observers`` are called after it, and may set
    ``trainer.should_stop``. Raises MTBenchError if a loss is not finite.
    """
    training = plan.experiment.training
    if find_device(training).type == "cpu":
        keep_freed()
    selection = Selection(folder, plan.schema.tasks, training)
    try:
        if started := selection.restore():
            selection.require_weights()
    except DamagedError as error:
        if display is not None:
            display.warn(f"{name} starts anew, for what it had saved is damaged: {error}")
        shutil.rmtree(folder)
        started, selection = False, Selection(folder, plan.schema.tasks, training)
    folder.mkdir(parents=True, exist_ok=True)
    if display is not None:
        display.begin(name, -(-columns.counts["train"] // training.rows_per_step) * training.max_epochs)
    if not selection.finished:
        balancer = copy.deepcopy(plan.balancer.balancer)
        module = TrainingModule(model, balancer, scorer, columns, training, seed, plan.plugin_files)
        callbacks = [StepProgress(display), *make_callbacks(), selection, *observers]
        try:
            with quiet():
                make_lightning_trainer(training, callbacks, folder).fit(
                    module, ckpt_path=folder / LAST if started else None, weights_only=True
                )
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from error
        except ProcessRaisedException as error:
            raise _find_cause(error) from error
        selection.restore()
    if display is not None:
        display.end(selection.summary(), plan.schema.tasks)
    return selection


def make_lightning_trainer(training: Training, callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
    """Return Lightning's trainer as these settings ask, without logs, checkpoints and bars of its own."""
    where = find_device(training)
    # spawned processes work from a script, a notebook and a test alike
    shared = DDPStrategy(start_method="spawn", find_unused_parameters=True)
    return pl.Trainer(
        accelerator=where.type,
        devices=training.devices,
        strategy=shared if training.devices > 1 else "auto",
        precision=training.precision,
        max_epochs=training.max_epochs,
        callbacks=callbacks,
        default_root_dir=folder,
        reload_dataloaders_every_n_epochs=1,
        deterministic=where.type != "cpu",
        logger=False,
        plugins=[Checkpoints()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _find_cause(error: ProcessRaisedException) -> MTBenchError:
    """Return what a spawned process failed of."""
    text = str(error)
    raised = re.findall(rf"^{re.escape(errors.__name__)}\.(\w+): ", text, re.MULTILINE)
    if not raised:
        return MTBenchError(describe_traceback(text))
    _, _, message = text.rpartition(f"{errors.__name__}.{raised[-1]}: ")
    kind = StorageError if raised[-1] == StorageError.__name__ else MTBenchError
    return kind(message.strip())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's remarks about devices and data loaders from between the lines of progress."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
