"""Tables of a board for papers: LaTeX, Markdown, CSV, and the works to cite."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Literal, NamedTuple

from mtbench.board import checks, resamples
from mtbench.board.groups import group_records
from mtbench.board.labels import label_rows
from mtbench.board.standings import compute_standings
from mtbench.board.values import find_metric
from mtbench.board.wording import UNDEFINED, choose_format, join_names, show_ranks
from mtbench.errors import MTBenchError
from mtbench.record.store import read_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mtbench.board.checks import Badge
    from mtbench.board.groups import Group
    from mtbench.board.standings import Interval, Placing, Standings, Transfer
    from mtbench.record.form import Record
    from mtbench.registry import Registry

Format = Literal["latex", "markdown", "csv", "bibtex"]

TIE = "\N{DAGGER}"
PIPE = r"\|"
COLUMNS = (
    "dataset", "benchmark", "model", "label", "budget", "seeds", "badge", "record", "task", "metric",
    "higher_is_better", "mean", "low", "high", "interval", "first_rank", "last_rank",
    "baseline", "delta_m", "delta_m_low", "delta_m_high",
)  # fmt: skip
LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    TIE: r"$^\dagger$", "\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{EN DASH}": "--",
})  # fmt: skip


class ExportRow(NamedTuple):
    """A record in a table."""

    record: Record
    label: str
    badge: Badge
    placings: list[Placing]
    overall: Placing
    transfer: Transfer | None


class Sheet(NamedTuple):
    """A group of comparable records, in the order of the board."""

    group: Group
    rows: list[ExportRow]
    leading: list[float | None]
    """The best mean of each task among the ranked records."""


def export(records: Path, registry: Registry, form: Format, datasets: Sequence[str] = ()) -> str:
    """Return the tables of a board, or of some datasets, as text. Raises MTBenchError for a dataset without records."""
    written, _ = read_all(records)
    known = {record.recipe.dataset.name for record, _ in written}
    for name in datasets:
        if name not in known:
            raise MTBenchError(f"--dataset {name}: {records} has no records of it, only of {', '.join(sorted(known))}")
    replicates, by_record = resamples.read_all(records)[0], checks.read_all(records)[0]
    badges = {stem: checks.find_badge(of_record) for stem, of_record in by_record.items()}
    sheets = [
        _make_sheet(group, compute_standings(group, replicates), badges)
        for group in group_records(written)
        if not datasets or group.recipe.dataset.name in datasets
    ]
    if form == "csv":
        return _write_csv(sheets)
    if form == "bibtex":
        return _write_bibtex(sheets, registry)
    return "\n".join(map(_write_latex if form == "latex" else _write_markdown, sheets))


def _make_sheet(group: Group, standings: Standings, badges: dict[str, Badge]) -> Sheet:
    tasks = group.recipe.tasks
    rows = [
        ExportRow(
            record,
            label,
            badges.get(record.file_stem, "claimed"),
            [standings.tasks[task.name].placings[record.file_stem] for task in tasks],
            standings.overall.placings[record.file_stem],
            standings.transfer.get(record.file_stem),
        )
        for record, label in zip(group.records, label_rows(group.records), strict=True)
    ]
    leading = []
    for place, task in enumerate(tasks):
        means = [placing.value.mean for row in rows if (placing := row.placings[place]).ranks and placing.value]
        better = max if _is_higher_better(group, task.primary) else min
        leading.append(better(means) if means else None)
    return Sheet(group, rows, leading)


def _is_higher_better(group: Group, metric: str) -> bool:
    part = find_metric(group.records, metric)
    return part is None or part.higher_is_better


def _write_csv(sheets: Iterable[Sheet]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group, rows, _ in sheets:
        for row in rows:
            recipe = row.record.recipe
            for task, placing in zip(recipe.tasks, row.placings, strict=True):
                writer.writerow([
                    recipe.dataset.name, recipe.benchmark.name if recipe.benchmark else "", recipe.model.name,
                    row.label, recipe.budget.kind, len(recipe.seeds), row.badge, row.record.file_stem, task.name,
                    task.primary, _is_higher_better(group, task.primary), *(placing.value or ("", "", "")),
                    placing.whose, *(placing.ranks or ("", "")),
                    row.record.baseline, *(row.transfer.mean if row.transfer else ("", "", "")),
                ])  # fmt: skip
    return out.getvalue()


def _make_cells(sheet: Sheet, bold: str) -> tuple[list[str], list[list[str]]]:
    """Return head and lines of a table: the best mean in bold, what cannot be told from it with a dagger."""
    tasks = sheet.group.recipe.tasks
    measured = bool(sheet.group.baselines)
    head = ["model", *(f"{task.name} ({task.primary})" for task in tasks), "rank"] + ["delta-m"] * measured
    lines = []
    for row in sheet.rows:
        cells = [_show_placing(placing, best, bold) for placing, best in zip(row.placings, sheet.leading, strict=True)]
        delta = _show_change(row.transfer.mean) if row.transfer else UNDEFINED
        rank = show_ranks(row.overall.ranks) if row.overall.ranks else "unranked"
        lines.append([row.label, *cells, rank] + [delta] * measured)
    return head, lines


def _show_placing(placing: Placing, best: float | None, bold: str) -> str:
    if placing.value is None:
        return UNDEFINED
    mean = placing.value.mean
    form = choose_format(mean)
    text = bold.format(format(mean, form)) if placing.ranks and mean == best else format(mean, form)
    tie = TIE if placing.ranks and placing.ranks[0] == 1 and mean != best else ""
    return f"{text}{tie}{_show_ends(placing.value, 1, form)}"


def _show_change(value: Interval) -> str:
    return f"{100 * value.mean:+.2f} %{_show_ends(value, 100, '+.2f')}"


def _show_ends(value: Interval, factor: float, form: str) -> str:
    """Return the interval in brackets, nothing where there is none."""
    if value.low is None or value.high is None:
        return ""
    return f" [{factor * value.low:{form}}, {factor * value.high:{form}}]"


def _write_markdown(sheet: Sheet) -> str:
    head, lines = _make_cells(sheet, "**{}**")
    rows = [head, ["---"] * len(head), *lines]
    table = "\n".join(f"| {' | '.join(' '.join(cell.split()).replace('|', PIPE) for cell in row)} |" for row in rows)
    return f"## {sheet.group.recipe.dataset.name}\n\n{table}\n\n{_write_caption(sheet)}\n"


def _write_latex(sheet: Sheet) -> str:
    head, lines = _make_cells(sheet, "\0{}\0")

    def escape(cell: str) -> str:
        before, *inside = cell.translate(LATEX).split("\0")
        return before if len(inside) < 2 else f"{before}\\textbf{{{inside[0]}}}{inside[1]}"  # noqa: PLR2004

    body = "\n".join(" & ".join(map(escape, line)) + r" \\" for line in lines)
    return "\n".join([
        r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule",
        " & ".join(map(escape, head)) + r" \\", r"\midrule", body, r"\bottomrule", r"\end{tabular}",
        rf"\caption{{{_write_caption(sheet).translate(LATEX)}}}", r"\end{table}", "",
    ])  # fmt: skip


def _write_caption(sheet: Sheet) -> str:
    recipe = sheet.group.recipe
    benchmark = f", benchmark {recipe.benchmark.name}" if recipe.benchmark else ""
    baselines = sheet.group.baselines
    delta = (
        f" delta-m is the mean relative change against {join_names(baselines)} with the same inputs and kind of budget."
        if baselines
        else ""
    )
    whose = sorted({placing.whose for row in sheet.rows for placing in row.placings if placing.whose})
    intervals = f" with 95 % intervals {join_names(whose)}" if whose else ""
    return (
        f"{recipe.dataset.name}{benchmark}: mean over seeds on {recipe.split.rows.get('test', 0):,} test rows"
        f"{intervals}. Bold is the best mean; {TIE} marks what the data cannot tell from the best. Ranks are "
        f"intervals, of the mean improvement over the constant predictor.{delta}"
    )


def _write_bibtex(sheets: Iterable[Sheet], registry: Registry) -> str:
    works: dict[str, str] = {}
    for group, rows, _ in sheets:
        dataset = group.recipe.dataset.name
        if dataset in registry.names("dataset"):
            works[f"data-{dataset}"] = registry.resolve("dataset", dataset).card.citation
        for row in rows:
            model = row.record.recipe.model.name
            card = registry.resolve("model", model).card if model in registry.names("model") else None
            if card and card.paper:
                works[f"model-{model}"] = card.paper
    notes = {key: " ".join(work.split()).translate(LATEX) for key, work in sorted(works.items())}
    return "\n".join(f"@misc{{{key},\n  note = {{{note}}}\n}}\n" for key, note in notes.items())
