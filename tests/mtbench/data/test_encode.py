from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.data import encode
from mtbench.errors import MTBenchError
from mtbench.schema import Feature, Task

FEATURE = Feature(name="x")
COLUMNS = {
    "string": (["b", None, "a", "b", "c"], pa.string()),
    "large string": (["b", None, "a", "b", "c"], pa.large_string()),
    "string view": (["b", None, "a", "b", "c"], pa.string_view()),
    "dictionary": (["b", None, "a", "b", "c"], pa.dictionary(pa.int8(), pa.string())),
    "binary": ([b"b", None, b"a", b"b", b"c"], pa.binary()),
    "int": ([7, None, -1, 7, 3], pa.int64()),
    "unsigned": ([2**64 - 1, None, 0, 2**64 - 1, 3], pa.uint64()),
    "float": ([0.5, None, -math.inf, 0.5, 2.0], pa.float64()),
    "half": ([0.5, None, -1.0, 0.5, 2.0], pa.float16()),
    "bool": ([True, None, False, True, True], pa.bool_()),
    "decimal": ([Decimal("1.50"), None, Decimal("-2.25"), Decimal("1.50"), Decimal("3.00")], pa.decimal128(5, 2)),
    "date": ([dt.date(2020, 1, day) for day in (3, 2, 1, 3, 5)], pa.date32()),
    "timestamp": ([dt.datetime(2020, 1, day, tzinfo=dt.UTC) for day in (3, 2, 1, 3, 5)], pa.timestamp("us", "UTC")),
    "null": ([None] * 5, pa.null()),
}


def slow_codes(values, train):
    values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    seen = {value for value, is_train in zip(values, train, strict=True) if is_train}
    known = [*sorted(seen - {None}), *([None] if None in seen else [])]
    return [known.index(value) + 1 if value in known else 0 for value in values], known


def pieces_of(column):
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def categorical(column, train):
    """Codes and vocabulary of a column that is added chunk by chunk."""
    coder = encode.Categorical()
    numbers = np.concatenate([np.zeros(0, np.int32), *(coder.add(piece) for piece in pieces_of(column) or [column])])
    coder.fit(numbers[train])
    of_number, vocabulary = coder.codes()
    return of_number[numbers], vocabulary.to_pylist()


def multi(column, train):
    coder = encode.Categorical()
    parts = [encode.lists(piece) for piece in pieces_of(column)]
    numbers = np.concatenate([coder.add(values) for values, _ in parts])
    lengths = np.concatenate([lengths for _, lengths in parts])
    coder.fit(numbers[np.repeat(train, lengths)])
    of_number, vocabulary = coder.codes()
    return of_number[numbers].tolist(), vocabulary.to_pylist(), lengths.tolist()


def numeric(column, train, feature=FEATURE):
    """Scaled numbers, and whether training has missing ones; fitted in pieces of two rows."""
    raw = encode.numeric(column, feature)
    known = raw[train & ~np.isnan(raw)]
    standard = encode.Standard(*((known.min(), known.max()) if len(known) else ()))
    for start in range(0, len(raw), 2):
        standard.fit(raw[start : start + 2][train[start : start + 2]])
    return standard.scaled(raw), standard.missing


def in_pieces(array):
    """The same values in three chunks, the middle one cut out of a longer array."""
    longer = pa.concat_arrays([array.slice(3, 1), array, array.slice(0, 1)]).slice(1, len(array))
    return pa.chunked_array([array.slice(0, 1), longer.slice(1, 2), array.slice(3)])


@pytest.mark.parametrize(("values", "kind"), COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("train", [(1, 1, 1, 1, 1), (0, 1, 1, 0, 0), (1, 0, 0, 1, 0), (0, 1, 0, 0, 0)])
def test_every_type_is_encoded_by_the_sorted_values_of_training(values, kind, train):
    array = pa.array(values, kind)
    expected, known = slow_codes(array.to_pylist(), train)
    for column in (array, pa.chunked_array([array]), in_pieces(array)):
        codes, vocabulary = categorical(column, np.array(train, bool))
        assert codes.tolist() == expected
        assert codes.dtype == np.int32
        assert vocabulary == known


@given(
    st.lists(st.tuples(st.none() | st.sampled_from(["", "a", "b", "ä", "zz"]), st.booleans())),
    st.integers(1, 5),
)
def test_categorical_equals_the_slow_version(rows, chunk):
    values, train = [value for value, _ in rows], [bool(is_train) for _, is_train in rows]
    pieces = [pa.array(values[at : at + chunk], pa.string()) for at in range(0, len(values), chunk)]
    codes, vocabulary = categorical(pa.chunked_array(pieces, pa.string()), np.array(train, bool))
    assert (codes.tolist(), vocabulary) == slow_codes(values, train)


def test_nan_is_a_missing_value():
    column = pa.array([1.0, float("nan"), None, 2.0])
    codes, vocabulary = categorical(column, np.array([True, True, False, True]))
    assert codes.tolist() == [1, 3, 3, 2]
    assert vocabulary == [1.0, 2.0, None]


def test_what_only_valid_and_test_rows_hold_is_unknown():
    column = pa.array(["a", "only in test", None])
    assert categorical(column, np.array([True, False, False]))[0].tolist() == [1, 0, 0]


def test_chunks_with_dictionaries_of_their_own_agree():
    pieces = [pa.array(values).dictionary_encode() for values in (["b", "a"], ["c", "b"], ["a", None])]
    assert categorical(pa.chunked_array(pieces), np.ones(6, bool))[0].tolist() == [2, 1, 3, 2, 1, 4]


LIST_TYPES = [pa.list_, pa.large_list, pa.list_view]
words = st.none() | st.sampled_from("abc")


@given(
    st.lists(st.tuples(st.none() | st.lists(words, max_size=4), st.booleans()), min_size=1),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from(LIST_TYPES),
)
def test_multi_equals_the_slow_version(rows, chunk, cut, kind):
    lists, train = [values for values, _ in rows], [is_train for _, is_train in rows]
    padded = pa.array([["b", "c"]] * cut + lists, kind(pa.string()))
    pieces = [padded.slice(cut + at, chunk) for at in range(0, len(lists), chunk)]
    codes, vocabulary, lengths = multi(pa.chunked_array(pieces), np.array(train, bool))
    flat = [value for values in lists for value in values or ()]
    of_train = [is_train for values, is_train in zip(lists, train, strict=True) for _ in values or ()]
    assert (codes, vocabulary) == slow_codes(flat, of_train)
    assert lengths == [len(values or ()) for values in lists]


def test_a_null_list_that_hides_values_is_empty():
    lists = pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 6]), pa.array(["a", "b", "x", "y", "c", "d"]), mask=pa.array([False, True, False])
    )
    _, vocabulary, lengths = multi(lists, np.ones(3, bool))
    assert lengths == [2, 0, 2]
    assert vocabulary == ["a", "b", "c", "d"]


@pytest.mark.parametrize("column", [pa.nulls(3), pa.array([[], None, []], pa.list_(pa.string()))])
def test_lists_that_are_all_empty(column):
    assert multi(column, np.ones(3, bool)) == ([], [], [0, 0, 0])


def test_lists_of_fixed_size():
    column = pa.array([[1, 2], None, [2, 3]], pa.list_(pa.int64(), 2))
    assert multi(column, np.ones(3, bool)) == ([1, 2, 2, 3], [1, 2, 3], [2, 0, 2])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int32(), pa.decimal128(9, 2)])
def test_numbers_are_standardised_by_training_rows_alone(kind, log):
    values = [3, -4, None, 10, 1000, None]
    train = np.array([True, True, True, True, False, False])
    column = pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(9, 2)).cast(kind)
    scaled, missing = numeric(column, train, Feature(name="x", kind="numeric", log=log))
    raw = [math.copysign(math.log(1 + abs(v)), v) if log else v for v in (3, -4, 10, 1000)]
    mean = sum(raw[:3]) / 3
    deviation = math.sqrt(sum((value - mean) ** 2 for value in raw[:3]) / 3)
    expected = [(value - mean) / deviation for value in raw]
    expected = [*expected[:2], 0, *expected[2:], 0]
    assert scaled.tolist() == pytest.approx(expected, rel=1e-6)
    assert scaled.dtype == np.float32
    assert missing


def test_what_is_missing_outside_training_alone_has_no_column():
    scaled, missing = numeric(pa.array([1.0, 3.0, float("nan"), None]), np.array([True, True, False, False]))
    assert scaled.tolist() == [-1, 1, 0, 0]
    assert not missing


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e9 + 0.1])
def test_a_constant_column_is_zero_and_another_value_stays_its_distance(value):
    column = pa.array([value] * 1000 + [value + 2])
    scaled, missing = numeric(column, np.arange(1001) < 1000)
    assert (scaled[:1000] == 0).all()
    assert scaled[1000] == pytest.approx(2, rel=1e-6)
    assert not missing


def test_a_column_that_training_does_not_have():
    scaled, missing = numeric(pa.array([None, None, 5.0]), np.array([True, True, False]))
    assert scaled.tolist() == [0, 0, 5]
    assert missing


def test_large_integers_and_booleans_are_numbers():
    large, _ = numeric(pa.array([2**60 + 1, 0, None]), np.ones(3, bool))
    assert large.tolist() == [1, -1, 0]
    flags, _ = numeric(pa.array([True, False]), np.ones(2, bool))
    assert flags.tolist() == [1, -1]


def test_an_infinite_number_is_refused_with_its_row():
    with pytest.raises(MTBenchError, match="feature 'x': column 'raw', row 13: the number is infinite"):
        encode.numeric(pa.array([1.0, None, math.inf]), Feature(name="x", column="raw"), first=10)


@pytest.mark.parametrize("column", [pa.array(["a", "1"]), pa.array([dt.datetime(2020, 1, 1)]), pa.array([[1]])])  # noqa: DTZ001
def test_a_column_without_numbers_is_refused(column):
    with pytest.raises(MTBenchError, match="feature 'x' is numeric, but its column 'raw' does not hold numbers"):
        encode.numeric(column, Feature(name="x", column="raw"))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0, None], pa.int8()),
        pa.array([True, False, None]),
        pa.array([1.0, 0.0, float("nan")]),
        pa.array(["1", "0", None]),
        pa.chunked_array([pa.array([1]), pa.array([0, None])]),
    ],
)
def test_labels_of_every_type(column):
    found = encode.labels(column, Task(name="click"))
    np.testing.assert_array_equal(found, np.array([1, 0, np.nan]), strict=True)


def test_labels_of_a_regression_task_are_any_finite_number():
    task = Task(name="seconds", kind="regression", column="t")
    assert encode.labels(pa.array([-2.5, 1_600_000_001, 0.1]), task).tolist() == [-2.5, 1_600_000_001, 0.1]
    for wrong in (math.inf, 1e300):
        with pytest.raises(MTBenchError, match=r"task 'seconds': column 't', row 2: .* is not a finite number"):
            encode.labels(pa.array([1.0, wrong]), task)


@pytest.mark.parametrize("wrong", [2, 0.5, -1, math.inf])
def test_a_wrong_binary_label_is_refused_with_its_row(wrong):
    with pytest.raises(MTBenchError, match=f"task 'click': column 'c', row 13: {wrong:g} is not 0 or 1"):
        encode.labels(pa.array([1.0, None, wrong]), Task(name="click", column="c"), first=10)


def test_labels_that_are_words_are_refused():
    with pytest.raises(MTBenchError, match="task 'click': column 'click' does not hold numbers"):
        encode.labels(pa.array(["yes", "no"]), Task(name="click"))


@given(st.lists(st.none() | st.integers(-3, 3), min_size=1), st.integers(1, 4))
def test_values_are_numbered_by_their_first_appearance(values, chunk):
    numbering = encode.Numbering()
    found = [numbering.add(pa.array(values[at : at + chunk], pa.int64())) for at in range(0, len(values), chunk)]
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    expected = [encode.MISSING if value is None else distinct.index(value) for value in values]
    assert np.concatenate(found).tolist() == expected
    assert numbering.values.to_pylist() == distinct
    assert numbering.count() == len(set(values))
