"""The predictions of a record: one Parquet file, from which every metric can be computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.errors import MTBenchError
from mtbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SPLITS = ("valid", "test")

_name = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("split", _name, nullable=False),
        pa.field("task", _name, nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("label", pa.float32(), nullable=False),
        pa.field("group", pa.int64()),
    ]
)


def table(
    seed: int,
    split: str,
    tasks: Sequence[str],
    rows: np.ndarray,
    *,
    probability: np.ndarray,
    label: np.ndarray,
    mask: np.ndarray,
    group: np.ndarray | None = None,
) -> pa.Table:
    """Return the predictions of one seed on one split, one line per task and row that counts.

    ``rows`` (N,) identify the rows, ``probability``, ``label`` and ``mask`` have shape (N, T) and ``group`` (N,) is the
    user, null where there is none. Where a task's kind predicts no probability, ``probability`` is the predicted value.
    Lines are ordered by task, then as the rows were given.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, not '{split}'")
    shape = (len(rows), len(tasks))
    if not probability.shape == label.shape == mask.shape == shape or (group is not None and len(group) != len(rows)):
        raise ValueError(f"probability, label and mask must have shape {shape}, and group one entry per row")
    task, line = np.nonzero(mask.T)
    columns = [
        pa.array(np.full(len(line), seed), pa.int64()),
        pa.DictionaryArray.from_arrays(np.full(len(line), SPLITS.index(split), np.int32), list(SPLITS)),
        pa.DictionaryArray.from_arrays(task.astype(np.int32), pa.array(tasks, pa.string())),
        pa.array(rows[line], pa.int64()),
        pa.array(probability[line, task], pa.float32()),
        pa.array(label[line, task], pa.float32()),
        pa.nulls(len(line), pa.int64()) if group is None else pa.array(group[line], pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def write(predictions: Iterable[pa.Table], path: Path) -> int:
    """Write tables as one Parquet file, each as it comes, wholly or not at all; return the number of lines.

    The same tables and pyarrow version give the same bytes.
    """

    def fill(part: Path) -> None:
        with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
            for one in predictions:
                writer.write_table(one)

    write_atomically(path, fill)
    return int(pq.read_metadata(path).num_rows)


def read(path: Path) -> pa.Table:
    """Read what :func:`write` wrote as one table; raise MTBenchError if the file is missing or something else."""
    try:
        # read_table would take folders named key=value for columns
        predictions = pq.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise MTBenchError(f"{path}: there is no such file; predictions are needed to compute metrics") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise MTBenchError(f"{path}: not a readable Parquet file ({error}); restore it or run again") from error
    if not predictions.schema.equals(SCHEMA):
        raise MTBenchError(
            f"{path}: holds columns {predictions.schema.names}, not predictions; the columns must be {SCHEMA.names} "
            "with the types that mtbench writes"
        )
    return predictions
