from __future__ import annotations

import csv
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mtbench.errors import MTBenchError
from mtbench_datasets.table import Table, TableConfig, blocks

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ["member", "product", "posted_at", "part", "shelf", "length_ms", "genres", "liked", "stars"]
ROWS = [
    ["u1", "9007199254740993", "2024-01-31T18:30:00", "train", "7", "12.5", "a|b", "1", "4.5"],
    ["u2", "2", "2024-02-01T00:00:00+02:00", "valid", "07", "", "c", "", ""],
    ["u1", "3", "2024-02-02", "test", "", "-3e2", "", "False", "1"],
]
ROLES: dict[str, Any] = {
    "user": "member",
    "item": "product",
    "time": "posted_at",
    "split": "part",
    "tasks": ["liked", {"name": "rating", "column": "stars", "kind": "regression"}],
    "features": [
        "shelf",
        {"name": "length_ms", "kind": "numeric"},
        {"name": "tags", "kind": "multi", "column": "genres"},
    ],
}
JAN_31 = int(dt.datetime(2024, 1, 31, 18, 30, tzinfo=dt.UTC).timestamp() * 1e6)
EXPECTED = {
    "member": ["u1", "u2", "u1"],
    "product": ["9007199254740993", "2", "3"],
    "posted_at": [JAN_31, JAN_31 + 3_600_000_000 * 7 // 2, JAN_31 + 3_600_000_000 * 59 // 2],
    "part": ["train", "valid", "test"],
    "shelf": ["7", "07", None],
    "length_ms": [12.5, None, -300.0],
    "genres": [["a", "b"], ["c"], None],
    "liked": [1, None, 0],
    "stars": [4.5, None, 1.0],
}


ONE_FEATURE = {"tasks": ["liked"], "features": ["x"], "user": None, "item": None, "time": None, "split": None}


def opened(path: Path, **settings_: Any) -> pa.RecordBatchReader:
    dataset = Table(TableConfig(path=path, **(ROLES | settings_)))
    (source,) = dataset.sources()
    assert source.path == path
    return dataset.load({source.name: path})


def load(path: Path, **settings_: Any) -> pa.Table:
    return opened(path, **settings_).read_all()


def columns_of(table: list[list[str]]) -> dict[str, list[str]]:
    return dict(zip(HEADER, map(list, zip(*table, strict=True)), strict=True))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 1 << 10)
    monkeypatch.setattr(blocks, "_ROWS", 10)


def write(path: Path, rows: list[list[str]], header: list[str] = HEADER, **dialect: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **dialect).writerows([header, *rows])
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "delimiter", "given"), [("a.csv", ",", None), ("a.tsv", "\t", None), ("a.txt", ";", ";")]
)
def test_reads_text_files(tmp_path, name, delimiter, given, end):
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        path = write(tmp_path / name, ROWS, delimiter=delimiter, lineterminator=end, quoting=quoting)
        assert load(path, separator=given).to_pydict() == EXPECTED


def test_reads_past_byte_order_mark_and_undeclared_columns(tmp_path):
    path = write(tmp_path / "a.csv", [[*row, "x", "é"] for row in ROWS], [*HEADER, "more", "more"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path).to_pydict() == EXPECTED


def test_reads_native_parquet_types(tmp_path):
    utc = pa.timestamp("ns", "Europe/Berlin")
    columns = {
        "member": pa.array(["u1", "u2", "u1"]).dictionary_encode(),
        "product": pa.array([2**62 + 1, 2, 3]),
        "posted_at": pa.array([10**18, 10**18 + 1500, 10**18 + 2000], utc),
        "part": pa.array(["train", "valid", "test"], pa.large_string()),
        "shelf": pa.array([1.5, float("nan"), None]),
        "length_ms": pa.array([1, None, 2**60 + 1], pa.int64()),
        "genres": pa.array([[1, 2], [], None], pa.large_list(pa.int32())),
        "liked": pa.array([True, None, False]),
        "stars": pa.array([4, None, 1], pa.uint8()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").to_pydict() == {
        "member": ["u1", "u2", "u1"],
        "product": [2**62 + 1, 2, 3],
        "posted_at": [10**18, 10**18 + 1500, 10**18 + 2000],
        "part": ["train", "valid", "test"],
        "shelf": ["1.5", None, None],
        "length_ms": [1.0, None, float(2**60)],
        "genres": [[1, 2], [], None],
        "liked": [1, None, 0],
        "stars": [4.0, None, 1.0],
    }


def test_lists_of_the_largest_integers_are_read(tmp_path):
    columns: dict[str, Any] = columns_of(ROWS)
    lists = [[2**63, 2**64 - 1], [], [7]]
    columns["genres"] = pa.array(lists, pa.list_(pa.uint64()))
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet")["genres"].to_pylist() == lists


def test_values_are_those_that_are_meant_and_what_is_not_clear_is_said(tmp_path, prepared, monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path / "cache"))
    genres = ["drama | comedy", "comedy|drama", " war", "drama |war"]
    countries = ["NL", "NL ", " ES", "ES"]
    rows = [[genres[i % 4], countries[i // 3 % 4], str(i // 5 % 2)] for i in range(400)]
    features = ["country", {"name": "genres", "kind": "multi"}]
    roles: dict[str, Any] = {"tasks": ["liked"], "features": features}
    path = write(tmp_path / "a.csv", rows, ["genres", "country", "liked"])
    columns = prepared(Table(TableConfig(path=path, **roles)))
    assert (columns.spec.categorical, columns.spec.multi) == ({"country": 3}, {"genres": 4})  # and the unknown one
    assert [finding.gate for finding in columns.findings] == ["equal-rows"]
    rows[7][:2] = ['["drama", "comedy"]', "nl"]
    columns = prepared(Table(TableConfig(path=write(path, rows, ["genres", "country", "liked"]), **roles)))
    assert [finding.message for finding in columns.findings if finding.gate != "equal-rows"] == [
        "feature 'country' has 'NL' and 'nl', which are different values; write them alike if they mean the same",
        (
            "feature 'genres' has brackets or quotes in 1 of 4 values, such as '[\"drama\", \"comedy\"]', which are "
            "taken as part of them; write the values of a list alone, with nothing but the separator between them"
        ),
    ]


def test_text_in_parquet_means_the_same_as_in_csv(tmp_path):
    pq.write_table(pa.table(columns_of(ROWS)), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").to_pydict() == EXPECTED


def test_unicode_names_and_quoted_line_breaks(tmp_path):
    path = write(tmp_path / "ä.csv", [["a\nb", "1"], ['say "x, y"', "0"]], ["größe, 尺", "liked"])
    table = load(path, tasks=["liked"], features=["größe, 尺"], user=None, item=None, time=None, split=None)
    assert table["größe, 尺"].to_pylist() == ["a\nb", 'say "x, y"']


@pytest.mark.parametrize(
    ("written", "time_format", "read"),
    [
        (["3", "-1", "9007199254740993"], None, [3, -1, 9007199254740993]),
        (["3", "2.5", "1e3"], None, [3.0, 2.5, 1000.0]),
        (["31/01/2024 18:30"] * 3, "%d/%m/%Y %H:%M", [JAN_31] * 3),
        (["2024-01-31 19:30 +0100"] * 3, "%Y-%m-%d %H:%M %z", [JAN_31] * 3),
        (["2024-01-31 18:30:00.000001", "2024-01-31T18:30Z", "2024-01-31 18:30"], None, [JAN_31 + 1, JAN_31, JAN_31]),
    ],
)
def test_times(tmp_path, written, time_format, read):
    rows = [[*row[:2], time, *row[3:]] for row, time in zip(ROWS, written, strict=True)]
    table = load(write(tmp_path / "a.csv", rows), time_format=time_format)
    assert table["posted_at"].to_pylist() == read
    assert [type(value) for value in table["posted_at"].to_pylist()] == [type(value) for value in read]


def test_the_split_follows_from_the_columns(tmp_path):
    def by(**roles: str) -> str:
        return Table(TableConfig(path=tmp_path / "a.csv", tasks=["liked"], **roles)).split.by

    assert (by(), by(time="t"), by(split="s"), by(time="t", split="s")) == ("random", "time", "official", "official")


def test_the_schema_is_checked_with_the_settings(tmp_path):
    config = TableConfig(path=tmp_path / "a.csv", **ROLES)
    schema = Table(config).schema()
    assert schema.tasks[1].label == "stars"
    assert [feature.kind for feature in schema.features] == ["categorical", "numeric", "multi"]
    with pytest.raises(ValidationError, match="did you mean 'features'"):
        TableConfig(path=tmp_path / "a.csv", tasks=["liked"], feature=["shelf"])
    with pytest.raises(ValidationError, match="did you mean 'liked'"):
        TableConfig(path=tmp_path / "a.csv", tasks=["liked", {"name": "bought", "given": "likd"}])


BROKEN = {
    "member": ("", "is empty; every row needs its user"),
    "product": ("", "is empty; every row needs its item"),
    "posted_at": ("yesterday", "'yesterday' is not a time in ISO 8601"),
    "part": ("dev", "'dev' is no split"),
    "length_ms": ("abc", "'abc' is not a number"),
    "genres": ("a||b", "'a||b' holds an empty value"),
    "liked": ("2", "'2' is no binary label"),
    "stars": ("inf", "'inf' is not a finite number"),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    column=st.sampled_from(sorted(BROKEN)),
    row=st.integers(0, 2999),
    rows=st.integers(1, 3000),
    file=st.sampled_from(["csv", "csv with a quoted line break", "parquet"]),
)
@pytest.mark.usefixtures("small_blocks")
def test_a_broken_cell_is_named(tmp_path, column, row, rows, file):
    row %= rows
    table = [list(ROWS[i % 3]) for i in range(rows)]
    table[0][HEADER.index("liked")] = table[-1][HEADER.index("liked")] = "1"
    table[0][HEADER.index("stars")] = table[-1][HEADER.index("stars")] = "1"
    if file == "csv with a quoted line break":
        table[0][HEADER.index("shelf")] = "two\nlines"
    text, what = BROKEN[column]
    table[row][HEADER.index(column)] = text
    if file == "parquet":
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table(columns_of(table)), path)
    else:
        path = write(tmp_path / "a.csv", table)
    line = f" (line {row + 2})" if file == "csv" else ""
    with pytest.raises(MTBenchError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: column '{column}', row {row + 1}{line}: {what}")


@pytest.mark.parametrize(
    ("column", "text", "what"),
    [
        ("posted_at", "", "is empty; every row needs its time"),
        ("posted_at", "now", "'now' is not a time"),
        ("posted_at", "2024-02-30", "'2024-02-30' is not a time"),
        (
            "posted_at",
            "21.06.2000",
            "'21.06.2000' is not a time in ISO 8601; write it like 2024-01-31T18:30:00, or set",
        ),
        ("part", "", "is empty; every row needs its split"),
        ("length_ms", "nan", "'nan' is not a finite number"),
        ("length_ms", "1,5", "'1,5' is not a number"),
        ("genres", "|a", "'|a' holds an empty value"),
        ("liked", "NA", "'NA' is no binary label"),
        ("stars", "1e39", "'1e39' is too large a label"),
    ],
)
def test_broken_cells(tmp_path, column, text, what):
    rows = [list(row) for row in ROWS]
    rows[1][HEADER.index(column)] = text
    with pytest.raises(MTBenchError) as caught:
        load(write(tmp_path / "a.csv", rows))
    assert f"a.csv: column '{column}', row 2 (line 3): {what}" in str(caught.value)


def test_a_time_among_numbers_must_be_a_number(tmp_path):
    rows = [[*row[:2], time, *row[3:]] for row, time in zip(ROWS, ["1", "2", "2024-01-31"], strict=True)]
    with pytest.raises(MTBenchError, match=r"column 'posted_at', row 3 \(line 4\): '2024-01-31' is not a number"):
        load(write(tmp_path / "a.csv", rows))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n\n", "is not readable as CSV"),
        (b"x,liked\n", "has no rows"),
        (b"x,likd\n1,1\n", r"there is no column 'liked' \(did you mean 'likd'\?\); its columns are: x, likd"),
        (b"x,liked,liked\n1,1,1\n", "2 columns are named 'liked'"),
        (b"x,liked\n1,1\n2\n3,1\n", r"row 2 \(line 3\) has 1 cells where the header has 2"),
        (b"x,liked\n1,1\n2,0\n3,1,1\n", r"row 3 \(line 4\) has 3 cells where the header has 2"),
        (b'x,liked\n"1\n1",1\n2\n', r"row 2 has 1 cells where the header has 2"),
        (b"x,liked\n1,1\ncaf\xe9,1\n", r"column 'x', row 2 \(line 3\): b'caf\\xe9' is not UTF-8"),
        (b"\xe9,x,liked\n1,1,1\n", "header is not UTF-8"),
        (b"x,liked\n1,\n2,\n", "column 'liked': has no label in any row"),
        (b'x,liked,y\n1,1,a\n2,1,"b\n3,1,c\n', "column 'y', row 2: a quote is opened and never closed"),
        (b"x\tliked\n1\t1\n", r"""the columns are separated by "\\t", not by ','; set 'separator: "\\t"'"""),
        (b'"x";"liked"\n"1";"1"\n', "the columns are separated by ';', not by ','; set 'separator: ';''"),
        (b"x;a,b;liked\n1;2;1\n", "the columns are separated by ';'"),
        (b"\x1f\x8b\x08\x00\x00\x00", "is not text in UTF-8"),
        ("x,liked\n1,1\n".encode("utf-16"), "is not text in UTF-8"),
    ],
)
def test_broken_files(tmp_path, content, what):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(MTBenchError, match=what) as caught:
        load(path, **ONE_FEATURE)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("written", ["21.06.2000", "06/21/2000", "21.06.2000 18:30"])
def test_times_of_another_form_get_the_same_hint(tmp_path, written):
    rows = [[*row[:2], written, *row[3:]] for row in ROWS]
    with pytest.raises(MTBenchError, match=f"'{written}' is not a time in ISO 8601; .*, or set time_format"):
        load(write(tmp_path / "a.csv", rows))


ZIP = b"PK\x03\x04\x14\x00\x00\x00"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.xlsx", ZIP, "is a spreadsheet; save its sheet as CSV in UTF-8"),
        ("a.XLS", b"\xd0\xcf\x11\xe0", "is a spreadsheet"),
        ("a.jsonl", b'{"x": 1}\n', r"holds JSON; convert it once: pandas.read_json\('.*a.jsonl', lines=True\).to_parq"),
        ("a.json", b'[{"x": 1}]', r"holds JSON; convert it once: pandas.read_json\('.*a.json', lines=False\)"),
        ("a.csv", b'{"x": 1}\n', "holds JSON"),
        ("a.zip", ZIP, "is an archive; unpack it"),
        ("a.tar", b"x", "is an archive; unpack it"),
        ("a.csv", ZIP, "is an archive or a spreadsheet; save its table as CSV"),
        ("a.csv", b"PAR1\x15\x04", r"is a Parquet file; give it a name that ends with \.parquet"),
        ("a.feather", b"ARROW1", r"is of a format that is not read; write it as Parquet, .* to_parquet\('a.parquet'\)"),
        ("a.sqlite", b"SQLite format 3\x00", "is of a format that is not read"),
    ],
)  # fmt: skip
def test_other_formats_get_a_line_that_says_what_to_do(tmp_path, name, content, what):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MTBenchError, match=what) as caught:
        load(path, **ONE_FEATURE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_stray_quote_inside_a_cell_is_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'x,liked\n5" disk,1\n3,0\n')
    table = load(tmp_path / "a.csv", **ONE_FEATURE)
    assert table["x"].to_pylist() == ['5" disk', "3"]


@pytest.mark.parametrize("wrong", ["1.01", "-0.5"])
def test_the_truth_of_a_binary_task_is_a_probability(tmp_path, wrong):
    rows = [[*row, p] for row, p in zip(ROWS, ["0", wrong, ""], strict=True)]
    path = write(tmp_path / "a.csv", rows, [*HEADER, "p"])
    with pytest.raises(MTBenchError, match=rf"column 'p', row 2 \(line 3\): '{wrong}' is no probability"):
        load(path, truth={"liked": "p"})
    assert load(path, truth={"rating": "p"})["p"].to_pylist() == [0.0, float(wrong), None]


@pytest.mark.parametrize(
    ("column", "values", "what"),
    [
        ("length_ms", pa.array([1.0, float("nan"), 2.0]), "row 2: nan is not a finite number"),
        ("length_ms", pa.array([dt.date(2024, 1, 1)] * 3), "holds date32"),
        ("shelf", pa.array([["a"], None, []]), "holds lists; declare it a feature with `kind: multi`"),
        ("genres", pa.array([["a"], ["b", None], []]), "row 2: .* holds an empty value"),
        ("liked", pa.array([0, 1, 5]), "row 3: 5 is no binary label"),
        ("posted_at", pa.array([1, None, 3]), "row 2: is empty; every row needs its time"),
        ("genres", pa.array([[b"a"], None, [b"\xff"]]), "row 3: .* is not UTF-8 text"),
        ("shelf", pa.array([b"a", None, b"\xff"], pa.binary(1)), "row 3: .* is not UTF-8 text"),
        ("liked", pa.array([0, 1, 2**64 - 1], pa.uint64()), "row 3: 18446744073709551615 is no binary label"),
        ("posted_at", pa.array([1, 2, 2**63], pa.uint64()), "row 3: 9223372036854775808 is too large a time"),
    ],
)
def test_broken_parquet_columns(tmp_path, column, values, what):
    columns: dict[str, Any] = columns_of(ROWS)
    pq.write_table(pa.table(columns | {column: values}), tmp_path / "a.parquet")
    with pytest.raises(MTBenchError, match=f"column '{column}'.*{what}"):
        load(tmp_path / "a.parquet")


def test_a_truncated_parquet_file(tmp_path):
    columns: dict[str, Any] = columns_of(ROWS)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MTBenchError, match="is not a readable Parquet file"):
        load(path)


def test_one_column_cannot_be_a_list_and_something_else(tmp_path):
    features = ["shelf", {"name": "shelves", "kind": "multi", "column": "shelf"}]
    with pytest.raises(MTBenchError, match="'shelf' is declared a multi feature and something else"):
        load(write(tmp_path / "a.csv", ROWS), features=features)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_blocks_together_are_the_whole_file(tmp_path, monkeypatch, suffix):
    table = [[*ROWS[i % 3][:1], str(i), *ROWS[i % 3][2:]] for i in range(997)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        write(path, table)
    else:
        pq.write_table(pa.table(columns_of(table)), path, row_group_size=300)
    whole = load(path)
    monkeypatch.setattr(blocks, "_BLOCK", 1 << 10)
    monkeypatch.setattr(blocks, "_ROWS", 10)
    reader = opened(path)
    parts = list(reader)
    assert len(parts) > 20
    assert pa.Table.from_batches(parts, reader.schema) == whole
    assert whole["product"].to_pylist() == [str(i) for i in range(997)]


@pytest.mark.usefixtures("small_blocks")
def test_the_beginning_is_read_before_the_end_is_seen(tmp_path):
    rows = [["a", "1"]] * 5000
    reader = opened(write(tmp_path / "a.csv", [*rows, ["b"]], ["x", "liked"]), **ONE_FEATURE)
    assert reader.read_next_batch()["x"][0].as_py() == "a"
    with pytest.raises(MTBenchError, match=r"row 5001 \(line 5002\) has 1 cells where the header has 2"):
        reader.read_all()


@pytest.mark.parametrize(
    ("last", "read"),
    [("7", int), (" 7", int), ("0.5", float), ("9223372036854775808", float)],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.usefixtures("small_blocks")
def test_one_late_decimal_makes_all_times_decimals(tmp_path, suffix, last, read):
    table = [[*ROWS[0][:2], str(i), *ROWS[0][3:]] for i in range(500)]
    table[-1][2] = last
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        write(path, table)
    else:
        pq.write_table(pa.table(columns_of(table)), path)
    times = load(path)["posted_at"].to_pylist()
    assert times == [*map(read, range(499)), read(last)]
    assert {type(time) for time in times} == {read}


@pytest.mark.usefixtures("small_blocks")
def test_labels_may_come_late_but_must_come(tmp_path):
    rows = [["a", ""]] * 2000
    assert load(write(tmp_path / "a.csv", [*rows, ["a", "1"]], ["x", "liked"]), **ONE_FEATURE)["liked"][-1].as_py() == 1
    with pytest.raises(MTBenchError, match="column 'liked': has no label in any row"):
        load(write(tmp_path / "a.csv", rows, ["x", "liked"]), **ONE_FEATURE)


@pytest.mark.usefixtures("small_blocks")
def test_an_open_quote_behind_many_blocks_is_found(tmp_path):
    path = write(tmp_path / "a.csv", [["a", "1", "b"]] * 500, ["x", "liked", "y"])
    path.write_bytes(path.read_bytes() + b'a,1,"b\na,1,b\n')
    with pytest.raises(MTBenchError, match="column 'y', row 501: a quote is opened and never closed"):
        load(path, **ONE_FEATURE)


def test_a_row_group_is_not_read_at_once(tmp_path):
    rows = 1 << 20
    ids = np.random.default_rng(0).integers(0, 1 << 60, rows)
    pq.write_table(pa.table({"x": ids, "liked": ids % 2}), tmp_path / "a.parquet", row_group_size=rows)
    before, most = pa.total_allocated_bytes(), 0
    for _ in opened(tmp_path / "a.parquet", **ONE_FEATURE):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 8 * rows


@pytest.mark.parametrize(
    ("kind", "wrong", "what"),
    [
        ("ordinal", "2.5", "'2.5' is no ordinal label; write a whole number"),
        ("count", "-1", "'-1' is no count label; write a whole number from 0 on"),
        ("count", "0.5", "'0.5' is no count label"),
        ("binary", "2", "'2' is no binary label"),
    ],
)
def test_labels_are_checked_by_the_kind_of_their_task(tmp_path, kind, wrong, what):
    path = tmp_path / "t.csv"
    roles = ONE_FEATURE | {"tasks": [{"name": "y", "kind": kind}]}
    path.write_text("x,y\na,0\na,1.0\na,\n")
    assert opened(path, **roles).read_all()["y"].to_pylist() == [0, 1, None]
    with path.open("a") as file:
        file.write(f"a,{wrong}\n")
    with pytest.raises(MTBenchError) as caught:
        opened(path, **roles).read_all()
    assert f"column 'y', row 4 (line 5): {what}" in str(caught.value)
