"""Makes the inputs of a plan, or finds them in the cache, and gives them to the prepared columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mtbench.data import cache
from mtbench.inputs.interactions import interactions_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtbench.data.columns import Columns
    from mtbench.experiment import PlannedInput
    from mtbench.inputs.input import Opened

RECIPE = 1
"""Raised whenever interactions or rows are made otherwise than before."""


def opened(planned: PlannedInput, source: str, columns: Columns) -> Opened:
    """Return an input of these columns; ``source`` is the digest of the plugin's code."""
    recipe = {
        "recipe": RECIPE,
        "columns": columns.folder.name,
        "input": planned.name,
        "settings": planned.input.config.model_dump(mode="json"),
        "version": planned.input.version,
        "source": source,
    }
    return planned.input.open(cache.entry("inputs", recipe, partial(_build, planned=planned, columns=columns)))


def _build(folder: Path, *, planned: PlannedInput, columns: Columns) -> None:
    with cache.writing():
        planned.input.build(interactions_of(columns), rows_of(columns), columns, folder)


def attached(
    columns: Columns, asked: Sequence[tuple[PlannedInput, str]], given: Sequence[tuple[PlannedInput, str]]
) -> Columns:
    """Return the columns with inputs: those that the model asked for, and those pooled into columns for any model.

    Each comes with the digest of its plugin's code.
    """
    return columns.with_inputs(
        {planned.name: opened(planned, source, columns) for planned, source in asked},
        {planned.name: opened(planned, source, columns) for planned, source in given},
    )
