from __future__ import annotations

import os

import numpy as np
import pytest
import scipy.io

from mtbench.data import splits
from mtbench.data.dataset import DatasetConfig
from mtbench.data.sources import locate
from mtbench.errors import MTBenchError
from mtbench_datasets.epinions import Epinions

FILE = "epinions_rating_with_timestamp.mat"
REVIEWS = [
    [4, 65, 5, 4, 1, 1],
    [4, 65, 5, 5, 2, 1],
    [4, 65, 5, 4, 1, 1],
    [9, 66, 27, 3, 5, 11],
]


def load(folder, **content):
    scipy.io.savemat(folder / FILE, content)
    return Epinions(DatasetConfig()).load({FILE: folder / FILE})


@pytest.fixture(scope="module")
def real():
    """Return the raw file and the table."""
    if not os.environ.get("MTBENCH_DATA"):
        pytest.skip("MTBENCH_DATA is unset: no Epinions file")
    dataset = Epinions(DatasetConfig())
    (source,) = dataset.sources()
    path = locate(source)
    return path, dataset.load({source.name: path}).to_pandas()


def test_cells_arrive_under_their_names_and_exact_duplicates_alone_are_dropped(tmp_path):
    first, second, third = load(tmp_path, rating=np.array(REVIEWS, np.int32)).to_pylist()
    assert first == {
        "user": 4, "product": 65, "category": 5, "rating": 4, "helpfulness": 1, "period": 1,
        "like": 1, "top": 0, "helpful": 1,
    }  # fmt: skip
    assert (second["like"], second["top"], second["helpful"]) == (1, 1, 0)
    assert (third["like"], third["top"], third["helpful"], third["period"]) == (0, 0, 0, 11)


def test_rating_and_helpfulness_are_outcomes_and_no_features():
    schema = Epinions(DatasetConfig()).schema()
    assert set(schema.outcomes) == {"rating", "helpfulness"}
    assert [feature.source for feature in schema.features] == ["category"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 0, "column 'user', row 4: found 0, expected 1 or more"),
        (2, 28, "column 'category', row 4: found 28, expected 1 to 27"),
        (3, 6, "column 'rating', row 4: found 6, expected 1 to 5"),
        (4, 0, "column 'helpfulness', row 4: found 0, expected 1 to 5"),
        (5, 12, "column 'period', row 4: found 12, expected 1 to 11"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path, column, value, message):
    matrix = np.array(REVIEWS, np.int32)
    matrix[3, column] = value
    with pytest.raises(MTBenchError, match=f"{FILE}: {message}"):
        load(tmp_path, rating=matrix)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trust": np.ones((3, 2))}, r"found 'trust' \(float64, 3 x 2\)"),
        ({"rating": np.ones((3, 5), np.int32)}, r"found 'rating' \(int32, 3 x 5\)"),
        ({"rating": np.full((3, 6), 1.5)}, r"found 'rating' \(float64, 3 x 6\)"),
    ],
)
def test_another_matrix_is_refused(tmp_path, content, message):
    expected = "expected a MATLAB file with a matrix 'rating' of 6 columns: user, product, category"
    with pytest.raises(MTBenchError, match=f"{FILE}: {message}; {expected}"):
        load(tmp_path, **content)


@pytest.mark.parametrize("content", [b"", b"user,product,rating\n1,2,3\n", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_what_is_no_matlab_file_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(MTBenchError, match=f"{FILE}: .*expected a MATLAB file with a matrix 'rating'"):
        Epinions(DatasetConfig()).load({FILE: tmp_path / FILE})


def test_the_card_tells_the_truth(real):
    path, frame = real
    card = Epinions.card
    assert len(frame) == card.rows
    assert len(scipy.io.loadmat(path)["rating"]) - len(frame) == 4_116
    for task, rate in card.positive_rates.items():
        assert frame[task].mean() == pytest.approx(rate, abs=5e-7)
    counts = [frame[name].nunique() for name in ("user", "product", "category", "period")]
    assert counts == [22_164, 296_277, 27, 11]
    assert frame.duplicated(["user", "product"]).sum() == 5_710
    assert (frame.groupby("product")["category"].nunique() > 1).sum() == 577
    assert frame["product"].value_counts().median() == 1
    by_period = frame.groupby("period")["helpful"].mean()
    assert (by_period[1], by_period[11]) == (pytest.approx(0.28, abs=5e-3), pytest.approx(0.06, abs=5e-3))
    assert (frame["period"] == 1).mean() == pytest.approx(0.39, abs=5e-3)


def test_the_split_by_time_divides_no_period_and_is_as_the_card_says(real):
    _, frame = real
    part = splits.assign(Epinions.split, len(frame), frame["period"].to_numpy(), None)
    periods = [sorted(frame["period"][part == code].unique()) for code in (splits.TRAIN, splits.VALID, splits.TEST)]
    assert periods == [list(range(1, 9)), [9], [10, 11]]
    shares = [(part == code).mean() for code in (splits.TRAIN, splits.VALID, splits.TEST)]
    assert shares == pytest.approx([0.850, 0.070, 0.080], abs=5e-4)
    train, test = frame[part == splits.TRAIN], frame[part == splits.TEST]
    assert (~test["product"].isin(train["product"])).mean() == pytest.approx(0.77, abs=5e-3)
    assert (~test["user"].isin(train["user"])).mean() == pytest.approx(0.17, abs=5e-3)
