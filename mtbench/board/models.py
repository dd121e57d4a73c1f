"""Models across datasets: each one's rows, and where the best of them stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtbench.board.comparisons import Comparison, Row
    from mtbench.board.summary import Variant


class Standing(NamedTuple):
    """Where the best row of a variant stands in a comparison, and how many rows it has there."""

    row: Row
    leads: bool
    of: int


class Overview(NamedTuple):
    """Variants of models against comparisons, tuned ones under a heading of their own; None where nothing is."""

    comparisons: Sequence[Comparison]
    sections: list[tuple[str, list[tuple[Variant, list[Standing | None]]]]]


def models(views: Iterable[Comparison]) -> dict[str, list[tuple[Comparison, list[Row]]]]:
    """Return, by model in alphabetical order, its rows in every comparison that has some."""
    found: dict[str, dict[str, tuple[Comparison, list[Row]]]] = {}
    for view in views:
        for row in view.rows:
            _, rows = found.setdefault(row.variant.model, {}).setdefault(view.address, (view, []))
            rows.append(row)
    return {name: list(found[name].values()) for name in sorted(found)}


def overview(views: Sequence[Comparison]) -> Overview:
    """Return where every variant stands in every comparison, tuned ones first."""
    cells: dict[Variant, dict[str, list[Row]]] = {}
    for view in views:
        for row in view.rows:
            cells.setdefault(row.variant, {}).setdefault(view.address, []).append(row)
    lines = [(variant, [_best(view, cells[variant].get(view.address)) for view in views]) for variant in sorted(cells)]
    tuned = [line for line in lines if line[0].tuned]
    default = [line for line in lines if not line[0].tuned]
    return Overview(views, [each for each in (("Tuned", tuned), ("Default settings", default)) if each[1]])


def _best(view: Comparison, rows: Sequence[Row] | None) -> Standing | None:
    if not rows:
        return None
    placings = view.standings.overall.placings
    ranks = {row.stem: placings[row.stem].ranks if row.stem in placings else None for row in rows}
    row = min(rows, key=lambda each: (ranks[each.stem] is None, ranks[each.stem] or ()))
    place = ranks[row.stem]
    return Standing(row, place is not None and place[0] == 1, len(rows))
