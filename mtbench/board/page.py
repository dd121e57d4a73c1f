"""The site: static pages made from records alone, byte for byte the same for the same records."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mtbench.board import addresses, checks, comparisons, figures, models, recipes, resamples, tables, wording
from mtbench.board.groups import group_records
from mtbench.board.publishing import publish
from mtbench.board.standings import RANKED_SEEDS
from mtbench.board.values import average_statistics, list_values
from mtbench.charts.pages import open_templates
from mtbench.record import store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jinja2 import Environment

    from mtbench.board.comparisons import Comparison, Row

ASSETS = ("style.css", "theme.js", "board.js")


def build(records: Path, out: Path) -> Path:
    """Write the site of a folder of records into the folder ``out``; return the path of its first page.

    Pages of earlier builds that are no longer made are removed, other files left alone. Files that are no records are
    named on the first page. Raises MTBenchError if there is no such folder or something cannot be written.
    """
    written, problems = store.read_all(records)
    by_record, wrong_checks = checks.read_all(records)
    replicates, wrong_resamples = resamples.read_all(records)
    inside = os.path.join(records, "")  # noqa: PTH118 - Path drops the separator at the end
    left_out = [problem.replace(inside, "") for problem in (*problems, *wrong_checks, *wrong_resamples)]
    views = [comparisons.compare(group, replicates, by_record) for group in group_records(written)]
    publish(render_pages(views, left_out, out), out)
    return out / "index.html"


def render_pages(views: Sequence[Comparison], problems: Sequence[str], out: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of each page within ``out`` and its content; the first page comes last, after what it links to."""
    environment = _make_environment()
    for name in ASSETS:
        yield name, environment.get_template(f"{name}.j2").render()
    record_page, data_page = environment.get_template("record.html.j2"), environment.get_template("data.html.j2")
    for view in views:
        yield view.address, data_page.render(_fill_data(view))
        for row in view.rows:
            yield row.address, record_page.render(_fill_record(view, row, out))
    model_page = environment.get_template("model.html.j2")
    every = models.collect_models(views)
    for name, lines in every.items():
        yield addresses.locate_model(name), model_page.render(root="../", name=name, lines=lines)
    yield (
        "index.html",
        environment.get_template("index.html.j2").render(
            root="",
            views=views,
            problems=problems,
            twins={name for name, count in Counter(view.recipe.dataset.name for view in views).items() if count > 1},
            models=list(every),
            overview=models.make_overview(views),
            counts=comparisons.count_rows(views),
        ),
    )


def _make_environment() -> Environment:
    environment = open_templates("mtbench.board")
    environment.globals |= {
        "describe_budget": wording.describe_budget,
        "divide_rows": comparisons.divide_rows,
        "flatten": wording.flatten,
        "describe_inputs": wording.describe_inputs,
        "locate_model": addresses.locate_model,
        "ranked_seeds": RANKED_SEEDS,
        "choose_shade": figures.choose_shade,
        "show_seeds": wording.show_seeds,
        "show_setting": wording.show_setting,
        "average_statistics": average_statistics,
        "list_values": list_values,
    }
    return environment


def _fill_data(view: Comparison) -> dict[str, Any]:
    notes = tables.Notes()
    return {
        "root": "../",
        "view": view,
        "pareto": figures.draw_costs(view),
        "ranks": figures.list_rank_intervals(view),
        "transfer": figures.tabulate_transfer(view),
        "duels": figures.tabulate_duels(view),
        "budgets": figures.draw_budgets(view),
        "others": tables.tabulate_all_metrics(view.group, notes),
        "other_notes": list(notes.texts),
    }


def _fill_record(view: Comparison, row: Row, out: Path) -> Mapping[str, Any]:
    return {
        "root": "../",
        "view": view,
        "row": row,
        "record": row.record,
        "curves": recipes.draw_learning_curves(row.record),
        "experiment": recipes.write_experiment(row.record),
        "link": _find_link(row.path, out / "records"),
    }


def _find_link(path: Path, folder: Path) -> str:
    """Return the address of a record's file from a page, empty where there is none (another drive)."""
    try:
        return quote(Path(os.path.relpath(path, folder)).as_posix())
    except ValueError:
        return ""
