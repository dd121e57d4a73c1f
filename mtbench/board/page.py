"""The page: a static site made from records alone, byte for byte the same for the same records."""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from mtbench.board import summary
from mtbench.errors import MTBenchError
from mtbench.record import atomically, read_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.board.summary import Group, Split
    from mtbench.record import Record, Written
    from mtbench.schema import Task

SPLITS: dict[Split, str] = {"test": "test", "valid": "validation"}


class Column(NamedTuple):
    """A metric of a task."""

    task: Task
    metric: str
    version: int
    higher_is_better: bool
    label: str


class Value(NamedTuple):
    """A cell: its text, or the number of the note that says why there is none.

    ``seeds`` lists every seed's value in full; ``dots`` are their places from 0 (worst in the column) to 100 (best).
    """

    mean: str
    deviation: str = ""
    seeds: str = ""
    dots: tuple[float, ...] = ()
    note: int | None = None


class Notes:
    """Footnotes of a group, numbered from 1 in the order in which they are first needed."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        """Return the number of a note."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


class Row(NamedTuple):
    """A line of a table: a record's, or a bound's, which has an explanation instead of settings."""

    name: str
    values: list[Value]
    record: Record | None = None
    settings: Mapping[str, str] = MappingProxyType({})
    explanation: str = ""
    improvement: float | None = None
    ranked: bool = True


class Table(NamedTuple):
    """Columns, the rows of records and the rows of bounds."""

    columns: list[Column]
    rows: list[Row]
    bounds: list[Row]

    @property
    def spread(self) -> bool:
        """Whether any cell shows a deviation, beside which the others are aligned."""
        return any(value.deviation for row in self.rows for value in row.values)


class View(NamedTuple):
    """Everything that the page shows of a group."""

    group: Group
    primary: Table
    ordered: bool
    others: list[tuple[Task, str, Table]]
    notes: list[str]
    other_notes: list[str]
    warnings: list[str]
    links: dict[str, str]


def build(records: Path, out: Path) -> Path:
    """Write the page of a folder of records into the folder ``out``; return its path.

    Files that are no records are named on the page. Raises MTBenchError if there is no such folder or nothing can be
    written.
    """
    written, problems = read_all(records)
    inside = os.path.join(records, "")  # noqa: PTH118 - Path drops the separator at the end
    text = render(written, [problem.replace(inside, "") for problem in problems], out)
    path = out / "index.html"
    try:
        atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))
    except OSError as error:
        raise MTBenchError(f"{path}: the page cannot be written: {error.strerror or error}") from error
    return path


def render(written: Sequence[Written], problems: Sequence[str], out: Path) -> str:
    """Return the page as HTML; records are linked relative to the folder ``out``."""
    environment = Environment(
        loader=PackageLoader("mtbench.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals = {
        "budget": summary.budget,
        "flat": summary.flat,
        "inputs": summary.inputs,
        "seeds_text": summary.seeds,
        "statistics": summary.statistics,
        "values": summary.values,
        "ranked_seeds": summary.RANKED_SEEDS,
    }
    views = [_view(group, out) for group in summary.groups(written)]
    return environment.get_template("index.html.j2").render(views=views, problems=problems, count=len(written))


def _view(group: Group, out: Path) -> View:
    notes, other_notes = Notes(), Notes()
    tasks = group.recipe.tasks
    main = _table(group, [_column(group, task, task.primary) for task in tasks], "test", notes)
    others = [
        (task, label, _table(group, _all_columns(group, task), split, other_notes))
        for task in tasks
        for split, label in SPLITS.items()
    ]
    return View(
        group,
        main,
        ordered=any(row.improvement is not None for row in main.rows),
        others=others,
        notes=notes.texts,
        other_notes=other_notes.texts,
        warnings=list(dict.fromkeys(warning for record in group.records for warning in record.measured.warnings)),
        links={record.file_stem: _link(path, out) for record, path in group.written},
    )


def _link(path: Path, out: Path) -> str:
    """Return the address of a record's file from the page, empty where there is none (another drive)."""
    try:
        return quote(Path(os.path.relpath(path, out)).as_posix())
    except ValueError:
        return ""


def _column(group: Group, task: Task, metric: str) -> Column:
    found = next((r.recipe.metrics[metric] for r in group.records if metric in r.recipe.metrics), None)
    version, higher = (found.version, found.higher_is_better) if found else (0, True)
    return Column(task, metric, version, higher, metric)


def _all_columns(group: Group, task: Task) -> list[Column]:
    """Return every metric of a task, the primary first; a metric of two versions has two columns."""
    found = {
        (name, part.version): part.higher_is_better
        for record in group.records
        for name, part in record.recipe.metrics.items()
        if name in record.results.get(task.name, {})
    }
    names = [name for name, _ in found]
    return [
        Column(task, name, version, found[name, version], f"{name} (v{version})" if names.count(name) > 1 else name)
        for name, version in sorted(found, key=lambda each: (each[0] != task.primary, each))
    ]


def _table(group: Group, columns: list[Column], split: Split, notes: Notes) -> Table:
    records = group.records
    values = [_column_values(records, column, split, notes) for column in columns]
    told_apart = summary.differences(records)
    rows = [
        Row(
            record.recipe.model.name,
            [column[index] for column in values],
            record,
            told_apart[index],
            improvement=summary.improvement(record),
            ranked=len(record.recipe.seeds) >= summary.RANKED_SEEDS,
        )
        for index, record in enumerate(records)
    ]
    return Table(columns, rows, _bounds(records, columns, split, notes))


def _column_values(records: list[Record], column: Column, split: Split, notes: Notes) -> list[Value]:
    """Return one column's cells."""
    found = [_seed_values(record, column, split) for record in records]
    known = [value for row in found for value in row if value is not None]
    worst, best = (min(known, default=0), max(known, default=0))
    if not column.higher_is_better:
        worst, best = best, worst

    def cell(record: Record, row: list[float | None]) -> Value:
        spread = summary.spread(row)
        if spread is None:
            reason = summary.reasons(record, column.task.name, column.metric, split)
            return Value(
                summary.UNDEFINED, note=notes.number(f"{column.task.name} {column.label} on {split}: {reason}")
            )
        mean, deviation = summary.texts(spread)
        seeds = "; ".join(f"seed {seed}: {value}" for seed, value in zip(record.recipe.seeds, row, strict=False))
        dots = [50.0 if best == worst else 100 * (value - worst) / (best - worst) for value in row if value is not None]
        return Value(mean, deviation, seeds, tuple(dots))

    return [cell(record, row) for record, row in zip(records, found, strict=True)]


def _seed_values(record: Record, column: Column, split: Split) -> list[float | None]:
    return summary.values(record, column.task.name, column.metric, split) if _computed(record, column) else []


def _computed(record: Record, column: Column) -> bool:
    """Return whether the record has the column's metric in the column's version."""
    part = record.recipe.metrics.get(column.metric)
    return part is not None and part.version == column.version


def _bounds(records: list[Record], columns: list[Column], split: Split, notes: Notes) -> list[Row]:
    """Return the rows of the constant predictor and the optima; records that disagree on one have a row each."""
    rows = []
    for kind in summary.bound_kinds(records):
        name, explanation = summary.BOUNDS.get(kind, (kind, ""))
        missing = f"{name}: no value in the record"
        found = [_bound_texts(records, kind, column, split) for column in columns]
        improvement = next(
            (share for record in records if (share := summary.improvement(record, kind)) is not None), None
        )
        for texts in zip_longest(*found, fillvalue=""):
            values = [
                Value(summary.UNDEFINED, note=notes.number(missing)) if text is None else Value(text) for text in texts
            ]
            rows.append(Row(name, values, explanation=explanation, improvement=improvement))
    return rows


def _bound_texts(records: list[Record], kind: str, column: Column, split: Split) -> list[str | None]:
    """Return a bound as each record has it, without repetition; a single None where none has it."""
    found = [
        summary.bound(record, kind, column.task.name, column.metric, split)
        for record in records
        if _computed(record, column)
    ]
    return list(dict.fromkeys(format(value, summary.form(value)) for value in found if value is not None)) or [None]
