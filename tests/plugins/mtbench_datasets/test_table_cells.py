"""Cells as values, type by type; whole files are tested where tables are."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
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
        (cells.text, ["a", "", " "], ["a", None, None]),
        (cells.text, ["NL", " NL", "NL\t", "N L"], ["NL", "NL", "NL", "N L"]),
        (cells.splits, ["train", "test ", None, "valid"], ["train", "test", None, "valid"]),
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


@pytest.mark.parametrize("cell", ["drama|comedy", "drama | comedy", " drama |comedy ", "drama|\tcomedy"])
def test_blanks_around_the_values_of_a_list_are_no_part_of_them(cell):
    assert cells.lists(pa.array([cell]), separator="|").to_pylist() == [["drama", "comedy"]]
    assert cells.lists(pa.array([cell.split("|")]), separator="|").to_pylist() == [["drama", "comedy"]]


BIG = [[2**63, 2**64 - 1], [], None, [1]]
WORDS = [["a", "\u00fc"], [], None, ["a"]]


@pytest.mark.parametrize("of", [pa.list_, pa.large_list, pa.list_view, lambda kind: pa.list_(kind, 2)])
@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (pa.uint64(), BIG, BIG),
        (pa.binary(), [w and [x.encode() for x in w] for w in WORDS], WORDS),
        (pa.large_binary(), [w and [x.encode() for x in w] for w in WORDS], WORDS),
        (pa.string_view(), WORDS, WORDS),
        (pa.dictionary(pa.int8(), pa.string()), WORDS, WORDS),
        (pa.decimal128(9, 2), [[decimal.Decimal("1.25")] * 2, [], None, [decimal.Decimal(2)]],
         [["1.25", "1.25"], [], None, ["2.00"]]),
        (pa.bool_(), [[True, False], [], None, [True]], [["true", "false"], [], None, ["true"]]),
        (pa.date32(), [[dt.date(2024, 1, 2)] * 2, [], None, [dt.date(2024, 1, 3)]],
         [["2024-01-02"] * 2, [], None, ["2024-01-03"]]),
    ],
)  # fmt: skip
def test_lists_of_every_type_are_read_or_refused_by_row(of, kind, written, read):
    if pa.types.is_fixed_size_list(of(kind)):
        written, read = [written[0], None, written[0]], [read[0], None, read[0]]
    values = pa.array(written, of(kind))
    parsed = cells.read(values, partial(cells.lists, separator="|"))
    assert parsed.to_pylist() == read
    assert cells.read(values[1:], partial(cells.lists, separator="|")).to_pylist() == read[1:]


@pytest.mark.parametrize(
    ("values", "kind", "row", "said"),
    [
        ([[b"a"], None, [b"b", b"\xff"]], pa.list_(pa.binary()), 2, "'\\xff' is not UTF-8 text"),
        ([[1.5], [2.5, float("nan")]], pa.list_(pa.float64()), 1, "[2.5, nan] holds an empty value"),
        ([["a"], ["b", " "]], pa.list_(pa.string()), 1, "['b', ' '] holds an empty value"),
        ([["a"], ["b", None]], pa.large_list(pa.string()), 1, "['b', None] holds an empty value"),
        ([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2), 2, "[3, None] holds an empty value"),
        ([[{"a": 1}]], pa.list_(pa.struct({"a": pa.int64()})), None, "give lists of plain values"),
        ([[["a"]]], pa.list_(pa.list_(pa.string())), None, "give lists of plain values"),
        ([[("a", 1)]], pa.map_(pa.string(), pa.int64()), None, "give one value per cell"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(values, kind, row, said):
    with pytest.raises(Mistake) as raised:
        cells.read(pa.array(values, kind), partial(cells.lists, separator="|"))
    assert said in str(raised.value)
    assert raised.value.row == row


IDS = [uuid.UUID(int=2**127 + 1), None]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (IDS, pa.uuid(), [str(IDS[0]), None]),
        ([b"ab", None], pa.binary(2), ["ab", None]),
        (["1", None], pa.string_view(), ["1", None]),
        ([b"1", None], pa.binary_view(), ["1", None]),
        ([2**64 - 1, None], pa.uint64(), [2**64 - 1, None]),
    ],
)
def test_values_of_rare_types_are_text_or_integers(values, kind, expected):
    assert cells.read(pa.array(values, kind), cells.text).to_pylist() == expected


def test_what_arrow_cannot_read_is_a_mistake_in_a_row():
    with pytest.raises(Mistake, match=r"is not read from double .*; convert the column") as raised:
        cells.read(pa.array([1.0, 2.5]), lambda part: part.cast(pa.int8()))
    assert raised.value.row == 1
    with pytest.raises(Mistake, match="18446744073709551615 is no binary label"):
        cells.read(pa.array([0, 2**64 - 1], pa.uint64()), cells.binary_labels)


@pytest.mark.parametrize("values", [["a", "a||b"], ["a", "|a"], ["a", "a|"], ["a", "a | "], [["a"], ["b", None]]])
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
        ([["1.5"], ["-1700000000.123456789"]], "long decimals"),
        ([["1700000000123.456789"]], "decimals"),  # more than nanoseconds of seconds can hold: read as it was written
        ([["2024-01-31T18:30:00.123456"]], "instants"),
        ([["2024-01-31"], ["2024-02-01T00:00:00.123456789Z"]], "long instants"),
        ([["2024-01-31"], ["2024-02-01"]], "instants"),
        ([["21.06.2000"]], "instants"),
        ([["1.2.3"]], "instants"),
        ([["06/21/2000"]], "instants"),
        ([["-.5"], ["3."]], "decimals"),
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
        (["14.11.2023 22:13:20.000000007"], "long instants", "%d.%m.%Y %H:%M:%S.%f", [MICROSECONDS * 1000 + 7]),
        (["2023-11-14T23:13:20.000000007+01:00", None], "long instants", None, [MICROSECONDS * 1000 + 7, None]),
        (["-3.000000001", None], "long decimals", None, [decimal.Decimal("-3.000000001"), None]),
    ],
)
def test_instants_are_microseconds_and_numbers_are_themselves(values, written, time_format, expected):
    assert cells.times(pa.array(values), written=written, time_format=time_format).to_pylist() == expected


@pytest.mark.parametrize(
    ("value", "time_format", "said"),
    [
        ("now", None, "'now' is not a time in ISO 8601"),
        ("31/01/2024", None, "'31/01/2024' is not a time in ISO 8601"),
        ("21.06.2000", None, "'21.06.2000' is not a time in ISO 8601"),
        ("2024-01-31", "%d.%m.%Y", "'2024-01-31' is not a time of the form '%d.%m.%Y'"),
        ("2024-01-31", "%Q", "time_format '%Q' is not understood"),
    ],
)
def test_a_time_of_another_form_is_refused(value, time_format, said):
    with pytest.raises(Mistake) as raised:
        cells.times(pa.array([value]), written="instants", time_format=time_format)
    assert said in str(raised.value)


def test_years_that_nanoseconds_do_not_reach_are_refused():
    with pytest.raises(Mistake, match="'2500-01-01' has no nanoseconds in 64 bits") as raised:
        cells.times(pa.array(["2023-11-14", "2500-01-01"]), written="long instants", time_format=None)
    assert raised.value.row == 1


def test_numbers_of_a_given_form_are_instants():
    assert cells.tell_time_text([pa.array(["20240131"])], formatted=True) == "instants"


def test_bytes_are_text_if_they_are_utf8():
    assert cells.decode(pa.array(["ü".encode()])).to_pylist() == ["ü"]
    assert cells.decode(pa.array(["a", "b"]).dictionary_encode()).to_pylist() == ["a", "b"]
    with pytest.raises(Mistake, match="is not UTF-8 text") as raised:
        cells.decode(pa.array([b"a", b"b", b"\xff"]))
    assert raised.value.row == 2
