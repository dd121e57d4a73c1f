"""Tables of metrics: a column per metric, a row per record or bound, and notes on what has no value."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board.values import (
    BOUNDS,
    average_improvement,
    explain_undefined,
    find_bound,
    find_metric,
    list_bounds,
    list_values,
    summarize,
)
from mtbench.board.wording import UNDEFINED, choose_format, show_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.board.groups import Group
    from mtbench.board.values import JudgedSplit
    from mtbench.board.whiskers import Whisker
    from mtbench.record.form import Record
    from mtbench.schema import Task

SPLIT_NAMES: dict[JudgedSplit, str] = {"test": "test", "valid": "validation"}


class MetricColumn(NamedTuple):
    """A metric of a task."""

    task: Task
    metric: str
    version: int
    higher_is_better: bool
    label: str


class TableValue(NamedTuple):
    """What a cell shows: its text, or the number of the note that says why there is none.

    It is sorted by ``number``; ``seeds`` lists every seed's value in full. Where the table has them, ``interval`` is
    the 95 % interval, ``whose`` says of what, ``whisker`` is its drawing, and ``ranks`` the rank interval.
    """

    text: str
    deviation: str = ""
    number: float | None = None
    seeds: str = ""
    note: int | None = None
    ranks: str = ""
    interval: str = ""
    whose: str = ""
    whisker: Whisker | None = None
    muted: bool = False

    @property
    def hint(self) -> str:
        """What a pointer on it shows."""
        return "; ".join(filter(None, [self.interval and f"95 % interval {self.interval} {self.whose}", self.seeds]))


class Notes:
    """Footnotes, numbered from 1 in the order in which they are first needed."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a note."""
        return self.texts.setdefault(text, len(self.texts) + 1)


class TableLine(NamedTuple):
    """A line of a table of metrics: a record's by its position in the group, or a bound's with an explanation."""

    name: str
    values: list[TableValue]
    position: int | None = None
    explanation: str = ""
    improvement: float | None = None


class MetricTable(NamedTuple):
    """Columns, the lines of records in the group's order, and those of bounds."""

    columns: list[MetricColumn]
    lines: list[TableLine]
    bounds: list[TableLine]

    @property
    def spread(self) -> bool:
        """Whether any cell shows a deviation, beside which the others are aligned."""
        return any(value.deviation for line in self.lines for value in line.values)


def list_primary_columns(group: Group) -> list[MetricColumn]:
    """Return the primary metric of every task."""
    return [_make_column(group, task, task.primary) for task in group.recipe.tasks]


def list_all_columns(group: Group, task: Task) -> list[MetricColumn]:
    """Return every metric of a task, the primary first; a metric of two versions has two columns."""
    versions = {
        (name, part.version): part.higher_is_better
        for record in group.records
        for name, part in record.recipe.metrics.items()
        if name in record.results.get(task.name, {})
    }
    names = [name for name, _ in versions]
    return [
        MetricColumn(
            task, name, version, versions[name, version], f"{name} (v{version})" if names.count(name) > 1 else name
        )
        for name, version in sorted(versions, key=lambda key: (key[0] != task.primary, key))
    ]


def _make_column(group: Group, task: Task, metric: str) -> MetricColumn:
    part = find_metric(group.records, metric)
    version, higher = (part.version, part.higher_is_better) if part else (0, True)
    return MetricColumn(task, metric, version, higher, metric)


def make_table(group: Group, columns: list[MetricColumn], split: JudgedSplit, notes: Notes) -> MetricTable:
    """Return the means over seeds of every record and bound; what has none gets a note."""
    records = group.records
    values = [[_make_value(record, column, split, notes) for record in records] for column in columns]
    lines = [
        TableLine(record.recipe.model.name, [column[index] for column in values], index)
        for index, record in enumerate(records)
    ]
    return MetricTable(columns, lines, _make_bounds(records, columns, split, notes))


def _make_value(record: Record, column: MetricColumn, split: JudgedSplit, notes: Notes) -> TableValue:
    row = list_values(record, column.task.name, column.metric, split) if _has_column(record, column) else []
    spread = summarize(row)
    if spread is None:
        reason = explain_undefined(record, column.task.name, column.metric, split)
        return TableValue(UNDEFINED, note=notes.number(f"{column.task.name} {column.label} on {split}: {reason}"))
    mean, deviation = show_spread(spread)
    seeds = "; ".join(f"seed {seed}: {value}" for seed, value in zip(record.recipe.seeds, row, strict=False))
    return TableValue(mean, deviation, spread.mean, seeds)


def _has_column(record: Record, column: MetricColumn) -> bool:
    """Return whether the record has the column's metric in the column's version."""
    part = record.recipe.metrics.get(column.metric)
    return part is not None and part.version == column.version


def _make_bounds(
    records: Sequence[Record], columns: list[MetricColumn], split: JudgedSplit, notes: Notes
) -> list[TableLine]:
    """Return the lines of the constant predictor and the optima; records that disagree on one have a line each."""
    lines = []
    for kind in list_bounds(records):
        name, explanation = BOUNDS.get(kind, (kind, ""))
        missing = f"{name}: no value in the record"
        by_column = [_list_bound_values(records, kind, column, split) for column in columns]
        improvement = next(
            (share for record in records if (share := average_improvement(record, kind)) is not None), None
        )
        for line in zip_longest(*by_column, fillvalue=TableValue("")):
            values = [TableValue(UNDEFINED, note=notes.number(missing)) if value is None else value for value in line]
            lines.append(TableLine(name, values, explanation=explanation, improvement=improvement))
    return lines


def _list_bound_values(
    records: Sequence[Record], kind: str, column: MetricColumn, split: JudgedSplit
) -> list[TableValue | None]:
    """Return a bound as each record has it, without repetition; a single None where none has it."""
    values = [
        find_bound(record, kind, column.task.name, column.metric, split)
        for record in records
        if _has_column(record, column)
    ]
    texts = {format(value, choose_format(value)): value for value in values if value is not None}
    return [TableValue(text, number=value) for text, value in texts.items()] or [None]


def tabulate_all_metrics(group: Group, notes: Notes) -> list[tuple[Task, str, MetricTable]]:
    """Return every metric of every task, on test and on validation."""
    return [
        (task, label, make_table(group, list_all_columns(group, task), split, notes))
        for task in group.recipe.tasks
        for split, label in SPLIT_NAMES.items()
    ]
