"""Pictures of a comparison: quality against cost, rank intervals, transfer, who beats whom, what tuning found."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board.wording import show_percent
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


class MatrixCell(NamedTuple):
    """A change or a p with the class of its colour; an unclear one is muted."""

    text: str
    hint: str
    look: str
    unclear: bool


class Matrix(NamedTuple):
    """Cells by row, a None where there is nothing to say; ``left_out`` counts rows that would not fit."""

    title: str
    columns: list[str]
    lines: list[tuple[Row, list[MatrixCell | None]]]
    left_out: int = 0


def draw_costs(comparison: Comparison) -> list[Plot]:
    """Return the improvement against what it costs, as far as it is known."""
    costs = {
        "seconds": "seconds of training, all seeds",
        "parameters": "trained parameters",
        "flops_per_row": "operations per row",
    }
    plots = []
    for cost, title in costs.items():
        points = [
            Point(row.label, getattr(row.record.measured, cost), None if share is None else 100 * share)
            for row in comparison.rows
            for share in [row.improvement.number]
        ]
        plots.append(draw_pareto(points, title, "improvement, %"))
    return [plot for plot in plots if plot]


def draw_budgets(comparison: Comparison) -> list[Plot]:
    """Return what the trials of tuned rows found: the best score so far against what they had spent until then."""
    tuned = [(row.label, part.trials) for row in comparison.rows if (part := row.record.measured.tuning)]
    spent: dict[str, Callable[[Trial], float]] = {
        "trials": lambda _: 1,
        "epochs of all trials": lambda trial: trial.epochs,
        "seconds of all trials": lambda trial: trial.seconds,
    }
    plots = []
    for title, cost in spent.items():
        runs = [
            (label, list(zip(accumulate(map(cost, trials)), _list_scores(trials), strict=True)))
            for label, trials in tuned
        ]
        plots.append(draw_progress(runs, title, "best score on validation, %"))
    return [plot for plot in plots if plot]


def _list_scores(trials: Sequence[Trial]) -> list[float | None]:
    return [None if trial.score is None else 100 * trial.score for trial in trials]


def tabulate_transfer(comparison: Comparison) -> Matrix:
    """Return the relative change of every task against the baseline."""
    transfer = comparison.standings.transfer
    tasks = [column.task.name for column in comparison.columns]
    lines = [
        (row, [_judge_change(change) for change in (*map(own.tasks.get, tasks), own.mean)])
        for row in comparison.rows
        if (own := transfer.get(row.stem))
    ]
    return Matrix("", [*tasks, "mean"], lines)


def _judge_change(interval: Interval | None) -> MatrixCell | None:
    if interval is None:
        return None
    mean, low, high = interval
    look = f"{'better' if mean > 0 else 'worse'}-{sum(abs(mean) >= level for level in LEVELS)}"
    if low is None or high is None:
        return MatrixCell(show_percent(mean), "one seed, not resampled: no interval", look, unclear=True)
    hint = f"95 % interval {show_percent(low)} to {show_percent(high)} %"
    return MatrixCell(show_percent(mean), hint, look, unclear=low <= 0 <= high)


def tabulate_duels(comparison: Comparison) -> list[Matrix]:
    """Return who beats whom, overall and on each task: the best-placed rows with the adjusted p of each pair."""
    rankings = {"overall": comparison.standings.overall} | {
        task.name: comparison.standings.tasks[task.name] for task in comparison.recipe.tasks
    }
    rows = {row.stem: row for row in comparison.rows}
    return [_tabulate_ranking(title, ranking, rows) for title, ranking in rankings.items() if ranking.pairs]


def _tabulate_ranking(title: str, ranking: Ranking, rows: Mapping[str, Row]) -> Matrix:
    placed = sorted((placing.ranks, stem) for stem, placing in ranking.placings.items() if placing.ranks)
    shown = [stem for _, stem in placed[:MOST_PAIRED]]
    inside = set(shown)
    cells: dict[tuple[str, str], MatrixCell] = {}
    for pair in ranking.pairs:
        if pair.first in inside and pair.second in inside:
            ahead = pair.effect.mean > 0
            cells[pair.first, pair.second] = _judge_pair(pair.adjusted, ahead=ahead)
            cells[pair.second, pair.first] = _judge_pair(pair.adjusted, ahead=not ahead)
    lines = [(rows[one], [cells.get((one, other)) for other in shown]) for one in shown]
    return Matrix(title, [rows[stem].label for stem in shown], lines, len(placed) - len(shown))


def _judge_pair(p: float, *, ahead: bool) -> MatrixCell:
    unclear = not p < SIGNIFICANT
    text = "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"  # noqa: PLR2004
    hint = "cannot be told apart" if unclear else "better than" if ahead else "worse than"
    return MatrixCell(text, hint, "better-3" if ahead else "worse-3", unclear)


def choose_shade(share: float) -> int:
    """Return the tenths of a share, for a colour."""
    return round(10 * min(1.0, max(0.0, share)))


def list_rank_intervals(comparison: Comparison) -> list[tuple[Row, tuple[int, int]]]:
    """Return the ranked rows with their overall rank intervals, the best first."""
    placings = comparison.standings.overall.placings
    ranked = [
        (row, ranks)
        for row in comparison.rows
        if (placing := placings.get(row.stem)) and (ranks := placing.ranks) is not None
    ]
    return sorted(ranked, key=lambda line: (line[1], -(line[0].improvement.number or 0.0), line[0].stem))
