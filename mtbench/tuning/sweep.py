"""A sweep: a study for each model under one budget, then the best settings on fresh seeds."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from mtbench.errors import MTBenchError
from mtbench.experiment import load_experiment, name_source
from mtbench.plan import check_packages
from mtbench.record.form import Budget, Trial, Tuning
from mtbench.registry import Registry
from mtbench.training.run import run
from mtbench.tuning.display import SweepDisplay
from mtbench.tuning.history import History, read_history
from mtbench.tuning.launcher import Job
from mtbench.tuning.space import apply_settings
from mtbench.tuning.studies import STORAGE, ModelStudy, Storage
from mtbench.tuning.trials import TRIALS, SweepPlan
from mtbench.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtbench.experiment import Experiment
    from mtbench.record.form import BenchmarkPart
    from mtbench.record.store import Written
    from mtbench.tuning.launcher import Launcher, Worker
    from mtbench.tuning.space import Space
    from mtbench.tuning.trials import Candidate

DATABASE = "sweep.db"
POLL_SECONDS = 1.0
UNLUCKY = 3
"""Workers in a row that may die without a slot used."""


def sweep(
    source: str | Path | Mapping[str, Any] | Experiment,
    *,
    name: str | None = None,
    folder: str | Path = "sweeps",
    storage: str | None = None,
    workers: int = 1,
    records: str | Path = "records",
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    progress: bool = False,
    on_record: Callable[[Written], None] = lambda _: None,
    benchmark: BenchmarkPart | None = None,
) -> list[Written]:
    """Search the settings of every model of an experiment, run the best on its seeds, and return the records.

    A sweep is known by ``name``, the stem of the file unless given; ``folder`` gets a folder of that name. The same
    call goes on where an interrupted one was. ``storage`` is a database address, SQLite in the folder unless given;
    ``benchmark`` is the one that the experiment is part of.
    Raises MTBenchError for a mistake of the user's, and, once the records of all others are written, ModelsError for
    models that cannot be built or of which no trial finished; BusyError if nothing is wrong but that another process
    writes a record.

    Since 0.1, stable.
    """
    where = name_source(source)
    name = name or (Path(source).stem if isinstance(source, str | Path) else "sweep")
    registry = Registry.load([Path(file) for file in plugins])
    experiment = load_experiment(source, overrides)
    own = Path(folder).resolve() / name
    address = storage or default_storage(Path(folder), name)
    if workers < 1:
        raise MTBenchError(f"--workers {workers}: there must be one at least")
    with SweepDisplay(progress) as display:
        sweep_plan = SweepPlan(experiment, registry, where)
        launcher = make_launcher(experiment, registry, where)
        place = Storage(address, experiment.sweep.heartbeat)
        with place.reach():
            studies = make_studies(sweep_plan, place, name)
            display.begin(sweep_plan.candidates, [read_history(study) for study in studies])
            command = worker_command(name, own.parent, registry.files)
            with closing(launcher):
                Crew(launcher, command, place.address, workers, own / "workers").work(studies, display.update)
        display.close()
        shutil.rmtree(own / TRIALS, ignore_errors=True)  # all slots are used: what is left there is of killed workers
        written: list[Written] = []
        for candidate, study in zip(sweep_plan.candidates, studies, strict=True):
            display.say(f"{candidate.label}: the best settings on seeds {', '.join(map(str, experiment.seeds))}")
            with sweep_plan.failures.collect(candidate.label):
                written += run_best(
                    sweep_plan, candidate, study, records, plugins, on_record, progress=progress, benchmark=benchmark
                )
    sweep_plan.failures.report()
    return written


def default_storage(folder: Path, name: str) -> str:
    """Return the address of a sweep's own SQLite database."""
    return f"sqlite:///{(folder / name / DATABASE).resolve()}"


def worker_command(name: str, folder: Path, plugins: Sequence[Path]) -> list[str]:
    """Return the command of a worker that ends with its standard input; the environment names the storage."""
    files = [text for file in plugins for text in ("--plugin", str(file))]
    return [sys.executable, "-m", "mtbench", "sweep-worker", name, "--attached", "--folder", str(folder), *files]


def make_launcher(experiment: Experiment, registry: Registry, where: str) -> Launcher:
    """Return the launcher that the experiment names."""
    component = experiment.sweep.launcher or registry.default("launcher")
    cls = registry.resolve("launcher", component.name)
    config = validate(cls.Config, component.settings, where, ("sweep", "launcher"))
    check_packages("launcher", component.name, cls.packages)
    return cls(config)


def make_studies(sweep_plan: SweepPlan, place: Storage, name: str) -> list[ModelStudy]:
    """Return the studies of a sweep, made where they are not there.

    Raises MTBenchError if one was made of something else, or has used more slots than are asked for.
    """
    budget = sweep_plan.experiment.sweep
    studies = []
    for candidate in sweep_plan.candidates:
        study = place.make(
            f"{name}/{candidate.label}", candidate.made_of, sweep_plan.experiment, candidate.space.defaults()
        )
        if (used := len(study.slots().used)) > budget.trials:
            raise MTBenchError(
                f"{sweep_plan.where}: sweep.trials: study '{study.name}' has used {used} slots already, and models are "
                f"compared under one budget; ask for {used} or more (now {budget.trials})"
            )
        studies.append(study)
    return studies


@dataclass
class Crew:
    """The workers of this process."""

    launcher: Launcher
    command: Sequence[str]
    storage: str
    size: int
    logs: Path

    def work(self, studies: Sequence[ModelStudy], show: Callable[[Sequence[History]], None]) -> None:
        """Return when all slots are used; ``show`` is called meanwhile.

        Raises MTBenchError if workers die and die again without using any.
        """
        workers: dict[int, Worker] = {}
        interruption = Interruption()
        slots = sum(study.sweep.trials for study in studies)
        unlucky, before = 0, 0
        try:
            while (used := self._show(studies, show)) < slots:
                if used > before:
                    unlucky, before = 0, used
                for number in range(self.size):
                    how = workers[number].ended() if number in workers else "not begun"
                    if how is None:
                        continue
                    unlucky += number in workers
                    if unlucky >= UNLUCKY * self.size:
                        raise MTBenchError(
                            f"{unlucky} workers ended without using a slot, the last with: {how}; "
                            f"the end of {self._log(number)}:\n{_read_tail(self._log(number))}"
                        )
                    job = Job(self.command, {STORAGE: self.storage}, number, self.size, self._log(number))
                    workers[number] = self.launcher.start(job)
                interruption.wait(POLL_SECONDS)
        finally:
            interruption.end()
            with ThreadPoolExecutor(self.size) as pool:
                list(pool.map(lambda worker: worker.stop(), workers.values()))
            with suppress(StorageInternalError, SQLAlchemyError):  # what went wrong is said by another error
                self._show(studies, show)

    def _show(self, studies: Sequence[ModelStudy], show: Callable[[Sequence[History]], None]) -> int:
        """Show how the studies stand; return how many slots are used."""
        histories = [read_history(study) for study in studies]
        show(histories)
        return sum(len(history.outcomes) for history in histories)

    def _log(self, number: int) -> Path:
        return self.logs / f"{number}.log"


class Interruption:
    """Holds a Ctrl-C or a SIGTERM back until the next wait: in the middle of a query it would keep a lock."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._asked: tuple[int, Any] | None = None
        self._waiting = False
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = (number, frame)
        if self._waiting:
            self._interrupt(number, frame)

    def _interrupt(self, number: int, frame: Any) -> None:
        if callable(before := self._before[number]):
            before(number, frame)
        raise KeyboardInterrupt

    def wait(self, seconds: float) -> None:
        """Sleep. Raises KeyboardInterrupt if there was a Ctrl-C or a SIGTERM."""
        self._waiting = True
        if self._asked is not None:
            self._interrupt(*self._asked)
        time.sleep(seconds)
        self._waiting = False

    def end(self) -> None:
        """Let signals do again what they did before."""
        self._waiting = False
        for number, before in self._before.items():
            signal.signal(number, before)


def _read_tail(log: Path, lines: int = 10) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.is_file() else "(nothing)"


def run_best(
    sweep_plan: SweepPlan,
    candidate: Candidate,
    study: ModelStudy,
    records: str | Path,
    plugins: Sequence[str | Path],
    on_record: Callable[[Written], None],
    *,
    progress: bool,
    benchmark: BenchmarkPart | None,
) -> list[Written]:
    """Run a model with the best settings of its study on the experiment's seeds: here the test split is opened."""
    history = read_history(study)
    if history.best is None:
        raise MTBenchError(f"no trial finished; the first failed with: {history.outcomes[0].reason}")
    asked, best = study.sweep, history.best
    assert best.params is not None
    return run(
        apply_settings(sweep_plan.experiment, candidate.index, candidate.space.values(best.params)),
        records=records,
        plugins=plugins,
        progress=progress,
        on_record=on_record,
        benchmark=benchmark,
        budget=Budget(
            kind="tuned",
            trials=asked.trials,
            sampler=asked.sampler,
            pruner=asked.pruner,
            seed=asked.seed,
            space=candidate.space.describe(),
        ),
        tuning=make_tuning(history, candidate.space),
    )


def make_tuning(history: History, space: Space) -> Tuning:
    """Return what a record says of its trials, all of which have ended."""
    assert history.best is not None
    trials = [
        Trial(
            settings=space.values(outcome.params or {}),
            ended=outcome.state,
            score=outcome.score,
            epochs=outcome.epochs,
            seconds=outcome.seconds,
        )
        for outcome in history.outcomes
    ]
    return Tuning(trials=trials, best=history.best.slot)
