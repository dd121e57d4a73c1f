"""Tables of metrics: a column per metric, a row per record or bound, and notes on what has no value."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.board.summary import Group, Split
    from mtbench.board.whiskers import Whisker
    from mtbench.record.form import Record
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

    It is sorted by ``number``; ``seeds`` lists every seed's value in full. Where the table has them, ``interval`` is
    the 95 % interval, ``whisker`` its drawing, and ``ranks`` the rank interval.
    """

    text: str
    deviation: str = ""
    number: float | None = None
    seeds: str = ""
    note: int | None = None
    ranks: str = ""
    interval: str = ""
    whisker: Whisker | None = None
    muted: bool = False

    @property
    def hint(self) -> str:
        """What a pointer on it shows."""
        return "; ".join(filter(None, [self.interval and f"95 % interval {self.interval}", self.seeds]))


class Notes:
    """Footnotes, numbered from 1 in the order in which they are first needed."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a note."""
        return self.texts.setdefault(text, len(self.texts) + 1)


class Line(NamedTuple):
    """A line of a table of metrics: a record's by its position in the group, or a bound's with an explanation."""

    name: str
    values: list[Value]
    position: int | None = None
    explanation: str = ""
    improvement: float | None = None


class Table(NamedTuple):
    """Columns, the lines of records in the group's order, and those of bounds."""

    columns: list[Column]
    lines: list[Line]
    bounds: list[Line]

    @property
    def spread(self) -> bool:
        """Whether any cell shows a deviation, beside which the others are aligned."""
        return any(value.deviation for line in self.lines for value in line.values)


def primary_columns(group: Group) -> list[Column]:
    """Return the primary metric of every task."""
    return [_column(group, task, task.primary) for task in group.recipe.tasks]


def all_columns(group: Group, task: Task) -> list[Column]:
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


def _column(group: Group, task: Task, metric: str) -> Column:
    found = summary.metric_part(group.records, metric)
    version, higher = (found.version, found.higher_is_better) if found else (0, True)
    return Column(task, metric, version, higher, metric)


def table(group: Group, columns: list[Column], split: Split, notes: Notes) -> Table:
    """Return the means over seeds of every record and bound; what has none gets a note."""
    records = group.records
    values = [[_value(record, column, split, notes) for record in records] for column in columns]
    lines = [
        Line(record.recipe.model.name, [column[index] for column in values], index)
        for index, record in enumerate(records)
    ]
    return Table(columns, lines, _bounds(records, columns, split, notes))


def _value(record: Record, column: Column, split: Split, notes: Notes) -> Value:
    row = summary.values(record, column.task.name, column.metric, split) if _computed(record, column) else []
    spread = summary.spread(row)
    if spread is None:
        reason = summary.reasons(record, column.task.name, column.metric, split)
        return Value(summary.UNDEFINED, note=notes.number(f"{column.task.name} {column.label} on {split}: {reason}"))
    mean, deviation = summary.texts(spread)
    seeds = "; ".join(f"seed {seed}: {value}" for seed, value in zip(record.recipe.seeds, row, strict=False))
    return Value(mean, deviation, spread.mean, seeds)


def _computed(record: Record, column: Column) -> bool:
    """Return whether the record has the column's metric in the column's version."""
    part = record.recipe.metrics.get(column.metric)
    return part is not None and part.version == column.version


def _bounds(records: Sequence[Record], columns: list[Column], split: Split, notes: Notes) -> list[Line]:
    """Return the lines of the constant predictor and the optima; records that disagree on one have a line each."""
    lines = []
    for kind in summary.bound_kinds(records):
        name, explanation = summary.BOUNDS.get(kind, (kind, ""))
        missing = f"{name}: no value in the record"
        found = [_bound_values(records, kind, column, split) for column in columns]
        improvement = next(
            (share for record in records if (share := summary.improvement(record, kind)) is not None), None
        )
        for each in zip_longest(*found, fillvalue=Value("")):
            values = [
                Value(summary.UNDEFINED, note=notes.number(missing)) if value is None else value for value in each
            ]
            lines.append(Line(name, values, explanation=explanation, improvement=improvement))
    return lines


def _bound_values(records: Sequence[Record], kind: str, column: Column, split: Split) -> list[Value | None]:
    """Return a bound as each record has it, without repetition; a single None where none has it."""
    found = [
        summary.bound(record, kind, column.task.name, column.metric, split)
        for record in records
        if _computed(record, column)
    ]
    texts = {format(value, summary.form(value)): value for value in found if value is not None}
    return [Value(text, number=value) for text, value in texts.items()] or [None]


def every_metric(group: Group, notes: Notes) -> list[tuple[Task, str, Table]]:
    """Return every metric of every task, on test and on validation."""
    return [
        (task, label, table(group, all_columns(group, task), split, notes))
        for task in group.recipe.tasks
        for split, label in SPLITS.items()
    ]
