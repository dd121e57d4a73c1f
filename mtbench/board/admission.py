"""Admission to a board: the checks that a record must pass before it is compared with others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from mtbench import benchmark as benchmarks
from mtbench.board import checks, resamples
from mtbench.board.consistency import find_contradictions
from mtbench.board.groups import group_records, identify
from mtbench.board.values import find_bound
from mtbench.data.splits import hash_numbers
from mtbench.errors import MTBenchError
from mtbench.evaluation import predictions
from mtbench.evaluation.evaluate import evaluate, version
from mtbench.files import hash_file
from mtbench.provenance import find_engine
from mtbench.record import store
from mtbench.training.efficiency import describe_environment
from mtbench.validation import show_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from mtbench.benchmark import Benchmark
    from mtbench.board.checks import Check
    from mtbench.board.groups import Group
    from mtbench.board.resamples import Resamples
    from mtbench.evaluation.evaluate import Results
    from mtbench.provenance import Provenance
    from mtbench.record.form import Record
    from mtbench.registry import Registry

SAME_PLATFORM = ("platform", "machine", "python", "torch", "numpy")
"""What of two environments must be equal for metrics of the same predictions to have the same bits."""
ROUNDING = 1e-9
"""How far metrics of the same predictions may lie apart on two platforms."""


class Inspection(NamedTuple):
    """A record that a board may hold.

    ``check`` is that of its predictions, None where there are none; ``notes`` are for the reader.
    """

    record: Record
    path: Path
    check: Check | None
    notes: list[str]


def inspect(
    path: Path, registry: Registry, beside: Sequence[Group] = (), known: Path = benchmarks.FOLDER
) -> Inspection:
    """Return a record with its check and notes on it; ``known`` is the folder of benchmarks.

    Raises MTBenchError with every reason why a board that has the records ``beside`` it may not hold it.
    """
    record = store.read(path)
    reasons = [
        *find_contradictions(record),
        *_find_departures(record, registry, known),
        *_find_revisions(record, registry),
    ]
    reasons += _find_disagreements(record, beside)
    notes = find_unknown_code(record, registry)
    check = None
    try:
        table = _read_predictions(record, path)
        if table is None:
            notes.append("there are no predictions beside it, so its numbers are claimed")
        elif not reasons:
            check = _check_predictions(record, table, registry)
    except MTBenchError as error:
        reasons += str(error).splitlines()
    if reasons:
        raise MTBenchError("\n".join(f"{path.name}: {reason}" for reason in reasons))
    return Inspection(record, path, check, notes)


def add(inspection: Inspection, board: Path, registry: Registry) -> Path:
    """Put an inspected record, its check and its resamples among a board's; return its path there."""
    record, path, check, _ = inspection
    if check is not None:
        earlier = checks.read_all(board)[0].get(record.file_stem, ())
        if all(other.level != check.level for other in earlier):
            checks.write(check, board)
        if record.file_stem not in resamples.read_all(board)[0]:
            resamples.write(resamples.make(store.Written(record, path), registry), board)
    return store.copy(store.Written(record, path), board)


def check_all(board: Path, registry: Registry, known: Path = benchmarks.FOLDER) -> tuple[int, list[str]]:
    """Return how many records a board has, and everything that is wrong in its folder; nothing is run."""
    written, problems = store.read_all(board)
    stems = {record.file_stem: record for record, _ in written}
    groups = group_records(written)
    for _, path in written:
        try:
            inspect(path, registry, groups, known)
        except MTBenchError as error:
            problems += str(error).splitlines()
    replicates, wrong = resamples.read_all(board)
    problems += wrong
    for stem, drawn in replicates.items():
        if stem not in stems:
            problems.append(f"{resamples.FOLDER}/{stem}: there is no such record")
        else:
            problems += [f"{resamples.FOLDER}/{stem}: {line}" for line in _find_strangers(stems[stem], drawn)]
    verified, wrong = checks.read_all(board)
    problems += wrong
    problems += [f"{checks.FOLDER}/{stem}: there is no such record" for stem in verified if stem not in stems]
    return len(written), problems


def _find_strangers(record: Record, drawn: Resamples) -> list[str]:
    """Return where resamples cannot be of a record's predictions: their mean is near the record's value."""
    if drawn.predictions != record.predictions.sha256:
        return ["they are of other predictions"]
    lines = []
    for task in record.recipe.tasks:
        own, of_task = record.mean(task.name, task.primary), drawn.tasks.get(task.name)
        values = np.array([value for value in of_task.values if value is not None]) if of_task else np.array([])
        if own is not None and len(values) and abs(values.mean() - own) > values.std() + ROUNDING:
            lines.append(f"task {task.name}: their mean is {values.mean():.6g}, the record's value {own:.6g}")
    return lines


def _find_departures(record: Record, registry: Registry, known: Path) -> list[str]:
    """Return in what a record departs from the benchmark that it names, hand-set settings among it."""
    part = record.recipe.benchmark
    if part is None:
        return []
    path = known / f"{part.name}.yaml"
    if Path(part.name).name != part.name or not path.is_file():
        return [f"recipe.benchmark: there is no benchmark '{part.name}' in {known}"]
    benchmark = benchmarks.load(str(path))
    return [*benchmark.list_violations(record.recipe), *_find_hand_set(record, benchmark, registry)]


def _find_hand_set(record: Record, benchmark: Benchmark, registry: Registry) -> list[str]:
    """Return the settings that are neither defaults nor searched; code that is not here is not judged."""
    recipe = record.recipe
    model = recipe.model
    if model.name not in registry.names("model") or registry.provenance("model", model.name) != model.provenance:
        return []
    complete = recipe.engine == find_engine()  # other code may not have had all of today's settings
    allowed = benchmark.list_allowed(recipe.dataset.name, model.name, recipe.budget.kind, registry)
    own = [
        {
            name: value
            for name, value in settings.items()
            if f"model.{name}" not in recipe.budget.space
            and (complete or name in model.settings)
            and model.settings.get(name) != value
        }
        for settings in allowed
    ]
    return [
        f"recipe.model.settings.{name}: {show_value(model.settings.get(name))}, by default {show_value(value)}; a row "
        "with settings of its own must have searched them within the budget"
        for name, value in min(own, key=len, default={}).items()
    ]


def _find_revisions(record: Record, registry: Registry) -> list[str]:
    """Return where the raw files or the values are of another revision than the dataset plugin here knows."""
    dataset = record.recipe.dataset
    if dataset.name not in registry.names("dataset"):
        return []
    cls = registry.resolve("dataset", dataset.name)
    if registry.provenance("dataset", dataset.name).distribution != dataset.provenance.distribution:
        return []
    reasons = []
    if cls.version != dataset.version:
        reasons.append(f"recipe.dataset.version: {dataset.version}; here the dataset has version {cls.version}")
    try:
        sources = cls(cls.Config.model_validate(dataset.settings)).sources()
    except ValueError as error:
        return [*reasons, f"recipe.dataset.settings: {str(error).splitlines()[0]}"]
    return reasons + [
        f"recipe.dataset.files.{source.name}: sha256 {digest}; this revision has {source.sha256}"
        for source in sources
        if source.sha256 not in {None, digest := dataset.files.get(source.name)}
    ]


def _find_disagreements(record: Record, beside: Sequence[Group]) -> list[str]:
    """Return where the constant predictor is another than in a record that it would be compared with."""
    identity = identify(record.recipe)
    others = next((group.written for group in beside if group.identity == identity), ())
    return [
        f"bounds.constant.{task.name}.{task.primary}: {mine}, but {theirs} in {path.name}"
        for other, path in others[:1]
        for task in record.recipe.tasks
        if (mine := find_bound(record, "constant", task.name, task.primary))
        != (theirs := find_bound(other, "constant", task.name, task.primary))
    ]


def read_groups(board: Path) -> list[Group]:
    """Return the records of a board that may not exist yet."""
    return group_records(store.read_all(board)[0]) if board.is_dir() else []


def find_unknown_code(record: Record, registry: Registry) -> list[str]:
    """Return which code of the record is not the code here, by distribution, version and hash."""
    recipe, versions = record.recipe, record.measured.versions
    names: dict[Provenance, list[str]] = {}
    if recipe.engine is not None and recipe.engine != find_engine():
        names[recipe.engine] = ["the engine"]
    for kind, name, provenance in recipe.code:
        try:
            here = registry.provenance(kind, name)
        except MTBenchError:
            here = None
        if here != provenance:
            names.setdefault(provenance, []).append(f"{kind} {name}")
    return [
        f"{', '.join(dict.fromkeys(of))}: code of {code.distribution} "
        f"{versions.get(code.distribution, '(no version)')}, sha256 {code.sha256}, which is not here"
        for code, of in names.items()
    ]


def _read_predictions(record: Record, path: Path) -> pa.Table | None:
    """Return the predictions beside a record, None if there are none. Raises MTBenchError if they are others."""
    file = path.with_suffix(".parquet")
    if not file.is_file():
        return None
    if (digest := hash_file(file)) != record.predictions.sha256:
        raise MTBenchError(f"predictions: sha256 of {file.name} is {digest}, in the record {record.predictions.sha256}")
    table = predictions.read(file)
    if table.num_rows != record.predictions.rows:
        raise MTBenchError(f"predictions: {table.num_rows} rows, in the record {record.predictions.rows}")
    return table


def _check_predictions(record: Record, table: pa.Table, registry: Registry) -> Check:
    """Compute every metric again whose code is here. Raises MTBenchError with what is not as the record says."""
    recipe = record.recipe
    primary = {task.primary for task in recipe.tasks}
    metrics = {}
    for name, part in recipe.metrics.items():
        try:
            here = registry.provenance("metric", name).distribution
            metric = registry.metric(name)
        except MTBenchError:
            here = None
        if here == part.provenance.distribution and version(metric) == part.version:
            metrics[name] = metric
        elif name in primary:
            raise MTBenchError(
                f"metrics.{name}: version {part.version} of {part.provenance.distribution} is not here, so that the "
                "predictions cannot be judged; install it, or add the record without its predictions, as claimed"
            )
    reasons = _check_rows(record, table)
    results = evaluate(table, recipe.tasks, metrics)
    if results.seeds != recipe.seeds:
        reasons.append(f"predictions: of seeds {results.seeds}, in the record {recipe.seeds}")
        raise MTBenchError("\n".join(reasons))
    here_now = describe_environment()
    same = all(here_now.get(name) == record.measured.environment.get(name) for name in SAME_PLATFORM)
    tolerance = 0.0 if same else ROUNDING
    difference, differing = _compare_values(record, results, tolerance)
    if reasons + differing:
        raise MTBenchError("\n".join(reasons + differing))
    return checks.make(record, "checked", here_now, [], difference=difference, tolerance=tolerance)


def _check_rows(record: Record, table: pa.Table) -> list[str]:
    """Return where the rows that were predicted are not those of the split."""
    reasons = []
    for split in predictions.SPLITS:
        rows = np.unique(table.filter(pc.equal(table["split"], split))["row"].to_numpy())
        count = record.recipe.split.rows.get(split)
        if len(rows) == count and hash_numbers([rows]) != record.recipe.split.fingerprints.get(split):
            reasons.append(f"predictions: the {split} rows are not those of the split")
        elif count is None or len(rows) > count:
            reasons.append(f"predictions: {len(rows)} {split} rows, the split has {count}")
    return reasons


def _compare_values(record: Record, results: Results, tolerance: float) -> tuple[float, list[str]]:
    """Return the largest difference of a value, and a line for each that is too large."""
    largest, differing = 0.0, []
    for task, cells in results.values.items():
        for metric, cell in cells.items():
            claimed = record.results.get(task, {}).get(metric)
            if claimed is None:
                differing.append(f"results.{task}.{metric}: is missing")
                continue
            for split in predictions.SPLITS:
                for seed, value, again in zip(
                    results.seeds, getattr(claimed, split), getattr(cell, split), strict=True
                ):
                    apart = measure_gap(value, again)
                    largest = max(largest, apart)
                    if apart > tolerance:
                        differing.append(
                            f"results.{task}.{metric}.{split}, seed {seed}: {value}, but the predictions give {again}"
                        )
    return largest, differing


def measure_gap(value: float | None, again: float | None) -> float:
    """Return how far two values lie apart; infinitely far if one of them is undefined."""
    if value is None or again is None:
        return 0.0 if value is again else float("inf")
    return abs(value - again)
