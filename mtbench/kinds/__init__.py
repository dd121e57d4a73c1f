"""The kinds of tasks by name. A kind is one file: its labels, its loss on a logit and what is predicted from that.

Finding a kind loads neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mtbench.errors import MTBenchError, suggest
from mtbench.loading import import_target

if TYPE_CHECKING:
    from mtbench.kinds.kind import Kind

DEFAULT = "binary"
"""The kind of a task, and of the tasks that a metric is for, unless they say otherwise."""

_targets: dict[str, str | type[Kind]] = {
    "binary": "mtbench.kinds.binary:Binary",
    "regression": "mtbench.kinds.regression:Regression",
    "ordinal": "mtbench.kinds.ordinal:Ordinal",
    "count": "mtbench.kinds.count:Count",
}


def list_kinds() -> list[str]:
    """Return the names of the known kinds in the order of their registration."""
    return list(_targets)


def register_kind(name: str, target: str | type[Kind]) -> None:
    """Make a kind of task known, by its class or as ``"package.module:Class"``, which is imported when it is used.

    A plugin calls this when it is imported. Raises MTBenchError where another kind has the name.

    Since 0.1, provisional.
    """
    if _targets.setdefault(name, target) != target:
        raise MTBenchError(f"there is a kind of task '{name}' already; give this one another name")


def find_kind(name: str) -> Kind:
    """Return the kind of a name. Raises MTBenchError for an unknown one.

    Since 0.1, provisional.
    """
    if name not in _targets:
        known = ", ".join(_targets)
        raise MTBenchError(f"there is no kind of task '{name}'{suggest(name, _targets)}; known kinds: {known}")
    target = _targets[name]
    if isinstance(target, str):
        target = cast("type[Kind]", import_target(target))
    return target(name)
