"""Cells as values, type by type; whole files are tested where tables are."""

from __future__ import annotations

import datetime as dt
import decimal
from functools import partial

import pyarrow as pa
import pytest

from mtbench import find_kind
from mtbench_datasets.table import cells
from mtbench_datasets.table.cells import Mistake

UTC = dt.UTC
MICROSECONDS = 1_700_000_000 * 10**6
NOON = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # that many after 1970


@pytest.mark.parametrize(
    ("read", "values", "expected"),
    [
        (cells.numbers, [" 1.5", "-2e3", "", None], [1.5, -2000.0, None, None]),
        (cells.numbers, [decimal.Decimal("1.25"), None], [1.25, None]),
        (cells.numbers, [True, False], [1.0, 0.0]),
        (cells.probabilities, ["0", "1", "0.25", None], [0.0, 1.0, 0.25, None]),
        (cells.binary_labels, ["TRUE", " 0 ", "1.0", "", None], [1, 0, 1, None, None]),
        (cells.binary_labels, [1.0, 0.0, float("nan")], [1, 0, None]),
        (cells.binary_labels, [True, None], [1, None]),
        (cells.text, [3, None], [3, None]),
        (cells.text, [1.5, float("nan")], ["1.5", None]),
        (cells.text, ["a", "", " "], ["a", None, " "]),
        (cells.splits, ["train", "test", None, "valid"], ["train", "test", None, "valid"]),
    ],
)
def test_cells_are_read(read, values, expected):
    assert read(pa.array(values)).to_pylist() == expected


@pytest.mark.parametrize(
    ("read", "values", "row", "said"),
    [
        (cells.numbers, ["1", "2", "three", "four"], 2, "'three' is not a number"),
        (cells.numbers, ["1", "inf"], 1, "'inf' is not a finite number"),
        (cells.numbers, [[1.0]], None, "holds list<item: double>, not numbers"),
        (cells.probabilities, [0.5, 1.5], 1, "1.5 is no probability"),
        (partial(cells.labels, kind=find_kind("regression")), [1.0, -1e39], 1, "-1e+39 is too large a label"),
        (cells.binary_labels, [0, 1, 2], 2, "2 is no binary label"),
        (cells.binary_labels, ["yes"], 0, "'yes' is no binary label"),
        (cells.splits, ["train", "dev"], 1, "'dev' is no split"),
        (cells.text, [["a"]], None, "declare it a feature with `kind: multi`"),
        (cells.text, [{"a": 1}], None, "give one value per cell"),
        (cells.numbers, ["x" * 100], 0, f"'{'x' * 56}... is not a number"),
    ],
)
def test_the_first_cell_that_cannot_be_read_is_named(read, values, row, said):
    with pytest.raises(Mistake) as raised:
        read(pa.array(values))
    assert said in str(raised.value)
    assert raised.value.row == row


def test_a_cell_is_divided_at_the_separator_and_a_list_is_taken_as_it_is():
    assert cells.lists(pa.array(["a|b", "c", "", None]), separator="|").to_pylist() == [["a", "b"], ["c"], None, None]
    assert cells.lists(pa.array([[1, 2], [], None]), separator="|").to_pylist() == [[1, 2], [], None]
    assert cells.lists(pa.array([[1.5], []]), separator="|").to_pylist() == [["1.5"], []]


@pytest.mark.parametrize("values", [["a", "a||b"], ["a", "|a"], ["a", "a|"], [["a"], ["b", None]]])
def test_an_empty_value_in_a_list_is_named(values):
    with pytest.raises(Mistake, match="holds an empty value") as raised:
        cells.lists(pa.array(values), separator="|")
    assert raised.value.row == 1


@pytest.mark.parametrize(
    ("blocks", "written"),
    [
        ([["1", "2"], ["3"]], "integers"),
        ([["1", "2"], ["3.5"]], "decimals"),
        ([["1.0"]], "decimals"),
        ([["1e9"]], "decimals"),
        ([["2024-01-31"], ["2024-02-01"]], "instants"),
        ([[1, 2]], "instants"),  # not text, so that nobody asks
    ],
)
def test_times_in_text_are_numbers_if_the_first_one_is(blocks, written):
    arrays = [pa.array(block) for block in blocks]
    assert cells.tell_time_text(arrays) == written


@pytest.mark.parametrize(
    ("values", "written", "time_format", "expected"),
    [
        ([NOON, None], "instants", None, [MICROSECONDS, None]),
        ([dt.date(1970, 1, 2)], "instants", None, [86_400 * 10**6]),
        ([5, None], "instants", None, [5, None]),
        (["7", " 9"], "integers", None, [7, 9]),
        (["7", "9.5"], "decimals", None, [7.0, 9.5]),
        (["2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", None], "instants", None, [MICROSECONDS] * 2 + [None]),
        (["14.11.2023 22:13:20"], "instants", "%d.%m.%Y %H:%M:%S", [MICROSECONDS]),
    ],
)
def test_instants_are_microseconds_and_numbers_are_themselves(values, written, time_format, expected):
    assert cells.times(pa.array(values), written=written, time_format=time_format).to_pylist() == expected


@pytest.mark.parametrize(
    ("value", "time_format", "said"),
    [
        ("now", None, "'now' is not a time in ISO 8601"),
        ("31/01/2024", None, "'31/01/2024' is not a time in ISO 8601"),
        ("2024-01-31", "%d.%m.%Y", "'2024-01-31' is not a time of the form '%d.%m.%Y'"),
        ("2024-01-31", "%Q", "time_format '%Q' is not understood"),
    ],
)
def test_a_time_of_another_form_is_refused(value, time_format, said):
    with pytest.raises(Mistake) as raised:
        cells.times(pa.array([value]), written="instants", time_format=time_format)
    assert said in str(raised.value)


def test_bytes_are_text_if_they_are_utf8():
    assert cells.decode(pa.array(["ü".encode()])).to_pylist() == ["ü"]
    assert cells.decode(pa.array(["a", "b"]).dictionary_encode()).to_pylist() == ["a", "b"]
    with pytest.raises(Mistake, match="is not UTF-8 text") as raised:
        cells.decode(pa.array([b"a", b"b", b"\xff"]))
    assert raised.value.row == 2
