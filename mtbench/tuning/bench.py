"""A benchmark's records: which are there, and how the missing ones are made."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mtbench.errors import BusyError, MTBenchError
from mtbench.plan import make_plan
from mtbench.record import store
from mtbench.registry import Registry
from mtbench.training.failures import Failures
from mtbench.training.prepare import prepare_data, set_batch_size
from mtbench.training.recipe import make_recipe
from mtbench.training.run import run
from mtbench.training.work import Work
from mtbench.tuning.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtbench.benchmark import Benchmark, BenchmarkRow
    from mtbench.experiment import Experiment
    from mtbench.record.form import Record
    from mtbench.record.store import Written


class Place(NamedTuple):
    """A row with its record, None where it is missing."""

    row: BenchmarkRow
    record: Record | None


def status(
    benchmark: Benchmark, records: Path, registry: Registry, datasets: Sequence[str] = (), models: Sequence[str] = ()
) -> list[Place]:
    """Return the rows of a benchmark and what a folder of records has of them; there may be no folder yet."""
    known = _read_records(records)
    return [
        Place(row, row.find(known, benchmark.part, benchmark.settings(row, registry)))
        for row in benchmark.rows(datasets, models)
    ]


def _read_records(folder: Path) -> list[Record]:
    return [record for record, _ in store.read_all(folder)[0]] if folder.is_dir() else []


def fill(
    benchmark: Benchmark,
    records: Path,
    *,
    datasets: Sequence[str] = (),
    models: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    sweeps: Path = Path("sweeps"),
    storage: str | None = None,
    workers: int = 1,
    progress: bool = False,
    say: Callable[[str], None] = lambda _: None,
    on_record: Callable[[Written], None] = lambda _: None,
) -> list[Written]:
    """Make the records of a benchmark that a folder does not have, and return them.

    Interrupted trainings and sweeps go on; a row that another process works on is left to it. Raises ModelsError,
    once everything else is made, for the rows that failed, or whose data or code here are not the benchmark's.
    """
    registry = Registry.load([Path(file) for file in plugins])
    written: list[Written] = []
    failures = Failures(say)
    for row in benchmark.rows(datasets, models):
        where = f"{row.frozen.dataset.name}: {row.label}"
        with failures.collect(where):
            # looked up each time: another process or machine may have brought it meanwhile
            record = row.find(_read_records(records), benchmark.part, benchmark.settings(row, registry))
            if record is not None:
                Work(records, record.key).tidy()
                say(f"{where}: its record is there: {record.file_stem}")
                continue
            say(where)
            experiment = benchmark.experiment(row, registry)
            check(benchmark, experiment, registry)
            if row.kind == "tuned":
                written += sweep(
                    experiment, name=sweep_name(benchmark, row), folder=sweeps, storage=storage, workers=workers,
                    records=records, plugins=plugins, progress=progress, on_record=on_record, benchmark=benchmark.part,
                )  # fmt: skip
            else:
                written += run(
                    experiment, records=records, plugins=plugins, progress=progress, on_record=on_record,
                    benchmark=benchmark.part,
                )  # fmt: skip
    with suppress(BusyError):  # a row that another process works on is its own
        failures.report()
    return written


def check(benchmark: Benchmark, experiment: Experiment, registry: Registry) -> None:
    """Raise MTBenchError if this machine's data or code would make records that are not the benchmark's."""
    plan = make_plan(experiment, registry, f"benchmark '{benchmark.name}'")
    columns = prepare_data(plan)
    recipe = make_recipe(set_batch_size(plan, columns), columns, plan.models[0], benchmark=benchmark.part)
    if violations := benchmark.list_violations(recipe):
        raise MTBenchError(f"this is not what benchmark '{benchmark.name}' was made of:\n" + "\n".join(violations))


def sweep_name(benchmark: Benchmark, row: BenchmarkRow) -> str:
    """Return the name of the sweep that tunes a row."""
    same = "-same-inputs" if row.entry.same_inputs else ""
    return f"{benchmark.name}-{row.frozen.dataset.name}-{row.entry.model.name}{same}"
