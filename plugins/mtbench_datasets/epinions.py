"""Epinions: reviews of products, with their stars and how helpful others found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.io

from mtbench import Card, Dataset, DatasetConfig, Feature, MTBenchError, Schema, Source, Split, Task
from mtbench_datasets.raw_files import drop_duplicates, refuse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FILE = "epinions_rating_with_timestamp.mat"
_LARGEST = {"user": None, "product": None, "category": 27, "rating": 5, "helpfulness": 5, "period": 11}


class Epinions(Dataset[DatasetConfig]):
    """Reviews on Epinions (Tang et al., WSDM 2012 and KDD 2012), split by time.

    Tasks over all reviews: ``like``, 4 stars or more, ``top``, 5 stars, and ``helpful``, the helpfulness code 1. Time
    is one of 11 periods, which no split divides. Exact duplicates are dropped; several reviews of a product by one
    user are kept.
    """

    split = Split(by="time")
    card = Card(
        title="Epinions, with helpfulness",
        licence="none stated by the authors; published for research",
        citation=(
            "Tang, Gao and Liu, mTrust: Discerning Multi-Faceted Trust in a Connected World, WSDM 2012; Tang, Gao, Liu "
            "and Das Sarma, eTrust: Understanding Trust Evolution in an Online World, KDD 2012"
        ),
        url="https://github.com/vinhqdang/trust_predict_ciao_epinions",
        description=(
            "918,151 reviews by 22,164 users of 296,277 products in 27 categories, over 11 periods. The file is "
            f"{_FILE}, a MATLAB matrix of six columns; the trust network is not read."
        ),
        rows=918_151,
        positive_rates={"like": 0.737490, "top": 0.421684, "helpful": 0.203550},
        traps=(
            "The raw file repeats 4,116 rows exactly; they are dropped.",
            (
                "5,710 reviews are of a product that the user reviewed before, in another category, period or with "
                "another mark; they are kept. 577 products stand in several categories."
            ),
            "The direction of the helpfulness code is not documented: helpful says that it is 1, no more.",
            "helpful falls from 28 % in period 1 to 6 % in period 11: calibration on the test rows suffers.",
            (
                "Time has 11 values, and 39 % of the reviews are of the first. The split by time has 85.0 % train "
                "(periods 1 to 8), 7.0 % valid (9) and 8.0 % test (10 and 11) for the shares 0.8, 0.1 and 0.1."
            ),
            (
                "Cold products: half have one review. 77 % of the test rows of the split by time have a product, and "
                "17 % a user, without training rows."
            ),
            "top implies like: the tasks are two thresholds of one rating.",
            "There are no impressions: users chose what to review, so the absence of a review is no negative.",
        ),
    )

    def sources(self) -> Sequence[Source]:
        """Return the matrix of reviews."""
        return [
            Source(
                name=_FILE,
                sha256="a92e055b71b2e6ca70875979af79b90ef23360f4573204cade9a381ac1958509",
                mirror=f"epinions_tang/{_FILE}",
            )
        ]

    def schema(self) -> Schema:
        """Return three tasks over the product's category."""
        return Schema(
            tasks=(Task(name="like"), Task(name="top"), Task(name="helpful")),
            features=(Feature(name="category", of="item"),),
            user="user",
            item="product",
            time="period",
            outcomes=("rating", "helpfulness"),
        )

    def load(self, files: Mapping[str, Path]) -> pa.Table:
        """Return one row per review in the order of the file, without the exact duplicates."""
        path = files[_FILE]
        raw = pa.table(dict(zip(_LARGEST, _read_matrix(path).T, strict=True)))
        for name, largest in _LARGEST.items():
            outside = pc.less(raw[name], 1)
            if largest is not None:
                outside = pc.or_(outside, pc.greater(raw[name], largest))
            refuse_where(outside, raw, name, path, f"1 to {largest}" if largest else "1 or more", first_row=1)
        rows = drop_duplicates(raw)
        return (
            rows.append_column("like", pc.greater_equal(rows["rating"], 4).cast(pa.int8()))
            .append_column("top", pc.equal(rows["rating"], 5).cast(pa.int8()))
            .append_column("helpful", pc.equal(rows["helpfulness"], 1).cast(pa.int8()))
        )


def _read_matrix(path: Path) -> np.ndarray:
    """Return the matrix ``rating`` of a MATLAB file."""
    expected = f"expected a MATLAB file with a matrix 'rating' of {len(_LARGEST)} columns: {', '.join(_LARGEST)}"
    try:
        content = scipy.io.loadmat(path)
    except Exception as error:  # a damaged file trips scipy in many ways
        raise MTBenchError(f"{path}: {error}; {expected}") from error
    matrices = {name: value for name, value in content.items() if not name.startswith("__")}
    matrix = matrices.get("rating")
    if matrix is None or matrix.ndim != 2 or matrix.shape[1] != len(_LARGEST) or matrix.dtype.kind not in "iu":  # noqa: PLR2004
        shown = ", ".join(
            f"'{name}' ({value.dtype}, {' x '.join(map(str, value.shape))})" for name, value in matrices.items()
        )
        raise MTBenchError(f"{path}: found {shown or 'nothing'}; {expected}")
    return np.asarray(matrix, np.int64)
