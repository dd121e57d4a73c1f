"""The studies of a sweep: one of Optuna's per model, whose trials are kept in a database.

A budget of N trials is N *slots*. A slot is used by a trial that finished, was pruned, or failed by its own fault (out
of memory, a loss that is not finite); what a dead worker held is given to another, up to a bound. There is no queue:
one worker at a time reads off the trials which slots are used or held, and takes the lowest other. So wherever
processes are killed, N slots are used in the end.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mtbench.errors import MTBenchError
from mtbench.experiment import Sweep
from mtbench.tuning.changes import list_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

    from mtbench.experiment import Experiment

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ExperimentalWarning)  # heartbeats and the constant liar
warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used")  # Taken.beat says why it is not

STORAGE = "MTBENCH_STORAGE"
"""Variable that names the database of sweeps."""
SLOT, REASON, RELEASED, WORKER = "slot", "reason", "released", "worker"
MADE_OF, EXPERIMENT, DEFAULTS = "made of", "experiment", "defaults"
DEAD_AFTER = 4
"""Signs of life that a worker may miss."""
BUSY_SECONDS = 120
"""How long one waits for another's turn at the file of an SQLite database."""


class Slots(NamedTuple):
    """The slots that were ever taken, divided by how they ended."""

    used: dict[int, FrozenTrial | None]
    """Slot -> the trial that used it, None where workers died of it too often."""
    running: dict[int, FrozenTrial]
    lost: dict[int, list[FrozenTrial]]
    """Slot -> its trials, whose workers died or gave it back."""


def sort_slots(trials: Sequence[FrozenTrial], retries: int) -> Slots:
    """Return what the slots came to."""
    of: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        if WORKER in trial.user_attrs:
            of.setdefault(trial.user_attrs[SLOT], []).append(trial)
    result = Slots({}, {}, {})
    for slot, tried in of.items():
        used = next((trial for trial in tried if uses(trial)), None)
        running = next((trial for trial in tried if trial.state == TrialState.RUNNING), None)
        if used is not None:
            result.used[slot] = used
        elif running is not None:
            result.running[slot] = running
        elif sum(not trial.user_attrs.get(RELEASED) for trial in tried) > retries:
            result.used[slot] = None
        else:
            result.lost[slot] = tried
    return result


@contextmanager
def expect_untouched(study: str, place: Storage) -> Iterator[None]:
    """Turn what comes of a study that somebody has edited, or that is damaged, into MTBenchError."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise MTBenchError(
            f"the study '{study}' in {place} holds what no worker writes ({type(error).__name__}: {reason[:200]}): "
            "it was edited or is damaged; restore it, or give this sweep another --name"
        ) from error


def require_whole(trial: FrozenTrial) -> None:
    """Raise ValueError or TypeError for a trial that no worker leaves so."""
    if WORKER in trial.user_attrs and type(trial.user_attrs.get(SLOT)) is not int:
        raise TypeError(f"trial {trial.number} has the slot {trial.user_attrs.get(SLOT)!r}")
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):  # Optuna itself looks at values and parameters
        value = trial.value if trial.state == TrialState.COMPLETE else None
        optuna.trial.create_trial(
            state=trial.state, value=value, params=trial.params, distributions=trial.distributions
        )
        if not math.isfinite(value or 0.0):
            raise ValueError(f"trial {trial.number} has the score {value}")


def uses(trial: FrozenTrial) -> bool:
    """Return whether a trial used its slot."""
    if trial.state == TrialState.FAIL:
        return REASON in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Taken:
    """A slot that this process works on."""

    study: ModelStudy
    trial: Trial
    slot: int
    before: tuple[int, ...]
    """Numbers of the slot's trials whose workers died or gave it back."""

    def finish(self, state: TrialState, attributes: Mapping[str, Any], value: float | None = None) -> None:
        """Note what came of it, unless the slot was given to another worker, since this one seemed dead."""
        with suppress(UpdateFinishedTrialError):
            for name, content in attributes.items():
                self.trial.set_user_attr(name, content)
            self.trial.study.tell(self.trial, value, state, skip_if_finished=True)

    def fail(self, reason: str) -> None:
        """Use the slot up: it failed by its own fault."""
        self.finish(TrialState.FAIL, {REASON: reason})

    def release(self) -> None:
        """Give the slot back."""
        self.finish(TrialState.FAIL, {RELEASED: True})

    def beat(self) -> None:
        """Give a sign of life."""
        # Optuna gives them by itself in Study.optimize alone, where the first fault of the database ends them
        self.study.storage.record_heartbeat(self.trial._trial_id)  # noqa: SLF001

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Give signs of life meanwhile."""
        stopped = Event()

        def beat() -> None:
            while not stopped.wait(self.study.sweep.heartbeat):
                with suppress(StorageInternalError, SQLAlchemyError):  # it may come back before this counts as dead
                    self.beat()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


class ModelStudy:
    """The study of one model."""

    def __init__(self, place: Storage, name: str, sweep: Sweep) -> None:
        self.name = name
        self.sweep = sweep
        self.place = place
        self.storage = place.studies
        self.study: Study = optuna.load_study(study_name=name, storage=self.storage)

    @property
    def label(self) -> str:
        """The model, by a name that no other of the sweep has."""
        return self.name.rpartition("/")[2]

    @cached_property
    def made_of(self) -> dict[str, Any]:
        """What its trials depend on."""
        with self.expect_untouched():
            return dict(self.study.user_attrs[MADE_OF])

    @cached_property
    def experiment(self) -> dict[str, Any]:
        """The experiment that is swept."""
        with self.expect_untouched():
            return dict(self.study.user_attrs[EXPERIMENT])

    def require(self, made_of: Mapping[str, Any]) -> None:
        """Raise MTBenchError, with the differences, unless the study was made of this."""
        if changes := list_changes(self.made_of, made_of):
            raise MTBenchError(
                f"the study '{self.name}' in {self.place} was made of something else; undo the change, or give this "
                "sweep another --name:\n" + "\n".join(changes)
            )

    def trials(self) -> list[FrozenTrial]:
        """Return all trials as they are now. Raises MTBenchError for what no worker writes."""
        with self.expect_untouched():
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                require_whole(trial)
        return trials

    def expect_untouched(self) -> AbstractContextManager[None]:
        """Turn what comes of a study that somebody has edited, or that is damaged, into MTBenchError."""
        return expect_untouched(self.name, self.place)

    def slots(self) -> Slots:
        """Return what the slots came to, so far."""
        return sort_slots(self.trials(), self.sweep.retries)

    def take(self, worker: str) -> Taken | None:
        """Return a slot to work on, the lowest that is free, None if there is none now.

        A trial that somebody queued, with Optuna's dashboard say, takes the next slot.
        """
        with self.place.lock(self.name):
            optuna.storages.fail_stale_trials(self.study)
            used, running, lost = self.slots()
            busy = used.keys() | running.keys()
            if len(busy) >= self.sweep.trials:
                return None
            slot = next(number for number in count() if number not in busy)
            before = lost.get(slot, [])
            study = optuna.load_study(
                study_name=self.name,
                storage=self.storage,
                sampler=self._sampler(slot, before),
                pruner=self._pruner(),
            )
            taken = Taken(self, study.ask(), slot, tuple(trial.number for trial in before))
            # in this order, no trial ever holds a slot without a sign of life
            taken.beat()
            taken.trial.set_user_attr(SLOT, slot)
            taken.trial.set_user_attr(WORKER, worker)
        return taken

    def _sampler(self, slot: int, before: Sequence[FrozenTrial]) -> BaseSampler:
        """Return a sampler that keeps what was drawn for the slot before, the default settings for the first.

        Its other draws come from the sweep's seed, the slot, and the trials that are done.
        """
        with self.expect_untouched():
            drawn = dict(self.study.user_attrs[DEFAULTS]) if slot == 0 else {}
        for trial in before:
            drawn |= trial.params
        seed = int(np.random.SeedSequence((self.sweep.seed, slot)).generate_state(1)[0])
        sampler: BaseSampler = (
            optuna.samplers.RandomSampler(seed=seed)
            if self.sweep.sampler == "random"
            else optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        )
        return optuna.samplers.PartialFixedSampler(drawn, sampler)

    def _pruner(self) -> BasePruner:
        if self.sweep.pruner == "halving":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        if self.sweep.pruner == "median":
            return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
        return optuna.pruners.NopPruner()


class Storage:
    """The database of sweeps: a file of SQLite for one machine, PostgreSQL for many.

    ``heartbeat`` is how often workers give a sign of life, in seconds.
    """

    def __init__(self, url: str, heartbeat: int = Sweep().heartbeat) -> None:
        self.heartbeat = heartbeat
        try:
            self.url: URL = make_url(url)
        except ArgumentError as error:
            raise MTBenchError(
                f"--storage {url}: no database address; write sqlite:///FILE or postgresql://USER@HOST/DATABASE"
            ) from error
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        if self.url.get_backend_name() not in {"sqlite", "postgresql"}:
            raise MTBenchError(
                f"--storage {self}: {self.url.get_backend_name()} is not supported; use sqlite or postgresql"
            )

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @property
    def address(self) -> str:
        """The address with its password."""
        return self.url.render_as_string(hide_password=False)

    @cached_property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(self.url.database or "").resolve() if self.url.get_backend_name() == "sqlite" else None

    @cached_property
    def studies(self) -> RDBStorage:
        """Optuna's storage, whose tables are made where there are none."""
        connect = {"timeout": BUSY_SECONDS} if self.file else {}
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            return RDBStorage(
                self.address,
                engine_kwargs={"connect_args": connect, "pool_pre_ping": True},
                heartbeat_interval=self.heartbeat,
                grace_period=DEAD_AFTER * self.heartbeat,
            )
        except (NoSuchModuleError, ImportError) as error:
            raise MTBenchError(
                f"--storage {self}: its driver is not installed ({error}); `pip install 'mtbench[postgresql]'`"
            ) from error

    @contextmanager
    def reach(self) -> Iterator[None]:
        """Turn what goes wrong with the database into MTBenchError."""
        try:
            yield
        except (StorageInternalError, SQLAlchemyError) as error:
            cause = str(error.__cause__ or error).strip().splitlines()[0]
            raise MTBenchError(
                f"the storage {self} failed: {cause}; nothing that was noted is lost: "
                "the same command goes on once it is there again"
            ) from error

    @contextmanager
    def lock(self, study: str) -> Iterator[None]:
        """Let one process at a time take a slot."""
        if self.file:
            with FileLock(f"{self.file}.lock"):
                yield
            return
        key = int.from_bytes(hashlib.sha256(study.encode()).digest()[:8], signed=True)
        with self.studies.engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(key)))
            yield

    def names(self, sweep: str) -> list[str]:
        """Return the studies of a sweep, in the order of its models."""
        with expect_untouched(sweep, self):
            return [name for name in optuna.get_all_study_names(self.studies) if name.startswith(f"{sweep}/")]

    def make(
        self, name: str, made_of: Mapping[str, Any], experiment: Experiment, defaults: Mapping[str, Any]
    ) -> ModelStudy:
        """Return a study, made if it is not there; what it says of workers and budget is the experiment's of now.

        ``defaults`` are the settings of its first slot.

        Raises MTBenchError if the one that is there was made of something else, with the differences.
        """
        with self.lock(name):
            study = optuna.create_study(
                study_name=name, storage=self.studies, direction="maximize", load_if_exists=True
            )
            with expect_untouched(name, self):
                if MADE_OF not in study.user_attrs:
                    study.set_user_attr(MADE_OF, dict(made_of))
        made = ModelStudy(self, name, experiment.sweep)
        made.require(made_of)
        content = experiment.model_dump(mode="json", exclude_unset=True)
        made.study.set_user_attr(DEFAULTS, dict(defaults))
        made.study.set_user_attr(EXPERIMENT, content | {"sweep": experiment.sweep.model_dump(mode="json")})
        return made
