"""Settings that take one name, or a list of them."""

from __future__ import annotations

from typing import TypeVar

from pydantic import AfterValidator

T = TypeVar("T")


def listed(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """Return the names that a setting holds."""
    return value if isinstance(value, tuple) else (value,)


def _refuse_repeated(names: tuple[T, ...]) -> tuple[T, ...]:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is named twice; name each once")
    return names


DISTINCT = AfterValidator(_refuse_repeated)
