"""What a dataset plugin is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from pydantic import Field

from mtbench.schema import Card, Schema, Settings, Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from mtbench.data.sources import Source


class DatasetConfig(Settings):
    """Settings of a dataset; plugins add fields of their own.

    Since 0.1, stable.
    """

    ids: bool = Field(True, description="Embed user and item ids as categorical features.")


C_co = TypeVar("C_co", bound=DatasetConfig, covariant=True)


class Dataset(ABC, Generic[C_co]):
    """Turns raw files into one interaction table and its schema.

    A subclass names its settings in an inner class ``Config``. ``version`` is raised whenever :meth:`load` gives other
    rows or values than before: it is part of the cache key and of every record.

    Since 0.1, stable.
    """

    plugin_kind: ClassVar[str] = "dataset"
    Config: ClassVar[type[DatasetConfig]] = DatasetConfig
    card: ClassVar[Card]
    version: ClassVar[int] = 1
    split: Split = Split(by="random")

    def __init__(self, config: C_co) -> None:
        self.config = config

    def sources(self) -> Sequence[Source]:
        """Return the raw files that :meth:`load` reads."""
        return ()

    @abstractmethod
    def schema(self) -> Schema:
        """Return what the columns mean, without reading any file."""

    @abstractmethod
    def load(self, files: Mapping[str, Path]) -> pa.Table | pd.DataFrame | pa.RecordBatchReader:
        """Return the interaction table with every column of the schema; ``files`` maps source names to local paths.

        A reader gives a table that need not fit into memory. A missing label is null. Rows come in a deterministic
        order. Raises MTBenchError for a file that is not as expected, naming the file, the column and the row.
        """

    def earlier_events(self, files: Mapping[str, Path]) -> pa.Table | None:  # noqa: ARG002
        """Return what happened before the first row, oldest first, where the dataset knows: it is seen by every row.

        The table has the user and item columns of the schema and, per task, a column of its name that is 1 where the
        event was a positive of that task; a task without a column has none.
        """
        return None

    def reachable(self, table: pa.Table, chunk: np.ndarray) -> Mapping[str, np.ndarray]:  # noqa: ARG002
        """Return, per task, each row's best prediction from what earlier chunks reveal; empty where nobody knows it.

        ``chunk`` numbers the point-in-time chunk of each row: rows in chunk c see labels of chunks before c alone. A
        row that has ``~c``, that is -1 - c, sees the same and is seen by none: it is held out from among training rows.
        Only generated data can know this, and it is not asked of a table that comes by a reader.
        """
        return {}
