"""Overrides of an experiment file: ``a.b=value``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtbench.errors import MTBenchError
from mtbench.validation import parse_yaml, show_value


def apply_override(content: Mapping[str, Any], override: str) -> dict[str, Any]:
    """Return ``content`` with ``a.b=value`` applied; what lies on the path is copied, the rest is shared.

    On the path, a plugin's bare name becomes a mapping, and nothing an empty one. Raises MTBenchError for what is no
    override, or names a place that is not there.
    """
    where = f"--set {override}"
    path, equals, text = override.partition("=")
    *above, last = path.split(".")
    if not (equals and last and all(above)):
        raise MTBenchError(f"{where}: write it as key=value or key.subkey=value")
    value = parse_yaml(text, where)
    changed: dict[str, Any] = dict(content)
    place: Any = changed
    for depth, key in enumerate(above):
        at = f"{where}: '{'.'.join(above[: depth + 1])}'"
        slot = _find_slot(place, key, at)
        below = place[slot] if isinstance(place, list) else place.get(slot)
        if isinstance(below, str):
            below = {"name": below}
        elif not isinstance(below, Mapping | list | tuple | None):
            raise MTBenchError(f"{at} is {show_value(below)}, which has no keys of its own")
        place[slot] = place = list(below) if isinstance(below, list | tuple) else dict(below or {})
    place[_find_slot(place, last, f"{where}: '{path}'")] = value
    return changed


def _find_slot(place: Any, key: str, where: str) -> Any:
    if not isinstance(place, list):
        return key
    slots = {str(index): index for index in range(len(place))}
    if key not in slots:
        raise MTBenchError(
            f"{where}: the list has no item {key}, only 0 to {len(place) - 1}"
            if place
            else f"{where}: the list is empty"
        )
    return slots[key]
