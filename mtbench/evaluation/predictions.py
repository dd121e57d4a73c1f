"""The predictions of a record: one Parquet file, from which every metric can be computed again.

Files of version 1 are read for ever: they name two columns otherwise, are in single precision, and have neither score
nor domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
        pa.field("prediction", pa.float64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("label", pa.float64()),
        pa.field("user", pa.int64()),
        pa.field("domain", _name),
    ]
)
_SINCE_1 = {"probability": "prediction", "group": "user"}
_SCHEMA_1 = pa.schema(
    pa.field(
        {new: old for old, new in _SINCE_1.items()}.get(field.name, field.name),
        pa.float32() if field.type == pa.float64() else field.type,
        nullable=field.name == "user",
    )
    for field in SCHEMA
    if field.name not in {"score", "domain"}
)


def make_table(
    seed: int,
    split: str,
    tasks: Sequence[str],
    rows: np.ndarray,
    *,
    prediction: np.ndarray,
    label: np.ndarray,
    mask: np.ndarray,
    score: np.ndarray | None = None,
    user: np.ndarray | None = None,
    domain: pa.DictionaryArray | None = None,
) -> pa.Table:
    """Return the predictions of one seed on one split, one line per task and row that counts.

    ``rows`` (N,) identify the rows; ``prediction`` (a probability, or a value where the task's kind predicts none),
    ``label`` and ``mask`` have shape (N, T), and so has ``score``, by which rows are ranked: null where it is not
    finite or not given, and then the prediction ranks. ``user`` (N,) and ``domain`` (N,), a text, are null where there
    are none. A row whose label is NaN is predicted alone: its label is null, and no metric looks at it. Lines are
    ordered by task, then as the rows were given.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, not '{split}'")
    shape = (len(rows), len(tasks))
    if not prediction.shape == label.shape == mask.shape == shape:
        raise ValueError(f"prediction, label and mask must have shape {shape}")
    if score is None:
        score = np.full(shape, np.nan)
    elif score.shape != shape:
        raise ValueError(f"score must have shape {shape}, as prediction has")
    if any(column is not None and len(column) != len(rows) for column in (user, domain)):
        raise ValueError("user and domain must have one entry per row")
    task, line = np.nonzero(mask.T)
    ranked = score[line, task]
    columns = [
        pa.array(np.full(len(line), seed), pa.int64()),
        pa.DictionaryArray.from_arrays(np.full(len(line), SPLITS.index(split), np.int32), list(SPLITS)),
        pa.DictionaryArray.from_arrays(task.astype(np.int32), pa.array(tasks, pa.string())),
        pa.array(rows[line], pa.int64()),
        pa.array(prediction[line, task], pa.float64()),
        pa.array(ranked, pa.float64(), mask=~np.isfinite(ranked)),
        pa.array(label[line, task], pa.float64(), from_pandas=True),
        pa.nulls(len(line), pa.int64()) if user is None else pa.array(user[line], pa.int64()),
        pa.nulls(len(line), _name) if domain is None else domain.take(pa.array(line)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def find_judged(predictions: pa.Table) -> pa.Table:
    """Return the lines that have a label; the others are predicted alone."""
    return predictions.filter(pc.is_valid(predictions["label"])) if predictions["label"].null_count else predictions


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
    """Read what :func:`write` wrote, in this version or another, as one table of this version.

    Raises MTBenchError if the file is missing or something else.
    """
    try:
        # read_table would take folders named key=value for columns
        predictions = pq.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise MTBenchError(f"{path}: there is no such file; predictions are needed to compute metrics") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise MTBenchError(f"{path}: not a readable Parquet file ({error}); restore it or run again") from error
    if predictions.schema.equals(_SCHEMA_1):
        predictions = predictions.rename_columns(_SINCE_1)
        for name in ("score", "domain"):
            predictions = predictions.append_column(name, pa.nulls(len(predictions), SCHEMA.field(name).type))
        return predictions.select(SCHEMA.names).cast(SCHEMA)
    if not predictions.schema.equals(SCHEMA):
        raise MTBenchError(
            f"{path}: holds columns {predictions.schema.names}, not predictions; the columns must be {SCHEMA.names} "
            "with the types that mtbench writes"
        )
    return predictions
