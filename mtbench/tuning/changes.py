"""In what two descriptions of a study differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtbench.validation import show_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHANGES = 12
"""Changes that a message lists."""


def list_changes(before: Any, now: Any) -> list[str]:
    """Return a line for each change of what was known before, a few at most; what only later code knows is none."""
    old, new = dict(_list_leaves(before)), dict(_list_leaves(now))
    places = [place for place in old if old[place] != new.get(place, _NONE)]
    lines = [
        f"  {_name_place(place, old)}: then {_show_leaf(old, place)}, now {_show_leaf(new, place)}"
        for place in places[:CHANGES]
    ]
    if len(places) > CHANGES:
        lines.append(f"  and {len(places) - CHANGES} more")
    return lines


_NONE = object()


def _name_place(place: str, leaves: Mapping[str, Any]) -> str:
    """Return what a place is called: code by the name of what it is of."""
    owner = place.removesuffix(".provenance.sha256")
    if owner != place:
        return f"the code of {owner.partition('.')[0]} {leaves.get(f'{owner}.name', owner.rpartition('.')[2])}"
    return "the code of the engine" if place == "engine.sha256" else place


def _show_leaf(leaves: Mapping[str, Any], place: str) -> str:
    return show_value(leaves[place]) if place in leaves else "nothing"


def _list_leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if not items:
        yield place, value
        return
    for key, item in items:
        yield from _list_leaves(item, f"{place}.{key}" if place else str(key))
