"""Makes inputs, or finds them in the cache, and gives them to the prepared columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mtbench.data import cache
from mtbench.inputs.interactions import collect_interactions, collect_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from mtbench.data.columns import Columns
    from mtbench.inputs.input import Input, InputReader, SourcedInput

RECIPE = 2
"""Raised whenever interactions or rows are made otherwise than before."""


def attach_inputs(columns: Columns, asked: Mapping[str, SourcedInput], pooled: Mapping[str, SourcedInput]) -> Columns:
    """Return the columns with inputs by name: those that the model asked for, and those pooled for any model."""
    return columns.with_inputs(
        {name: open_input(name, sourced, columns) for name, sourced in asked.items()},
        {name: open_input(name, sourced, columns) for name, sourced in pooled.items()},
    )


def open_input(name: str, sourced: SourcedInput, columns: Columns) -> InputReader:
    """Return an input of these columns, made first if the cache does not have it."""
    asked = sourced.input
    recipe = {
        "recipe": RECIPE,
        "columns": columns.folder.name,
        "input": name,
        "settings": asked.config.model_dump(mode="json"),
        "version": asked.version,
        "source": sourced.source,
    }
    folder = cache.make_entry("inputs", recipe, partial(_build, asked=asked, columns=columns))
    with cache.reading():
        return asked.open(folder)


def _build(folder: Path, *, asked: Input[Any], columns: Columns) -> None:
    with cache.writing():
        asked.build(collect_interactions(columns), collect_rows(columns), columns, folder)
