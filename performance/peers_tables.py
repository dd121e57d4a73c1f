"""What peers.py found, as tables and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from mtbench.charts.bars import draw_bars

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from mtbench.charts.plots import Plot

GB = 1e9
PICTURE_WIDTH = 320


class Measure(NamedTuple):
    """A column of the results: its meaning, how a value is written, and whether more is better."""

    meaning: str
    unit: float = 1
    form: str = ",.0f"
    more: bool = True


MEASURES = {
    "training": Measure("training, samples/s (share of the matrix-product bound)"),
    "evaluation": Measure("evaluation, rows/s (share of the matrix-product bound)"),
    "memory": Measure("peak memory, GB", GB, ".2f", more=False),
    "seconds": Measure("from raw file to test predictions, seconds", form=",.1f", more=False),
    "auc": Measure("test AUC, mean over tasks", form=".4f"),
}


def write_cell(result: dict[str, Any] | None, name: str) -> str:
    """Return a measured value as it stands in a table."""
    if result is None or "error" in result:
        return "not available"
    measure = MEASURES[name]
    text = format(result[name] / measure.unit, measure.form)
    if name == "seconds" and "warm" in result:
        text += f" (warm {result['warm']:{measure.form}})"
    return f"{text} ({result['share'][name]:.0%})" if name in result["share"] else text


def write_ratio(results: Iterable[dict[str, Any]], name: str) -> str:
    """Return mtbench's value over that of the best peer."""
    values = {one["framework"]: one[name] for one in results if "error" not in one}
    own = values.pop("mtbench", None)
    if own is None or not values:
        return ""
    return f"{own / (max if MEASURES[name].more else min)(values.values()):.3g}"


def list_lines(results: Sequence[dict[str, Any]], name: str) -> list[list[str]]:
    """Return the table of a measure: the header, then a line for each dataset, size and model."""
    frameworks = list(dict.fromkeys(one["framework"] for one in results))
    table = [["dataset", "size", "model", *frameworks, "mtbench / best peer"]]
    for case in dict.fromkeys((one["dataset"], one["size"], one["model"]) for one in results):
        of = {one["framework"]: one for one in results if (one["dataset"], one["size"], one["model"]) == case}
        cells = (write_cell(of.get(framework), name) for framework in frameworks)
        table.append([*case, *cells, write_ratio(of.values(), name)])
    return table


def write_markdown(report: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    rates = [one["products"] / 1e9 for one in report["results"] if "products" in one]
    facts = [f"{name} {value}" for name, value in report["machine"].items()]
    facts += [f"matrix products {min(rates):.0f} to {max(rates):.0f} GFLOP/s"] if rates else []
    for size in dict.fromkeys(one["size"] for one in report["results"]):
        one = next(result for result in report["results"] if result["size"] == size)
        facts.append(f"{size} {one['epochs']} epochs, {one['rows'] or 'all'} rows, {one['rounds']} rounds")
    text = ["; ".join(facts) + ".", ""]
    for name, measure in MEASURES.items():
        header, *rows = list_lines(report["results"], name)
        text += [f"**{measure.meaning}**", ""]
        text += [f"| {' | '.join(line)} |" for line in (header, ["---"] * 3 + ["---:"] * (len(header) - 3), *rows)]
        text.append("")
    failed = [one for one in report["results"] if "error" in one]
    text += [f"* {one['framework']}, {one['dataset']}, {one['size']}, {one['model']}: {one['error']}" for one in failed]
    return "\n".join(text).rstrip() + "\n"


def draw_rates(results: Sequence[dict[str, Any]]) -> list[Plot]:
    """Draw the training rates as shares of the bound, a picture for each dataset, size and model."""
    shares: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for one in results:
        case = one["dataset"], one["size"], one["model"]
        shares.setdefault(case, {})[one["framework"]] = one["share"]["training"] if "share" in one else None
    longest = max((share for case in shares.values() for share in case.values() if share is not None), default=None)
    return [
        draw_bars(bars, heading=f"{model}, {dataset}, {size}", longest=longest, told="mtbench", width=PICTURE_WIDTH)
        for (dataset, size, model), bars in shares.items()
    ]


def show(results: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the tables."""
    for name, measure in MEASURES.items():
        header, *rows = list_lines(results, name)
        table = Table(title=measure.meaning, title_justify="left")
        for at, column in enumerate(header):
            table.add_column(column, justify="left" if at < 3 else "right")  # noqa: PLR2004 - dataset, size, model
        for row in rows:
            table.add_row(*row)
        console.print(table)
