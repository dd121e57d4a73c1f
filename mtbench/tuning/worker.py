"""A worker: takes slots of a sweep, one after the other, until all are used."""

from __future__ import annotations

import _thread
import os
import platform
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mtbench.errors import MTBenchError
from mtbench.experiment import Sweep, load_experiment
from mtbench.registry import Registry
from mtbench.tuning.studies import ModelStudy, Storage
from mtbench.tuning.trials import SweepPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mtbench.experiment import Experiment
    from mtbench.tuning.studies import Taken
    from mtbench.tuning.trials import Candidate

POLL_SECONDS = 2.0


def work(
    name: str,
    storage: str,
    folder: Path,
    *,
    attached: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Join a sweep and return how many slots this process worked on, once all are used.

    One that is ``attached`` ends with its standard input.

    Raises MTBenchError if there is no such sweep, or if its studies were made of other data, code or settings than
    this machine has.
    """
    parent = Parent(attached=attached)
    place, experiment = join_sweep(name, storage)
    with place.reach():
        with parent.watch():
            sweep_plan = SweepPlan(experiment, Registry.load(), f"sweep '{name}'")
            sweep = experiment.sweep
            studies = {}
            for candidate in sweep_plan.candidates:
                study = ModelStudy(place, f"{name}/{candidate.label}", sweep)
                study.require(candidate.made_of)
                studies[candidate.label] = study
        worker = f"{platform.node()}:{os.getpid()}"
        say(f"worker {worker} joined sweep '{name}'")
        count = 0
        while not parent.is_gone():
            candidate, taken = _take_next(sweep_plan.candidates, studies, worker)
            if taken is not None:
                say(f"{candidate.label}: slot {taken.slot + 1} of {sweep.trials}")
                sweep_plan.run(candidate, taken, folder, parent.watch)
                count += 1
            elif all(len(study.slots().used) >= sweep.trials for study in studies.values()):
                break
            else:
                parent.wait(min(POLL_SECONDS, sweep.heartbeat))  # a worker may die, and its slot be free again
    return count


def join_sweep(name: str, storage: str) -> tuple[Storage, Experiment]:
    """Return the database of a sweep, and the experiment that it sweeps. Raises MTBenchError if there is none."""
    place = Storage(storage)
    if place.file and not place.file.is_file():
        raise MTBenchError(f"there is no storage {place}; name the one that `mtbench sweep` uses with --storage")
    with place.reach():
        names = place.names(name)
        if not names:
            raise MTBenchError(f"there is no sweep '{name}' in {place}; start it with `mtbench sweep`")
        experiment = load_experiment(ModelStudy(place, names[0], Sweep()).experiment)
    return Storage(storage, experiment.sweep.heartbeat), experiment


def _take_next(
    candidates: Sequence[Candidate], studies: dict[str, ModelStudy], worker: str
) -> tuple[Candidate, Taken | None]:
    """Take a slot of the model that has the fewest behind it, so that all have as many whenever one looks."""
    behind = {}
    for label, study in studies.items():
        slots = study.slots()
        behind[label] = len(slots.used) + len(slots.running)
    for candidate in sorted(candidates, key=lambda candidate: (behind[candidate.label], candidate.index)):
        taken = studies[candidate.label].take(worker)
        if taken is not None:
            return candidate, taken
    return candidates[0], None


class Parent:
    """The process that started this one, which is gone once the standard input ends.

    While there is work, this process is interrupted then, and in between it ends by itself: an interruption on the way
    out would be reported, though nothing is wrong.
    """

    def __init__(self, *, attached: bool) -> None:
        self._gone = threading.Event()
        self._lock = threading.Lock()
        self._working = False
        if attached:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
            threading.Thread(target=self._wait_for_end, daemon=True).start()

    def _wait_for_end(self) -> None:
        while os.read(sys.stdin.fileno(), 1024):  # not buffered: this thread would hold the buffer's lock at exit
            pass
        with self._lock:
            self._gone.set()
            if self._working:
                _thread.interrupt_main()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Raise KeyboardInterrupt if the parent goes meanwhile, or has gone."""
        with self._lock:
            self._working = True
            if self._gone.is_set():
                _thread.interrupt_main()
        try:
            yield
        finally:
            with self._lock:
                self._working = False

    def wait(self, seconds: float) -> None:
        """Sleep, no longer than the parent is there."""
        self._gone.wait(seconds)

    def is_gone(self) -> bool:
        """Return whether it has ended."""
        return self._gone.is_set()
