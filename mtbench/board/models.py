"""Models across datasets: the rows of each, and the ranks of the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtbench.board.comparisons import Comparison, Row
    from mtbench.board.labels import Variant


class BestRow(NamedTuple):
    """The best row of a variant in a comparison, whether it shares the lead, and how many rows it is the best of."""

    row: Row
    leads: bool
    of: int


class Overview(NamedTuple):
    """Variants of models against comparisons, tuned ones under a heading of their own; None where nothing is."""

    comparisons: Sequence[Comparison]
    sections: list[tuple[str, list[tuple[Variant, list[BestRow | None]]]]]


def collect_models(views: Iterable[Comparison]) -> dict[str, list[tuple[Comparison, list[Row]]]]:
    """Return, by model in alphabetical order, its rows in every comparison that has some."""
    by_model: dict[str, dict[str, tuple[Comparison, list[Row]]]] = {}
    for view in views:
        for row in view.rows:
            _, rows = by_model.setdefault(row.variant.model, {}).setdefault(view.address, (view, []))
            rows.append(row)
    return {name: list(by_model[name].values()) for name in sorted(by_model)}


def make_overview(views: Sequence[Comparison]) -> Overview:
    """Return the best row of every variant in every comparison, tuned ones first."""
    rows: dict[Variant, dict[str, list[Row]]] = {}
    for view in views:
        for row in view.rows:
            rows.setdefault(row.variant, {}).setdefault(view.address, []).append(row)
    lines = [
        (variant, [_find_best(view, rows[variant].get(view.address)) for view in views]) for variant in sorted(rows)
    ]
    tuned = [line for line in lines if line[0].tuned]
    default = [line for line in lines if not line[0].tuned]
    return Overview(views, [section for section in (("Tuned", tuned), ("Default settings", default)) if section[1]])


def _find_best(view: Comparison, rows: Sequence[Row] | None) -> BestRow | None:
    if not rows:
        return None
    placings = view.standings.overall.placings
    ranks = {row.stem: placings[row.stem].ranks if row.stem in placings else None for row in rows}
    row = min(rows, key=lambda row: (ranks[row.stem] is None, ranks[row.stem] or ()))
    place = ranks[row.stem]
    return BestRow(row, place is not None and place[0] == 1, len(rows))
