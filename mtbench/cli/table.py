"""The table that the terminal shows after a run."""

from __future__ import annotations

import textwrap
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from mtbench.board.groups import group_records
from mtbench.board.labels import tell_apart
from mtbench.board.values import (
    BOUNDS,
    count_unfinished,
    explain_undefined,
    find_bound,
    list_bounds,
    list_values,
    summarize,
)
from mtbench.board.wording import UNDEFINED, choose_format, describe_budget, show_spread
from mtbench.cli.options import stdout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from mtbench.board.groups import Group
    from mtbench.board.values import Spread
    from mtbench.record.form import Record
    from mtbench.record.store import Written
    from mtbench.schema import Task

HEAD_WIDTH = 18
MODEL_WIDTH = 26
GAP = 3
UNITS = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"))


class Column(NamedTuple):
    """A head of several lines and one cell per row."""

    head: list[str]
    cells: list[Text]

    @property
    def width(self) -> int:
        """Width of the longest line."""
        return max(
            cell_len(line) for text in (*self.head, *(cell.plain for cell in self.cells)) for line in text.split("\n")
        )

    def align(self, row: int) -> Text:
        """Return a cell against the right edge; what is padded on its right stays padded, unlike in rich."""
        cell = self.cells[row].copy()
        cell.pad_left(self.width - cell.cell_len)
        cell.justify = "left"
        return cell


def show_results(done: Sequence[Written], failures: Mapping[str, str]) -> None:
    """Print the primary metric of every task on test, as many tables wide as the terminal needs.

    ``failures`` says of which models there are no values, and why; they are rows of the last table.
    """
    console = stdout()
    groups = group_records(done)
    for group in groups:
        _show(group, failures if group is groups[-1] else {}, console)


def _show(group: Group, failures: Mapping[str, str], console: Console) -> None:
    records = group.records
    kinds = list_bounds(records)
    names = _make_names(group, kinds)
    columns = [_make_task_column(records, kinds, task) for task in group.recipe.tasks]
    columns += [
        _make_column("parameters", [_show_count(record.measured.parameters) for record in records], kinds),
        _make_column("seconds", [f"{record.measured.seconds:,.1f}" for record in records], kinds),
    ]
    for part in _divide_columns(columns, console.width - names.width):
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("\n".join(names.head), overflow="fold", vertical="top")
        for column in part:
            table.add_column("\n".join(column.head), justify="right", no_wrap=True)
        rows = [(name, *(column.align(index) for column in part)) for index, name in enumerate(names.cells)]
        for row in (*rows[: len(records)], *((Text(model), Text("failed", style="red")) for model in failures)):
            table.add_row(*row)
        table.add_section()
        for row in rows[len(records) :]:
            table.add_row(*row)
        console.print()
        console.print(table)
    console.print()
    failed = [f"{model} failed: {reason.splitlines()[0]}" for model, reason in failures.items()]
    for line in (*_write_notes(group), *failed):
        console.print(line, style="dim")


def _make_names(group: Group, kinds: Sequence[str]) -> Column:
    """Return the first column: models with what tells them apart below, then the bounds."""
    cells = []
    for record, settings in zip(group.records, tell_apart(group), strict=True):
        name = Text(record.recipe.model.name, overflow="fold")
        for key, text in settings.items():
            for line in textwrap.wrap(f"{key} {text}", MODEL_WIDTH - 2):
                name.append(f"\n  {line}", style="dim")
        cells.append(name)
    return Column(["", "model"], cells + [Text(BOUNDS.get(kind, (kind,))[0], style="dim") for kind in kinds])


def _make_task_column(records: Sequence[Record], kinds: Sequence[str], task: Task) -> Column:
    """Return the means and deviations of a task's primary metric, aligned; the best mean bold."""
    metric = task.primary
    spreads = [summarize(list_values(record, task.name, metric)) for record in records]
    shown = [(UNDEFINED, "") if spread is None else show_spread(spread) for spread in spreads]
    for kind in kinds:
        values = [find_bound(record, kind, task.name, metric) for record in records]
        known = [value for value in values if value is not None]
        shown.append((format(known[0], choose_format(known[0])) if known else UNDEFINED, ""))
    shown = [(mean, f" ± {deviation}" if deviation else "") for mean, deviation in shown]
    best = _find_best(records, task, spreads)
    cells = [
        Text(mean, style="bold" if index in best else "").append(deviation, style="not bold")
        for index, (mean, deviation) in enumerate(shown)
    ]
    widest = max(len(deviation) for _, deviation in shown)
    for cell, (_, deviation) in zip(cells, shown, strict=True):
        cell.pad_right(widest - len(deviation))
    for cell in cells[len(records) :]:
        cell.stylize("dim")
    given = textwrap.wrap(f"given {task.given}", HEAD_WIDTH) if task.given else []
    part = next((record.recipe.metrics[metric] for record in records if metric in record.recipe.metrics), None)
    arrow = "" if part is None else " ↑" if part.higher_is_better else " ↓"
    return Column([*textwrap.wrap(task.name, HEAD_WIDTH), *given, f"{metric}{arrow}"], cells)


def _find_best(records: Sequence[Record], task: Task, spreads: Sequence[Spread | None]) -> set[int]:
    """Return which rows have the best mean; none if there is nothing to choose from or any has a single seed."""
    known = {index: spread for index, spread in enumerate(spreads) if spread is not None}
    part = records[0].recipe.metrics.get(task.primary)
    if part is None or len(known) < 2 or any(spread.deviation is None for spread in known.values()):  # noqa: PLR2004
        return set()
    best = (max if part.higher_is_better else min)(spread.mean for spread in known.values())
    return {index for index, spread in known.items() if spread.mean == best}


def _make_column(head: str, texts: Sequence[str], kinds: Sequence[str]) -> Column:
    return Column([head], [Text(text) for text in (*texts, *("" for _ in kinds))])


def _divide_columns(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Divide columns into as few tables of at most this width as there can be, about equally wide."""
    widths = [column.width + GAP for column in columns]
    middles = [right - width / 2 for right, width in zip(accumulate(widths), widths, strict=True)]
    for count in range(1, len(columns) + 1):
        places = [int(middle / sum(widths) * count) for middle in middles]
        parts = [[index for index, place in enumerate(places) if place == part] for part in range(count)]
        if all(sum(widths[index] for index in part) <= width for part in parts):
            break
    return [[columns[index] for index in part] for part in parts if part]


def _write_notes(group: Group) -> list[str]:
    records = group.records
    counts = sorted({len(record.recipe.seeds) for record in records})
    over = f"{counts[0]} seeds" if len(counts) == 1 else "each row's seeds"
    notes = ["test rows; arrows point to better values"]
    if any(record.recipe.budget.kind == "tuned" for record in records):
        budgets = dict.fromkeys(describe_budget(record.recipe) for record in records)
        notes.append(f"settings: {'; '.join(budgets)}")
    if counts[-1] > 1:
        notes.append(f"± is the standard deviation over {over}; bold is the best mean,")
        notes.append("  but a difference within ± means nothing")
    late = sum(map(count_unfinished, records))
    trained = sum(len(record.recipe.seeds) for record in records)
    if late:
        notes.append(f"{late} of {trained} trainings were best in their last epoch: more epochs may do better")
    for record in records:
        for task in group.recipe.tasks:
            if summarize(list_values(record, task.name, task.primary)) is None:
                reason = explain_undefined(record, task.name, task.primary)
                notes.append(f"{UNDEFINED} {record.recipe.model.name}, {task.name} {task.primary}: {reason}")
    return notes


def _show_count(count: int | None) -> str:
    return UNDEFINED if count is None else shorten(count)


def shorten(count: int) -> str:
    """Return a count with three digits and a unit: 812, 1.23M."""
    for size, unit in UNITS:
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}" if count < 1000 * size else f"{count / size:,.0f}{unit}"
    return str(count)
