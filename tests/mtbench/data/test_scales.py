"""Numbers of any size are standardised, and what is lost among them is said."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.data import encode
from mtbench.errors import MTBenchError
from mtbench.schema import Feature
from tests.mtbench.data.conftest import ROWS, TIMES

RNG = np.random.default_rng(2)
NORMAL = RNG.normal(size=ROWS)
TRAIN, TEST = np.flatnonzero(TIMES < 320), np.flatnonzero(TIMES >= 360)


@pytest.fixture
def read(simple, prepared):
    """Return the numbers of all rows in the order of the table, and what is said of them, as (gate, message)."""

    def prepare(values, *, log=False, acknowledged=()):
        feature = Feature(name="size", kind="numeric", column="raw", log=log)
        dataset = simple({"raw": values}, {"features": (feature,)}, acknowledged=acknowledged)
        columns = prepared(dataset, source=repr((np.asarray(values).tobytes(), log, acknowledged)))
        numbers = np.empty(ROWS, np.float32)
        numbers[columns.row_ids(columns.everything())] = columns.everything().numeric[:, 0]
        return numbers, [(one.gate, one.message) for one in columns.findings if one.gate != "equal-rows"]

    return prepare


def standardised(raw, train=None):
    raw = np.asarray(raw)
    train = np.ones(len(raw), bool) if train is None else train
    standard = encode.Standard(float(raw[train].min()), float(raw[train].max()))
    standard.fit(raw[train])
    return standard.scaled(raw)


@given(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=20), st.integers(-900, 900))
def test_the_unit_is_of_no_consequence(numbers, exponent):
    raw = np.array(numbers)
    raw[np.abs(raw) < 1e-9] = 0
    assert np.array_equal(standardised(raw), standardised(np.ldexp(raw, exponent))) or raw.min() == raw.max()


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 1e-200, 1e150, 1e250, 1e302])
def test_columns_of_tiny_and_of_huge_numbers_are_kept(read, unit):
    whole = np.round(NORMAL * 1e4)
    numbers, said = read(whole * unit)
    plain = (whole - whole[TRAIN].mean()) / whole[TRAIN].std()
    assert numbers == pytest.approx(plain, abs=1e-5)
    assert said == []


@pytest.mark.parametrize("big", [1e308, 1e38, 1e20])
@pytest.mark.parametrize("both", [True, False])
def test_an_extreme_beside_which_the_others_vanish_is_refused_by_row(read, big, both):
    raw = NORMAL.copy()
    raw[TRAIN[17]] = big
    if both:
        raw[TRAIN[30]] = -big
    with pytest.raises(MTBenchError) as raised:
        read(raw)
    message = f"feature 'size' (column 'raw'), row {TRAIN[17] + 1}: beside {big:g} the others are nearly one number"
    assert message in str(raised.value)
    assert str(raised.value).endswith("leave the cell empty, or declare the feature `log: true`")
    numbers, said = read(raw, log=True)
    others = TRAIN[31:]
    assert np.corrcoef(numbers[others], np.sign(NORMAL)[others])[0, 1] > 0.7
    assert said == []


@pytest.mark.parametrize(
    "raw",
    [
        (NORMAL > 0).astype(float),
        (NORMAL > 1).astype(float),
        np.where(NORMAL > 0.5, NORMAL, 0),
        7 + np.where(np.arange(ROWS) % 20 == 0, NORMAL, 0),
    ],
    ids=["two numbers", "one of them rare", "mostly zero", "mostly seven"],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_extreme_hides_columns_of_few_numbers_too(read, raw, sign):
    raw = raw.copy()
    assert read(raw)[1] == []
    raw[TRAIN[17]] = sign * 1e300
    with pytest.raises(MTBenchError, match=rf"row {TRAIN[17] + 1}: beside {'-' if sign < 0 else ''}1e\+300 the others"):
        read(raw)


def test_an_extreme_beside_which_others_are_small_is_warned_of(read):
    raw = NORMAL.copy()
    raw[TRAIN[17]] = 1e5
    ((gate, message),) = read(raw)[1]
    assert gate == "hidden-spread"
    assert f"row {TRAIN[17] + 1}: beside 100000 the others" in message
    assert read(raw, acknowledged=("size",))[1] == []


@pytest.mark.parametrize(
    "raw",
    [
        np.exp(3 * NORMAL),
        np.where(np.arange(ROWS) % 50 == 0, 1e9, 0.0),
        np.where(np.arange(ROWS) % 50 == 0, 1e300 * (1 + NORMAL), 0.0),
        np.full(ROWS, 3.25),
        2024.0 + (NORMAL > 0),
        1.6e9 + 1e4 * NORMAL,
    ],
    ids=["heavy tail", "rare", "rare and huge", "constant", "years", "times"],
)
def test_usual_columns_are_passed_over(read, raw):
    assert read(raw)[1] == []


@pytest.mark.parametrize("far", [1e308, -1e308, 1e12])
@pytest.mark.parametrize("constant", [True, False])
def test_a_far_row_beyond_training_is_cut_off_and_named(read, far, constant):
    raw = np.full(ROWS, 2.5) if constant else NORMAL.copy()
    expected, _ = read(raw)
    raw[TEST[5]] = far
    numbers, ((gate, message),) = read(raw)
    assert gate == "far-number"
    assert f"row {TEST[5] + 1}: {far:g} is farther from the training rows" in message
    assert numbers[TEST[5]] == np.sign(far) * encode.FARTHEST
    assert np.array_equal(np.delete(numbers, TEST[5]), np.delete(expected, TEST[5]))


@pytest.mark.parametrize("step", [2, 4, 64])
def test_late_digits_are_kept_and_their_loss_is_said(read, step):
    late = RNG.integers(5, size=ROWS)
    numbers, ((gate, message),) = read(1e16 + step * late)
    assert numbers == pytest.approx((late - late[TRAIN].mean()) / late[TRAIN].std(), abs=1e-6)
    assert gate == "lost-digits"
    assert f"goes from 10000000000000000 to {10**16 + 4 * step} in the training rows" in message
    assert "in steps of 2 alone; take away what they have in common" in message


@pytest.mark.parametrize("raw", [pa.array([2**60 + row % 5 for row in range(ROWS)]), np.full(ROWS, 2.0**53)])
def test_integers_that_become_one_number_are_named(read, raw):
    numbers, ((gate, message),) = read(raw)
    assert not numbers.any()
    assert gate == "lost-digits"
    assert "told apart in steps of" in message
