"""A group of records as pages show it: rows with ranks and intervals, and who leads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board import addresses, checks, tables
from mtbench.board.labels import Variant, find_variant, label_rows, tell_apart
from mtbench.board.standings import Ranking, Standings, compute_standings
from mtbench.board.tables import Notes, TableValue
from mtbench.board.values import average_improvement
from mtbench.board.whiskers import draw_whiskers
from mtbench.board.wording import UNDEFINED, choose_format, describe_budget, join_names, show_percent, show_ranks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mtbench.board.checks import Badge, Check
    from mtbench.board.groups import Group
    from mtbench.board.resamples import Resamples
    from mtbench.board.standings import Interval, Placing, Transfer
    from mtbench.board.tables import MetricColumn, MetricTable, TableLine
    from mtbench.board.whiskers import Whisker
    from mtbench.record.form import Recipe, Record

MOST_NAMED = 4
LAST_PLACE = 1e-6
"""What a last place counts beside a first one when rows are sorted."""


class Row(NamedTuple):
    """A record among those it is compared with; ``settings`` and ``label`` tell it apart."""

    record: Record
    path: Path
    variant: Variant
    label: str
    settings: Mapping[str, str]
    rank: TableValue
    improvement: TableValue
    values: list[TableValue]
    delta: TableValue
    ranked: bool
    checks: Sequence[Check]

    @property
    def stem(self) -> str:
        """The record's name."""
        return self.path.stem

    @property
    def address(self) -> str:
        """The path of its page."""
        return addresses.locate_record(self.stem)

    @property
    def badge(self) -> Badge:
        """How far it was verified."""
        return checks.find_badge(self.checks)


class Lead(NamedTuple):
    """Who leads on a task or overall, and what is said of it."""

    where: str
    who: str
    said: str


class Comparison(NamedTuple):
    """Everything that pages say of a group."""

    group: Group
    standings: Standings
    columns: list[MetricColumn]
    rows: list[Row]
    bounds: list[tuple[TableLine, TableValue]]
    notes: list[str]
    leads: list[Lead]
    warnings: list[str]

    @property
    def address(self) -> str:
        """The path of its page."""
        return addresses.locate_group(self.group)

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


def compare(group: Group, resamples: Mapping[str, Resamples], by_record: Mapping[str, Sequence[Check]]) -> Comparison:
    """Return what pages say of a group; ``by_record`` has the checks of each record."""
    notes = Notes()
    columns = tables.list_primary_columns(group)
    table = tables.make_table(group, columns, "test", notes)
    standings = compute_standings(group, resamples) if columns else Standings({}, Ranking({}, []), {})
    rows = _make_rows(group, table, standings, by_record, notes)
    labels = {row.stem: row.variant.label for row in rows}
    leads = [
        _describe_lead(column.task.name, standings.tasks[column.task.name], labels, higher=column.higher_is_better)
        for column in columns
    ]
    warnings = dict.fromkeys(warning for record in group.records for warning in record.measured.warnings)
    return Comparison(
        group,
        standings,
        columns,
        rows,
        [(line, _show_improvement(line.improvement)) for line in table.bounds],
        list(notes.texts),
        [_describe_lead("overall", standings.overall, labels), *leads],
        list(warnings),
    )


def _make_rows(
    group: Group, table: MetricTable, standings: Standings, by_record: Mapping[str, Sequence[Check]], notes: Notes
) -> list[Row]:
    apart = _tell_rows_apart(group)
    stems = [path.stem for _, path in group.written]
    rows = []
    intervals = {
        column.task.name: _draw_whiskers(standings.tasks[column.task.name], stems, higher=column.higher_is_better)
        for column in table.columns
    }
    shares = _draw_whiskers(standings.overall, stems)
    labels = label_rows(group.records)
    baselines = {transfer.baseline for transfer in standings.transfer.values()}
    for index, (record, path) in enumerate(group.written):
        stem = path.stem
        placings = {name: ranking.placings.get(stem) for name, ranking in standings.tasks.items()}
        values = [
            value._replace(
                whisker=intervals[column.task.name][index],
                ranks=show_ranks(placing.ranks) if (placing := placings[column.task.name]) and placing.ranks else "",
                interval=_show_interval(placing and placing.value),
                whose=placing.whose if placing else "",
            )
            for column, value in zip(table.columns, table.lines[index].values, strict=True)
        ]
        overall = standings.overall.placings.get(stem)
        share = _show_improvement(average_improvement(record))
        rows.append(
            Row(
                record, path, find_variant(record.recipe), labels[index], apart[index],
                _show_rank(overall, notes),
                share._replace(
                    whisker=shares[index] if share.number is not None else None,
                    interval=_show_interval(overall and overall.value, 100, " %"),
                    whose=overall.whose if overall else "",
                ),
                values,
                _show_delta(standings.transfer.get(stem), baseline=stem in baselines),
                ranked=any(placing and placing.ranks for placing in (overall, *placings.values())),
                checks=by_record.get(stem, ()),
            )
        )  # fmt: skip
    return rows


def _tell_rows_apart(group: Group) -> list[dict[str, str]]:
    """Return what tells rows apart beyond the budget in the heading above them and the inputs beside their name."""
    records = group.records
    budgets = {(record.recipe.budget.kind, describe_budget(record.recipe)) for record in records}
    kinds = Counter(kind for kind, _ in budgets)
    variants = Counter(find_variant(record.recipe) for record in records)

    def is_shown(key: str, recipe: Recipe) -> bool:
        if key == "budget":
            return kinds[recipe.budget.kind] == 1
        return key.startswith("inputs.pooled") and variants[find_variant(recipe)] == 1

    return [
        {key: text for key, text in settings.items() if not is_shown(key, record.recipe)}
        for record, settings in zip(records, tell_apart(group), strict=True)
    ]


def _draw_whiskers(ranking: Ranking, stems: Sequence[str], *, higher: bool = True) -> list[Whisker | None]:
    placings = [ranking.placings.get(stem) for stem in stems]
    return draw_whiskers([placing and placing.value for placing in placings], higher_is_better=higher)


def _show_rank(placing: Placing | None, notes: Notes) -> TableValue:
    """Return the overall rank interval, which is sorted by its first place, then by its last; or why there is none."""
    if placing and placing.ranks:
        first, last = placing.ranks
        return TableValue(show_ranks(placing.ranks), number=first + last * LAST_PLACE)
    reason = placing.reason if placing else "there is no task"
    return TableValue("unranked", note=notes.number(f"unranked: {reason}"), muted=True)


def _show_interval(value: Interval | None, factor: float = 1, unit: str = "") -> str:
    if value is None or value.low is None or value.high is None or value.low == value.high:
        return ""
    low, high = (format(factor * end, choose_format(factor * end)) for end in (value.low, value.high))
    return f"{low} to {high}{unit}"


def _show_improvement(improvement: float | None) -> TableValue:
    if improvement is None:
        return TableValue(UNDEFINED, muted=True)
    return TableValue(format(100 * improvement, ".1f"), number=improvement)


def _show_delta(transfer: Transfer | None, *, baseline: bool) -> TableValue:
    """Return the mean relative change against the baseline."""
    if transfer is None:
        return TableValue("baseline" if baseline else UNDEFINED, muted=True)
    mean, low, high = transfer.mean
    if low is None or high is None:
        return TableValue(show_percent(mean), number=mean, muted=True)
    return TableValue(show_percent(mean), f"{show_percent(low)} to {show_percent(high)}", mean, muted=low <= 0 <= high)


def _describe_lead(where: str, ranking: Ranking, labels: Mapping[str, str], *, higher: bool = True) -> Lead:
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
    names = others[:MOST_NAMED] + ([f"{more} other{'s' if more > 1 else ''}"] if more > 0 else [])
    return Lead(where, leader, f"leads; {join_names(names)} cannot be told from it")


def divide_rows(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows with tuned settings and those with default ones, each under a heading."""
    parts = [[row for row in rows if row.variant.tuned == tuned] for tuned in (True, False)]
    return [(_write_heading(part), part) for part in parts if part]


def _write_heading(rows: Sequence[Row]) -> str:
    """Return the budget of the rows, or what their budgets have in common."""
    budgets = {describe_budget(row.record.recipe) for row in rows}
    text = budgets.pop() if len(budgets) == 1 else "tuned, in several ways"
    return text[0].upper() + text[1:]


def count_rows(comparisons: Sequence[Comparison]) -> Counter[str]:
    """Return how many rows of all comparisons are ranked, unranked and claimed."""
    return sum((Counter(comparison.counts) for comparison in comparisons), Counter[str]())
