"""The studies of a sweep: one of Optuna's per model, whose trials are kept in a database.

A budget of N trials is N *slots*. A slot is used by a trial that finished, was pruned, or failed by its own fault (out
of memory, a loss that is not finite); what a dead worker held is queued again, up to a bound. All slots are queued when
the sweep begins, so that workers only ever take, and however many there are, N slots are used.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
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
from mtbench.validation import show_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

    from mtbench.experiment import Experiment

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ExperimentalWarning)  # heartbeats and the constant liar

STORAGE = "MTBENCH_STORAGE"
"""Variable that names the database of sweeps."""
SLOT, REASON, RELEASED, WORKER = "slot", "reason", "released", "worker"
MADE_OF, EXPERIMENT = "made of", "experiment"
DEAD_AFTER = 4
"""Signs of life that a worker may miss."""
BUSY_SECONDS = 120
"""How long one waits for another's turn at the file of an SQLite database."""
DIFFERENCES = 12
"""Differences that a message lists."""
PENDING = (TrialState.WAITING, TrialState.RUNNING)


class Slots(NamedTuple):
    """The trials of a study by slot, divided by what became of them."""

    used: dict[int, FrozenTrial | None]
    """Slot -> the trial that used it, None where workers died of it too often."""
    pending: dict[int, FrozenTrial]
    lost: list[FrozenTrial]
    """The last trial of each slot that a dead worker held."""


def slots(trials: Sequence[FrozenTrial], retries: int) -> Slots:
    """Return what the slots came to."""
    of: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        of.setdefault(trial.user_attrs.get(SLOT, -1), []).append(trial)
    of.pop(-1, None)
    found = Slots({}, {}, [])
    for slot, tried in of.items():
        used = next((trial for trial in tried if uses(trial)), None)
        pending = next((trial for trial in tried if trial.state in PENDING), None)
        if used is not None:
            found.used[slot] = used
        elif pending is not None:
            found.pending[slot] = pending
        elif sum(not trial.user_attrs.get(RELEASED) for trial in tried) > retries:
            found.used[slot] = None
        else:
            found.lost.append(tried[-1])
    return found


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
    """Numbers of the slot's trials whose workers died."""

    def finish(self, state: TrialState, attributes: Mapping[str, Any], value: float | None = None) -> bool:
        """Note what came of it; return False if it was given to another worker, since this one seemed dead."""
        try:
            for name, each in attributes.items():
                self.trial.set_user_attr(name, each)
            self.study.storage.set_trial_state_values(
                self.trial._trial_id,  # noqa: SLF001
                state,
                None if value is None else [value],
            )
        except UpdateFinishedTrialError:
            return False
        return True

    def fail(self, reason: str) -> bool:
        """Use the slot up: it failed by its own fault."""
        return self.finish(TrialState.FAIL, {REASON: reason})

    def release(self) -> bool:
        """Give the slot back, to be queued again."""
        return self.finish(TrialState.FAIL, {RELEASED: True})

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life meanwhile."""
        stopped = Event()

        def beat() -> None:
            while not stopped.wait(self.study.sweep.heartbeat):
                with suppress(StorageInternalError, SQLAlchemyError):  # it may come back before this counts as dead
                    self.study.storage.record_heartbeat(self.trial._trial_id)  # noqa: SLF001

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
        return dict(self.study.user_attrs[MADE_OF])

    @cached_property
    def experiment(self) -> dict[str, Any]:
        """The experiment that is swept."""
        return dict(self.study.user_attrs[EXPERIMENT])

    def require(self, made_of: Mapping[str, Any]) -> None:
        """Raise MTBenchError, with the differences, unless the study was made of this."""
        if self.made_of != made_of:
            raise MTBenchError(
                f"the study '{self.name}' in {self.place} was made of something else; undo the change, or give this "
                "sweep another --name:\n" + "\n".join(differences(self.made_of, made_of))
            )

    def trials(self) -> list[FrozenTrial]:
        """Return all trials as they are now."""
        return self.study.get_trials(deepcopy=False)

    def slots(self) -> Slots:
        """Return what the slots came to, so far."""
        return slots(self.trials(), self.sweep.retries)

    def queue(self, defaults: Mapping[str, Any]) -> None:
        """Queue the slots that are not there yet; the first has the default settings."""
        with self.place.alone(self.name):
            known = {trial.user_attrs.get(SLOT) for trial in self.trials()}
            for slot in range(self.sweep.trials):
                if slot not in known:
                    self.study.enqueue_trial(dict(defaults) if slot == 0 else {}, user_attrs={SLOT: slot})

    def take(self, worker: str) -> Taken | None:
        """Return a slot to work on, the lowest first, None if there is none now; queues again what the dead held."""
        with self.place.alone(self.name):
            optuna.storages.fail_stale_trials(self.study)
            for lost in self.slots().lost:
                drawn = lost.system_attrs["fixed_params"] | lost.params
                self.study.enqueue_trial(drawn, user_attrs={SLOT: lost.user_attrs[SLOT]})
            waiting = [trial for trial in self.slots().pending.values() if trial.state == TrialState.WAITING]
            if not waiting:
                return None
            chosen = min(waiting, key=lambda trial: trial.user_attrs[SLOT])
            slot, number = chosen.user_attrs[SLOT], chosen._trial_id  # noqa: SLF001
            # in this order, no trial is ever running without a sign of life
            self.storage.record_heartbeat(number)
            self.storage.set_trial_state_values(number, TrialState.RUNNING)
            tried = [each for each in self.trials() if each.user_attrs.get(SLOT) == slot]
        study = optuna.load_study(
            study_name=self.name, storage=self.storage, sampler=self._sampler(slot), pruner=self._pruner()
        )
        study.get_trials(deepcopy=False)  # its cache must know the trial
        trial = optuna.Trial(study, number)
        trial.set_user_attr(WORKER, worker)
        return Taken(self, trial, slot, tuple(each.number for each in tried[:-1]))

    def _sampler(self, slot: int) -> BaseSampler:
        """Return a sampler whose draws come from the sweep's seed, the slot, and the trials that are done."""
        seed = int(np.random.SeedSequence((self.sweep.seed, slot)).generate_state(1)[0])
        if self.sweep.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

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
    def reached(self) -> Iterator[None]:
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
    def alone(self, study: str) -> Iterator[None]:
        """Let one process at a time change what is queued."""
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
        return [name for name in optuna.get_all_study_names(self.studies) if name.startswith(f"{sweep}/")]

    def make(self, name: str, made_of: Mapping[str, Any], experiment: Experiment) -> ModelStudy:
        """Return a study, made if it is not there; what it says of workers and budget is the experiment's of now.

        Raises MTBenchError if the one that is there was made of something else, with the differences.
        """
        with self.alone(name):
            study = optuna.create_study(
                study_name=name, storage=self.studies, direction="maximize", load_if_exists=True
            )
            if MADE_OF not in study.user_attrs:
                study.set_user_attr(MADE_OF, dict(made_of))
        made = ModelStudy(self, name, experiment.sweep)
        made.require(made_of)
        content = experiment.model_dump(mode="json", exclude_unset=True)
        made.study.set_user_attr(EXPERIMENT, content | {"sweep": experiment.sweep.model_dump(mode="json")})
        return made


def differences(before: Any, now: Any) -> list[str]:
    """Return the lines that tell two mappings apart, a few at most."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    places = [place for place in dict.fromkeys((*old, *new)) if old.get(place, _NONE) != new.get(place, _NONE)]
    lines = [f"  {place}: then {_text(old, place)}, now {_text(new, place)}" for place in places[:DIFFERENCES]]
    if len(places) > DIFFERENCES:
        lines.append(f"  and {len(places) - DIFFERENCES} more")
    return lines


_NONE = object()


def _text(leaves: Mapping[str, Any], place: str) -> str:
    return show_value(leaves[place]) if place in leaves else "nothing"


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if not items:
        yield place, value
        return
    for key, each in items:
        yield from _leaves(each, f"{place}.{key}" if place else str(key))
