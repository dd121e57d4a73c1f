"""A group of records as its page shows it: rows with ranks and intervals, leaders, transfer, who beats whom."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board import addresses, charts, checks, summary, tables
from mtbench.board.charts import Plot, Point
from mtbench.board.standings import Ranking, Standings, standings
from mtbench.board.tables import Column, Line, Notes, Table, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mtbench.board.checks import Badge, Check
    from mtbench.board.resamples import Resamples
    from mtbench.board.standings import Interval, Transfer
    from mtbench.board.summary import Group
    from mtbench.record import Recipe, Record, Tuning
    from mtbench.schema import Task

MOST_PAIRED = 20
"""Rows of the table of who beats whom."""
MOST_NAMED = 4
SIGNIFICANT = 0.05
LEVELS = (0.0, 0.005, 0.01, 0.02, 0.05)
"""Relative changes from which on a cell has the next darker colour."""


class Variant(NamedTuple):
    """What rows of different datasets have in common: the model, how it was set, and which inputs it was given."""

    tuned: bool
    model: str
    given: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name in sentences and pictures."""
        return " ".join([self.model, *(["(tuned)"] if self.tuned else []), *(f"+ {name}" for name in self.given)])


class Row(NamedTuple):
    """A record among those it is compared with; ``settings`` and ``label`` tell it apart."""

    record: Record
    path: Path
    variant: Variant
    label: str
    settings: Mapping[str, str]
    rank: Value
    improvement: Value
    values: list[Value]
    delta: Value
    ranked: bool
    checks: Sequence[Check]

    @property
    def stem(self) -> str:
        """The record's name."""
        return self.path.stem

    @property
    def address(self) -> str:
        """Where its page lies."""
        return addresses.record(self.stem)

    @property
    def badge(self) -> Badge:
        """How far it was verified."""
        return checks.badge(self.checks)


class Cell(NamedTuple):
    """A change or a p with the class of its colour; an unclear one is muted."""

    text: str
    hint: str
    look: str
    unclear: bool


class Matrix(NamedTuple):
    """Cells by row, a None where there is nothing to say; ``left_out`` counts rows that would not fit."""

    title: str
    columns: list[str]
    lines: list[tuple[Row, list[Cell | None]]]
    left_out: int = 0


class Lead(NamedTuple):
    """Who leads on a task or overall, and what is said of it."""

    where: str
    who: str
    said: str


class Comparison(NamedTuple):
    """Everything that pages say of a group."""

    group: Group
    standings: Standings
    columns: list[Column]
    rows: list[Row]
    bounds: list[tuple[Line, Value]]
    notes: list[str]
    leads: list[Lead]
    warnings: list[str]

    @property
    def address(self) -> str:
        """Where its page lies."""
        return addresses.data(self.group)

    @property
    def recipe(self) -> Recipe:
        """A recipe whose dataset, split and tasks are those of every row."""
        return self.group.recipe

    @property
    def benchmarks(self) -> list[tuple[str, str]]:
        """The benchmarks that rows are part of: name and sha256."""
        parts = [record.recipe.benchmark for record in self.group.records]
        return sorted({(part.name, part.sha256) for part in parts if part})

    @property
    def counts(self) -> dict[str, int]:
        """How many rows are ranked, unranked and claimed."""
        ranked = sum(row.ranked for row in self.rows)
        claimed = sum(row.badge == "claimed" for row in self.rows)
        return {"ranked": ranked, "unranked": len(self.rows) - ranked, "claimed": claimed}


def compare(group: Group, resamples: Mapping[str, Resamples], found: Mapping[str, Sequence[Check]]) -> Comparison:
    """Return what pages say of a group; ``found`` are the checks by record."""
    notes = Notes()
    columns = tables.primary_columns(group)
    table = tables.table(group, columns, "test", notes)
    stands = standings(group, resamples) if columns else Standings({}, Ranking({}, []), {})
    rows = _rows(group, table, stands, found, notes)
    labels = {row.stem: row.variant.label for row in rows}
    leads = [
        _lead(column.task.name, stands.tasks[column.task.name], labels, higher=column.higher_is_better)
        for column in columns
    ]
    warned = dict.fromkeys(warning for record in group.records for warning in record.measured.warnings)
    return Comparison(
        group,
        stands,
        columns,
        rows,
        [(line, _share(line.improvement)) for line in table.bounds],
        list(notes.texts),
        [_lead("overall", stands.overall, labels), *leads],
        list(warned),
    )


def _rows(
    group: Group, table: Table, stands: Standings, found: Mapping[str, Sequence[Check]], notes: Notes
) -> list[Row]:
    apart = summary.differences(group.records)
    variants = [_variant(record.recipe) for record in group.records]
    stems = [path.stem for _, path in group.written]
    rows = []
    intervals = {
        column.task.name: _whiskers(stands.tasks[column.task.name], stems, higher=column.higher_is_better)
        for column in table.columns
    }
    shares = _whiskers(stands.overall, stems)
    labels = _labels(variants, apart)
    references = {each.reference for each in stands.transfer.values()}
    for index, (record, path) in enumerate(group.written):
        stem = path.stem
        placings = {name: ranking.placings.get(stem) for name, ranking in stands.tasks.items()}
        values = [
            value._replace(
                whisker=intervals[column.task.name][index],
                ranks=_ranks(placing.ranks) if (placing := placings[column.task.name]) and placing.ranks else "",
                interval=_interval(placing and placing.value),
            )
            for column, value in zip(table.columns, table.lines[index].values, strict=True)
        ]
        overall = stands.overall.placings.get(stem)
        reason = overall.reason if overall else "there is no task"
        share = _share(summary.improvement(record))
        rows.append(
            Row(
                record, path, variants[index], labels[index], apart[index],
                Value(_ranks(overall.ranks), number=sum(overall.ranks)) if overall and overall.ranks
                else Value("unranked", note=notes.number(f"unranked: {reason}"), muted=True),
                share._replace(
                    whisker=shares[index] if share.number is not None else None,
                    interval=_interval(overall and overall.value, 100, " %"),
                ),
                values,
                _delta(stands.transfer.get(stem), reference=stem in references),
                ranked=any(placing and placing.ranks for placing in (overall, *placings.values())),
                checks=found.get(stem, ()),
            )
        )  # fmt: skip
    return rows


def _variant(recipe: Recipe) -> Variant:
    return Variant(recipe.budget.kind == "tuned", recipe.model.name, tuple(one.name for one in recipe.inputs.given))


def _labels(variants: Sequence[Variant], apart: Sequence[Mapping[str, str]]) -> list[str]:
    """Return names that, where they can, tell the rows from each other in a picture."""
    times = Counter(variants)
    labels = []
    for variant, settings in zip(variants, apart, strict=True):
        own = [f"{key} {text}" for key, text in settings.items() if key != "budget" and "inputs" not in key]
        labels.append(f"{variant.label} ({own[0][:40]})" if times[variant] > 1 and own else variant.label)
    return labels


def _whiskers(ranking: Ranking, stems: Sequence[str], *, higher: bool = True) -> list[charts.Whisker | None]:
    placings = [ranking.placings.get(stem) for stem in stems]
    return charts.whiskers([placing and placing.value for placing in placings], higher_is_better=higher)


def _ranks(ranks: tuple[int, int]) -> str:
    first, last = ranks
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def _interval(value: Interval | None, factor: float = 1, unit: str = "") -> str:
    if value is None or value.low == value.high:
        return ""
    low, high = (format(factor * end, summary.form(factor * end)) for end in (value.low, value.high))
    return f"{low} to {high}{unit}"


def _share(improvement: float | None) -> Value:
    if improvement is None:
        return Value(summary.UNDEFINED, muted=True)
    return Value(format(100 * improvement, ".1f"), number=improvement)


def _percent(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def _delta(found: Transfer | None, *, reference: bool) -> Value:
    """Return the mean relative change against the single-task reference."""
    if found is None:
        return Value("reference" if reference else summary.UNDEFINED, muted=True)
    low, high = _percent(found.mean.low), _percent(found.mean.high)
    return Value(
        _percent(found.mean.mean), f"{low} to {high}", found.mean.mean, muted=found.mean.low <= 0 <= found.mean.high
    )


def _lead(where: str, ranking: Ranking, labels: Mapping[str, str], *, higher: bool = True) -> Lead:
    """Return in words who leads and how surely: the lead is shared by all whose first possible rank is 1."""
    ranked = {stem: placing for stem, placing in ranking.placings.items() if placing.ranks and placing.value}
    if not ranked:
        return Lead(where, "", "nobody is ranked yet")
    first = [
        (-placing.value.mean if higher else placing.value.mean, labels[stem])
        for stem, placing in ranked.items()
        if placing.ranks and placing.ranks[0] == 1 and placing.value
    ]
    leader, *others = dict.fromkeys(label for _, label in sorted(first))
    if len(ranked) == 1:
        return Lead(where, leader, "is the only one ranked")
    if not others:
        return Lead(where, leader, "leads")
    more = len(others) - MOST_NAMED
    named = others[:MOST_NAMED] + ([f"{more} other{'s' if more > 1 else ''}"] if more > 0 else [])
    return Lead(where, leader, f"leads; {_listed(named)} cannot be told from it")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def divided(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows with tuned settings and those with default ones, each under a heading."""
    tuned = [row for row in rows if row.variant.tuned]
    default = [row for row in rows if not row.variant.tuned]
    return [each for each in (("Tuned", tuned), ("Default settings", default)) if each[1]]


def pareto(comparison: Comparison) -> list[Plot]:
    """Return the improvement against what it costs, as far as it is known."""
    costs = (
        ("seconds of training, all seeds", lambda record: record.measured.seconds),
        ("trained parameters", lambda record: record.measured.parameters),
        ("operations per row", lambda record: record.measured.flops_per_row),
    )
    found = []
    for title, cost in costs:
        points = [
            Point(row.label, cost(row.record), None if (share := row.improvement.number) is None else 100 * share)
            for row in comparison.rows
        ]
        found.append(charts.pareto(points, title, "improvement, %"))
    return [plot for plot in found if plot]


def tuning(comparison: Comparison) -> Plot | None:
    """Return the best validation score of tuned rows against the epochs that their trials took."""
    tuned: list[tuple[Row, Tuning]] = [
        (row, row.record.measured.tuning) for row in comparison.rows if row.record.measured.tuning
    ]
    points = [Point(row.label, part.epochs, 100 * part.score) for row, part in tuned]
    return charts.scatter(points, "epochs of all trials", "best score on validation, %")


def transfer(comparison: Comparison) -> Matrix:
    """Return the relative change of every task against the single-task reference."""
    found = comparison.standings.transfer
    lines: list[tuple[Row, list[Cell | None]]] = [
        (row, [*(_change(found[row.stem].tasks.get(column.task.name)) for column in comparison.columns), _change(found[row.stem].mean)])
        for row in comparison.rows
        if row.stem in found
    ]  # fmt: skip
    return Matrix("", [*(column.task.name for column in comparison.columns), "mean"], lines)


def _change(interval: Interval | None) -> Cell | None:
    if interval is None:
        return None
    unclear = interval.low <= 0 <= interval.high
    level = sum(abs(interval.mean) >= each for each in LEVELS)
    look = f"{'better' if interval.mean > 0 else 'worse'}-{level}"
    hint = f"95 % interval {_percent(interval.low)} to {_percent(interval.high)} %"
    return Cell(_percent(interval.mean), hint, look, unclear)


def duels(comparison: Comparison) -> list[Matrix]:
    """Return who beats whom, overall and on each task: the best-placed rows with the adjusted p of each pair."""
    rankings = {"overall": comparison.standings.overall} | {
        task.name: comparison.standings.tasks[task.name] for task in comparison.recipe.tasks
    }
    rows = {row.stem: row for row in comparison.rows}
    return [_duels(title, ranking, rows) for title, ranking in rankings.items() if ranking.pairs]


def _duels(title: str, ranking: Ranking, rows: Mapping[str, Row]) -> Matrix:
    placed = sorted((placing.ranks, stem) for stem, placing in ranking.placings.items() if placing.ranks)
    shown = [stem for _, stem in placed[:MOST_PAIRED]]
    inside = set(shown)
    cells: dict[tuple[str, str], Cell] = {}
    for pair in ranking.pairs:
        if pair.first in inside and pair.second in inside:
            ahead = pair.effect.mean > 0
            cells[pair.first, pair.second] = _duel(pair.adjusted, ahead=ahead)
            cells[pair.second, pair.first] = _duel(pair.adjusted, ahead=not ahead)
    lines = [(rows[one], [cells.get((one, other)) for other in shown]) for one in shown]
    return Matrix(title, [rows[stem].label for stem in shown], lines, len(placed) - len(shown))


def _duel(p: float, *, ahead: bool) -> Cell:
    unclear = not p < SIGNIFICANT
    text = "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"  # noqa: PLR2004
    hint = "cannot be told apart" if unclear else "better than" if ahead else "worse than"
    return Cell(text, hint, "better-3" if ahead else "worse-3", unclear)


def rank_chart(comparison: Comparison) -> list[tuple[Row, tuple[int, int]]]:
    """Return the ranked rows with their overall rank intervals, the best first."""
    placings = comparison.standings.overall.placings
    found = [
        (row, ranks)
        for row in comparison.rows
        if (placing := placings.get(row.stem)) and (ranks := placing.ranks) is not None
    ]
    return sorted(found, key=lambda each: (each[1], -(each[0].improvement.number or 0.0), each[0].stem))


def summary_counts(comparisons: Sequence[Comparison]) -> Counter[str]:
    """Return how many rows of all comparisons are ranked, unranked and claimed."""
    return sum((Counter(each.counts) for each in comparisons), Counter())


def metrics_of(group: Group, notes: Notes) -> list[tuple[Task, str, Table]]:
    """Return every metric of every task, on test and on validation."""
    return [
        (task, label, tables.table(group, tables.all_columns(group, task), split, notes))
        for task in group.recipe.tasks
        for split, label in tables.SPLITS.items()
    ]
