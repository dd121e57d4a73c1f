from __future__ import annotations

import gzip
import zipfile

import pyarrow as pa
import pyarrow.parquet
import pytest

from mtbench.errors import MTBenchError
from mtbench_datasets import raw_files
from mtbench_datasets.raw_files import (
    attach,
    drop_duplicates,
    read_batches,
    read_delimited,
    read_parquet,
    refuse_unless_binary,
)

TYPES = {"user": pa.int64(), "word": pa.string(), "size": pa.float64()}


def written(tmp_path, text):
    path = tmp_path / "raw.csv"
    path.write_text(text)
    return path


def test_named_columns_are_read_whatever_their_order_and_company(tmp_path):
    path = written(tmp_path, 'word,other,size,user\n"a,b",x,1.5,3\nNA,,2,-4\n')
    assert read_delimited(path, TYPES).to_pydict() == {"user": [3, -4], "word": ["a,b", "NA"], "size": [1.5, 2.0]}


def test_gzipped_file_without_header(tmp_path):
    path = tmp_path / "raw.data.gz"
    path.write_bytes(gzip.compress(b"1, a, 2.5\n2, ?, 3\n"))
    table = read_delimited(path, TYPES, header=False, null=(" ?",), optional=("word",))
    assert table.to_pydict() == {"user": [1, 2], "word": [" a", None], "size": [2.5, 3.0]}


@pytest.mark.parametrize("row", [3, 150_001])
def test_an_unparsable_cell_is_named_wherever_it_is(tmp_path, row):
    lines = ["user,word,size", *(f"{i},w,1.0" for i in range(2, 200_002))]
    lines[row - 1] = "7,w,big"
    with pytest.raises(MTBenchError, match=rf"raw\.csv: column 'size', row {row}: .*'big'"):
        read_delimited(written(tmp_path, "\n".join(lines)), TYPES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,word,size\n1,a,2\n1,a\n", r"Row #3: Expected 3 columns, got 2"),
        ("user,word\n1,a\n", r"row 1: there is no column size; found user, word"),
        ("user,word,size\n1,a,2\n1,,2\n", r"column 'word', row 3: found None, expected a value"),
        ("user,word,size\n1,a,2\n,a,2\n", r"column 'user', row 3: found None, expected a value"),
        ("", r"there is no column user, word, size"),
    ],
)
def test_anything_unexpected_is_named(tmp_path, text, message):
    with pytest.raises(MTBenchError, match=message):
        read_delimited(written(tmp_path, text), TYPES)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MTBenchError, match=r"raw\.csv"):
        read_delimited(path, TYPES)


def test_parquet_is_read_as_strictly(tmp_path):
    path = tmp_path / "raw.parquet"
    pa.parquet.write_table(pa.table({"size": pa.array([1, 2], pa.int32()), "user": [5, None]}), path)
    assert read_parquet(path, {"size": pa.float64()}).to_pydict() == {"size": [1.0, 2.0]}
    with pytest.raises(MTBenchError, match="column 'user', row 2: found None"):
        read_parquet(path, {"user": pa.int64()})
    with pytest.raises(MTBenchError, match="there is no column word; found size, user"):
        read_parquet(path, {"word": pa.string()})
    path.write_text("no parquet")
    with pytest.raises(MTBenchError, match=r"raw\.parquet"):
        read_parquet(path, {"size": pa.float64()})


def test_attach_keeps_the_order_of_the_rows(tmp_path):
    rows, side = pa.table({"user": [3, 1, 3]}), pa.table({"user": [1, 2, 3], "age": [10, 20, 30]})
    assert attach(rows, "user", side, tmp_path).to_pydict() == {"user": [3, 1, 3], "age": [30, 10, 30]}


def test_attach_refuses_a_key_described_twice_or_not_at_all(tmp_path):
    rows = pa.table({"user": [3, 1, 3]})
    with pytest.raises(MTBenchError, match="column 'user': 1 occurs twice"):
        attach(rows, "user", pa.table({"user": [1, 1, 3]}), tmp_path)
    with pytest.raises(MTBenchError, match="column 'user': 3 is among the interactions"):
        attach(rows, "user", pa.table({"user": [1]}), tmp_path)


def test_a_delimiter_may_have_several_characters_and_the_text_another_encoding(tmp_path):
    path = tmp_path / "raw.dat"
    path.write_bytes("1::Am\u00e9lie: a film::2.5\n2::x::3\n".encode("latin1"))
    table = read_delimited(path, TYPES, delimiter="::", header=False, quoted=False, encoding="latin1")
    assert table.to_pydict() == {"user": [1, 2], "word": ["Am\u00e9lie: a film", "x"], "size": [2.5, 3.0]}
    with pytest.raises(MTBenchError, match=r"raw\.dat: column 'word', row 1: .*invalid UTF8"):
        read_delimited(path, TYPES, delimiter="::", header=False, quoted=False)


LINES = "user,word,size\n1,Am\u00e9lie,2.5\n2,x,3\n"
SAVED = {
    "a byte order mark": LINES.encode("utf-8-sig"),
    "and a quoted header": LINES.replace("user", '"user"').encode("utf-8-sig"),
    "line ends of Windows": LINES.replace("\n", "\r\n").encode(),
    "a byte order mark, line ends of Windows and an empty last line": (LINES + "\n")
    .replace("\n", "\r\n")
    .encode("utf-8-sig"),
    "empty lines": ("\n" + LINES + "\n\n").encode(),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
@pytest.mark.parametrize("kind", ["plain", "gzipped", "in an archive"])
def test_a_file_that_was_saved_again_is_read_as_the_original(tmp_path, content, kind):
    path = tmp_path / ("raw.csv.gz" if kind == "gzipped" else "raw.csv")
    path.write_bytes(gzip.compress(content) if kind == "gzipped" else content)
    if kind == "in an archive":
        with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
            archive.write(path, "raw.csv")
        path = zipfile.Path(tmp_path / "raw.zip", "raw.csv")
    expected = {"user": [1, 2], "word": ["Am\u00e9lie", "x"], "size": [2.5, 3.0]}
    assert read_delimited(path, TYPES).to_pydict() == expected


@pytest.mark.parametrize("delimiter", [",", "::"])
@pytest.mark.parametrize("encoding", ["utf8", "latin1"])
def test_a_byte_order_mark_says_that_the_file_is_utf8(tmp_path, delimiter, encoding):
    path = tmp_path / "raw.dat"
    path.write_bytes(LINES.partition("\n")[2].replace(",", delimiter).encode("utf-8-sig"))
    table = read_delimited(path, TYPES, delimiter=delimiter, header=False, quoted=False, encoding=encoding)
    assert table.to_pydict() == {"user": [1, 2], "word": ["Am\u00e9lie", "x"], "size": [2.5, 3.0]}
    if delimiter == ",":
        assert [piece for _, piece in read_batches(path, TYPES)] == [table]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_unicode_is_refused_with_the_remedy(tmp_path, encoding):
    path = tmp_path / "raw.csv"
    path.write_bytes(LINES.encode(encoding))
    for read in (read_delimited, lambda *of: list(read_batches(*of))):
        with pytest.raises(MTBenchError, match=r"raw\.csv: is not text in UTF-8; .*save it as UTF-8"):
            read(path, TYPES)


def test_pieces_are_the_whole_and_count_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_files, "_BATCH_BYTES", 128)
    path = written(tmp_path, "".join(f'{i},"w{i},1.5\n' for i in range(100)))
    pieces = list(read_batches(path, TYPES))
    assert len(pieces) > 5
    assert [first for first, _ in pieces] == [1 + sum(len(t) for _, t in pieces[:i]) for i in range(len(pieces))]
    assert pa.concat_tables([t for _, t in pieces]).equals(read_delimited(path, TYPES, header=False, quoted=False))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7,w", r"Row #51: Expected 3 columns, got 2"),
        ("7,w,big", r"column 'size', row 51: .*'big'"),
        ("7,,1", r"column 'word', row 51: found None, expected a value"),
    ],
)
def test_a_wrong_row_is_named_in_whatever_piece_it_is(tmp_path, monkeypatch, line, message):
    monkeypatch.setattr(raw_files, "_BATCH_BYTES", 128)
    lines = [f"{i},w,1.5" for i in range(50)]
    with pytest.raises(MTBenchError, match=rf"raw\.csv: (.*: )?{message}"):
        list(read_batches(written(tmp_path, "\n".join([*lines, line, *lines]) + "\n"), TYPES))


@pytest.mark.parametrize("label", [2, -1, None])
def test_a_label_is_zero_or_one(tmp_path, label):
    table = pa.table({"click": pa.array([0, 1, label], pa.int8())})
    refuse_unless_binary(table.slice(0, 2), ["click"], tmp_path, first_row=2)
    with pytest.raises(MTBenchError, match=f"column 'click', row 4: found {label}, expected 0 or 1"):
        refuse_unless_binary(table, ["click"], tmp_path, first_row=2)


def test_the_first_of_equal_rows_stays():
    table = pa.table({"a": [1, 1, 2, 1, 1], "b": [1.5, 2.5, 1.5, 1.5, None]})
    assert drop_duplicates(table).to_pydict() == {"a": [1, 1, 2, 1], "b": [1.5, 2.5, 1.5, None]}
