"""Settings that take one name, or a list of them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag

T = TypeVar("T")


def _refuse_repeated(names: tuple[T, ...]) -> tuple[T, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is named twice; name each once")
    return names


def _find_tag(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "name"


NameOrList = Annotated[
    Annotated[T, Tag("name")]
    | Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_refuse_repeated), Tag("list")],
    Discriminator(_find_tag),
]
"""The type of such a setting, of what one name may be."""


def list_names(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """Return the names that a setting holds."""
    return value if isinstance(value, tuple) else (value,)
