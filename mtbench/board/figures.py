"""Pictures of a comparison: quality against cost, rank intervals, transfer, who beats whom, what tuning found."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board.comparisons import percent
from mtbench.charts.lines import draw_progress
from mtbench.charts.points import Point, draw_pareto

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtbench.board.comparisons import Comparison, Row
    from mtbench.board.standings import Interval, Ranking
    from mtbench.charts.plots import Plot
    from mtbench.record.form import Trial

MOST_PAIRED = 20
"""Rows of the table of who beats whom."""
SIGNIFICANT = 0.05
LEVELS = (0.0, 0.005, 0.01, 0.02, 0.05)
"""Relative changes from which on a cell has the next darker colour."""


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


def pareto(comparison: Comparison) -> list[Plot]:
    """Return the improvement against what it costs, as far as it is known."""
    costs = {
        "seconds": "seconds of training, all seeds",
        "parameters": "trained parameters",
        "flops_per_row": "operations per row",
    }
    found = []
    for cost, title in costs.items():
        points = [
            Point(row.label, getattr(row.record.measured, cost), None if share is None else 100 * share)
            for row in comparison.rows
            for share in [row.improvement.number]
        ]
        found.append(draw_pareto(points, title, "improvement, %"))
    return [plot for plot in found if plot]


def budgets(comparison: Comparison) -> list[Plot]:
    """Return what the trials of tuned rows found: the best score so far against what they had spent until then."""
    tuned = [(row.label, part.trials) for row in comparison.rows if (part := row.record.measured.tuning)]
    spent: dict[str, Callable[[Trial], float]] = {
        "trials": lambda _: 1,
        "epochs of all trials": lambda trial: trial.epochs,
        "seconds of all trials": lambda trial: trial.seconds,
    }
    found = []
    for title, cost in spent.items():
        runs = [
            (label, list(zip(accumulate(map(cost, trials)), _scores(trials), strict=True))) for label, trials in tuned
        ]
        found.append(draw_progress(runs, title, "best score on validation, %"))
    return [plot for plot in found if plot]


def _scores(trials: Sequence[Trial]) -> list[float | None]:
    return [None if trial.score is None else 100 * trial.score for trial in trials]


def transfer(comparison: Comparison) -> Matrix:
    """Return the relative change of every task against the single-task reference."""
    found = comparison.standings.transfer
    tasks = [column.task.name for column in comparison.columns]
    lines = [
        (row, [_change(change) for change in (*map(own.tasks.get, tasks), own.mean)])
        for row in comparison.rows
        if (own := found.get(row.stem))
    ]
    return Matrix("", [*tasks, "mean"], lines)


def _change(interval: Interval | None) -> Cell | None:
    if interval is None:
        return None
    unclear = interval.low <= 0 <= interval.high
    level = sum(abs(interval.mean) >= each for each in LEVELS)
    look = f"{'better' if interval.mean > 0 else 'worse'}-{level}"
    hint = f"95 % interval {percent(interval.low)} to {percent(interval.high)} %"
    return Cell(percent(interval.mean), hint, look, unclear)


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


def shade(share: float) -> int:
    """Return the tenths of a share, for a colour."""
    return round(10 * min(1.0, max(0.0, share)))


def rank_chart(comparison: Comparison) -> list[tuple[Row, tuple[int, int]]]:
    """Return the ranked rows with their overall rank intervals, the best first."""
    placings = comparison.standings.overall.placings
    found = [
        (row, ranks)
        for row in comparison.rows
        if (placing := placings.get(row.stem)) and (ranks := placing.ranks) is not None
    ]
    return sorted(found, key=lambda each: (each[1], -(each[0].improvement.number or 0.0), each[0].stem))
