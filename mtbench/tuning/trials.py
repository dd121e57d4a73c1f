"""One trial: a model with drawn settings, trained with the sweep's seed and judged on validation."""

from __future__ import annotations

import gc
import shutil
import traceback
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
import torch
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from mtbench.errors import MTBenchError, StorageError
from mtbench.model import Reference
from mtbench.plan import label_models, make_plan
from mtbench.training import efficiency
from mtbench.training.failures import Failures
from mtbench.training.prepare import add_inputs, prepare_data, set_batch_size
from mtbench.training.recipe import make_recipe
from mtbench.training.scoring import Scorer
from mtbench.training.selection import Selection
from mtbench.training.trainers import make_trainer
from mtbench.tuning.space import apply_settings, check_keys, make_space

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from optuna import Trial

    from mtbench.data.columns import Columns
    from mtbench.experiment import Experiment
    from mtbench.plan import Plan
    from mtbench.record.form import SeedRun
    from mtbench.registry import Registry
    from mtbench.training.networks import Networks
    from mtbench.tuning.space import Space
    from mtbench.tuning.studies import Taken

TRIALS = "trials"
TASKS, EPOCHS, SECONDS, PARAMETERS, FLOPS = "tasks", "epochs", "seconds", "parameters", "operations per row"


class Pruning(pl.Callback):
    """Reports the score of every epoch, and ends a training that the study's pruner gives up."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.reported = 0
        self.pruned = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Report what was not reported yet: more than one epoch in a training that was resumed."""
        selection = next(callback for callback in trainer.callbacks if isinstance(callback, Selection))  # type: ignore[attr-defined]
        history = selection.scores()
        for epoch in range(self.reported, len(history)):
            self.trial.report(history[epoch], epoch)
        self.reported = len(history)
        self.pruned = self.trial.should_prune()
        trainer.should_stop |= self.pruned


@dataclass(frozen=True)
class Candidate:
    """A model of a sweep: where it stands in the experiment, its label, and what is searched."""

    index: int
    label: str
    space: Space
    made_of: dict[str, Any]
    """What its study must have been made of, for trials to be comparable."""


class SweepPlan:
    """An experiment ready to be swept: its data, and its models with their spaces."""

    def __init__(self, experiment: Experiment, registry: Registry, where: str = "experiment") -> None:
        self.experiment = experiment
        self.registry = registry
        self.where = where
        self.failures = Failures()
        self.plan = make_plan(experiment, registry, where)
        check_keys(self.plan, where)
        if experiment.sweep.seed in experiment.seeds:
            raise MTBenchError(
                f"{where}: sweep.seed: {experiment.sweep.seed} is one of the seeds; the best settings are judged on "
                "fresh seeds, so take another"
            )
        if experiment.training.devices > 1:
            raise MTBenchError(
                f"{where}: training.devices: a trial is one process; set it to 1 and take more --workers"
            )

    @cached_property
    def columns(self) -> Columns:
        """The prepared data."""
        return prepare_data(self.plan)

    @cached_property
    def scorer(self) -> Scorer:
        """What judges on validation."""
        return Scorer(self.columns, self.plan.metrics)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The models that can be built; whatever their default settings ask for is computed.

        What is wrong with the others is in ``failures``. Raises ModelsError if there are no others.
        """
        candidates = []
        for index, label in enumerate(label_models(self.experiment.models)):
            with self.failures.collect(label):
                candidates.append(self._make_candidate(index, label))
        if not candidates:
            self.failures.report()
        return candidates

    def _make_candidate(self, index: int, label: str) -> Candidate:
        space = make_space(self.plan, self.registry, index, self.columns.counts["train"], self.where)
        plan = self.plan_model(index, {})
        columns = add_inputs(plan, self.columns, plan.models[0])
        make_trainer(plan, columns, self.scorer, plan.models[0], Path()).build(self.experiment.sweep.seed)
        recipe = make_recipe(plan, columns, plan.models[0]).model_dump(
            mode="json", exclude={"seeds", "budget", "benchmark"}
        )
        sweep = self.experiment.sweep.model_dump(mode="json", include={"sampler", "pruner", "seed"})
        return Candidate(index, label, space, recipe | sweep | {"space": space.describe()})

    def plan_model(self, index: int, values: dict[str, Any]) -> Plan:
        """Return the plan of one model with these settings; the others are the experiment's."""
        plan = make_plan(apply_settings(self.experiment, index, values), self.registry, self.where)
        return set_batch_size(plan, self.columns)

    def run(
        self,
        candidate: Candidate,
        taken: Taken,
        folder: Path,
        watch: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Work on a slot until it is used, or was given to another worker; ``folder`` is for the sweep's trainings.

        Whatever goes wrong in the trial is its own fault, and noted with it. An interruption gives the slot back;
        ``watch`` is entered while one is welcome.
        """
        work = folder / TRIALS / candidate.label
        own = work / str(taken.trial.number)
        for number in taken.before:  # another worker's training of the same settings goes on here
            if (work / str(number)).is_dir() and not own.exists():
                (work / str(number)).rename(own)
        interruption: KeyboardInterrupt | StorageError | None = None
        try:
            with taken.keep_alive():
                with watch():
                    outcome = self._train(candidate, taken, own)
                taken.finish(*outcome)
        except (StorageInternalError, SQLAlchemyError):
            raise
        except (KeyboardInterrupt, StorageError) as error:  # neither is a fault of the trial
            interruption = error  # what it cut short may hold a lock of the database until this block is left
        except Exception as error:  # noqa: BLE001 - a trial never takes the sweep down
            if not isinstance(error, MTBenchError):
                traceback.print_exc()  # into the worker's log
            taken.fail(_explain(error))
        if interruption is not None:
            gc.collect()
            taken.release()
            raise interruption.with_traceback(None)
        shutil.rmtree(own, ignore_errors=True)
        with suppress(OSError):  # others may be at work there
            work.rmdir()
            work.parent.rmdir()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _train(
        self, candidate: Candidate, taken: Taken, folder: Path
    ) -> tuple[TrialState, dict[str, Any], float | None]:
        """Return how the trial ended, what was measured, and its score."""
        plan = self.plan_model(candidate.index, candidate.space.suggest(taken.trial))
        model = plan.models[0]
        columns = add_inputs(plan, self.columns, model)
        pruning = Pruning(taken.trial)
        trainer = make_trainer(
            plan, columns, self.scorer, model, folder, lambda: self.registry.callbacks(plan.experiment), [pruning]
        )
        run = trainer.fit(self.experiment.sweep.seed, None).summary()
        network = cast("Networks", trainer) if not issubclass(model.cls, Reference) else None
        measured = {
            TASKS: read_chosen(run),
            EPOCHS: len(run.seconds),
            SECONDS: sum(run.seconds),
            **(self._measure_size(network, columns) if network else {}),
        }
        if pruning.pruned:
            return TrialState.PRUNED, measured, None
        return TrialState.COMPLETE, measured, self.score(run)

    def score(self, run: SeedRun) -> float:
        """Return the mean over tasks of the share of the way from the constant predictor to a perfect model."""
        shares = self.scorer.improvements(read_chosen(run)).values()
        return sum(shares) / len(shares)

    def _measure_size(self, network: Networks, columns: Columns) -> dict[str, float]:
        model = network.build(0).to(network.device)
        batch = columns.valid.take(torch.arange(min(network.training.rows_per_step, len(columns.valid))))
        return {
            PARAMETERS: efficiency.count_parameters(model),
            FLOPS: efficiency.count_flops_per_row(model, batch.to(network.device)),
        }


def read_chosen(run: SeedRun) -> dict[str, float]:
    """Return each task's primary metric on validation, at the epoch that was chosen."""
    return {task: values[run.chosen[task]] for task, values in run.valid.items()}


def _explain(error: Exception) -> str:
    """Return in a line why a trial failed."""
    if isinstance(error, MTBenchError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {str(error).strip().splitlines()[0] if str(error).strip() else 'MemoryError'}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
