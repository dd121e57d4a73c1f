"""Where pages lie: file names made of names that may hold anything."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.board.groups import Group

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_READABLE, _DIGITS = 40, 8


def make_slug(name: str) -> str:
    """Return a file name without suffix that only this name has: itself, or what is readable of it and its hash."""
    if _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_READABLE].strip("-")
    return f"{readable or 'unnamed'}.{hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]}"


def locate_group(group: Group) -> str:
    """Return where the page of a group lies."""
    return f"data/{make_slug(group.recipe.dataset.name)}-{group.name}.html"


def locate_model(name: str) -> str:
    """Return where the page of a model lies."""
    return f"models/{make_slug(name)}.html"


def locate_record(stem: str) -> str:
    """Return where the page of a record lies."""
    return f"records/{stem}.html"
