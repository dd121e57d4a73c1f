"""Generated data whose true probabilities are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from mtbench.data.dataset import Dataset, DatasetConfig
from mtbench.schema import Card, Feature, Schema, Split, Task
from mtbench_datasets.planted.oracle import follow_chunks, infer_groups
from mtbench_datasets.planted.rows import draw
from mtbench_datasets.planted.world import NUMERIC, TASKS, Signal, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OF = {"user": ("age", "region", "activity"), "item": ("category", "brand", "price", "tags"), "context": ("device", "hour")}


class PlantedConfig(DatasetConfig):
    """Size of the data, and where their signal lies."""

    rows: int = Field(20_000, gt=0)
    users: int | None = Field(None, gt=0, description="Users; a tenth of the rows unless given.")
    items: int | None = Field(None, gt=0, description="Items; a hundredth of the rows unless given.")
    signal: Signal = Field("none", description="Where signal lies that no feature shows: none, graph, sequence or text.")
    conflict: float = Field(
        0.0, ge=0, le=1, description="0: likes want what clicks want; 0.5: unrelated things; 1: the opposite."
    )
    seed: int = Field(0, ge=0)
