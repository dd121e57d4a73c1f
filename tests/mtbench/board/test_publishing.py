from __future__ import annotations

import pytest

from mtbench.board import addresses, publishing
from mtbench.board.page import build
from mtbench.errors import MTBenchError
from mtbench.record import store


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_pages_of_records_that_are_gone_are_removed_and_nothing_else(tmp_path, make_record):
    records, out = tmp_path / "records", tmp_path / "site"
    kept = store.write(make_record("mmoe"), records)
    before = files(build(records, out).parent)
    gone = store.write(make_record("ple"), records)
    build(records, out)
    assert {f"records/{gone.stem}.html", "models/ple.html"} <= files(out).keys()
    gone.unlink()
    own = {"notes.html": b"mine", "records/mine.html": b"mine", "data/table.csv": b"a,b"}
    for name, content in own.items():
        (out / name).write_bytes(content)
    build(records, out)
    assert files(out) == before | own
    assert f"records/{kept.stem}.html" in before


def test_a_build_twice_gives_the_same_bytes_and_touches_no_file(tmp_path, make_record):
    records = tmp_path / "records"
    for name in ("mmoe", "ple"):
        store.write(make_record(name), records)
    out = build(records, tmp_path / "site").parent
    first, times = files(out), {path: path.stat().st_mtime_ns for path in out.rglob("*.html")}
    build(records, out)
    assert files(out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.html")} == times


@pytest.mark.parametrize("line", ["../outside.html", "/etc/passwd", "records/../../outside.html", "notes.html", "data"])
def test_a_manifest_cannot_make_a_build_remove_what_none_writes(tmp_path, line):
    out = tmp_path / "site"
    (out / "data").mkdir(parents=True)
    for path in (tmp_path / "outside.html", out / "notes.html"):
        path.write_text("mine")
    (out / publishing.MANIFEST).write_text(f"{line}\n")
    publishing.publish([("index.html", "new")], out)
    assert (tmp_path / "outside.html").is_file()
    assert (out / "notes.html").is_file()
    assert (out / publishing.MANIFEST).read_text() == "index.html\n"


def test_what_an_interrupted_build_made_is_known_to_the_next(tmp_path):
    def interrupted():
        yield "models/a.html", "a"
        raise KeyboardInterrupt

    publishing.publish([("models/old.html", "old")], tmp_path)
    with pytest.raises(KeyboardInterrupt):
        publishing.publish(interrupted(), tmp_path)
    publishing.publish([("index.html", "new")], tmp_path)
    assert files(tmp_path).keys() == {"index.html", publishing.MANIFEST}


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(MTBenchError, match=r"data/a\.html cannot be written: File exists"):
        publishing.publish([("data/a.html", "")], tmp_path)


def test_names_become_file_names_of_their_own():
    names = [
        "mmoe",
        "MMoE",
        "mmoe ",
        "m/moe",
        "../../etc/passwd",
        "..",
        ".",
        "",
        "\0",
        "模型",
        "a" * 300,
        "CON",
        "mmoe.1f",
    ]
    slugs = [addresses.make_slug(name) for name in names]
    assert slugs[0] == "mmoe"
    assert len(set(slugs)) == len(names)
    assert len({slug.lower() for slug in slugs}) == len(names)
    for slug in slugs:
        assert publishing._OURS.fullmatch(f"models/{slug}.html")
        assert len(slug) <= 60
    assert addresses.make_slug(slugs[4]) != slugs[4]  # a name that is another's slug
