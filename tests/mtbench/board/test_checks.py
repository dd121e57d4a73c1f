from __future__ import annotations

import pytest

from mtbench import __version__
from mtbench.board import checks
from mtbench.board.checks import find_badge


@pytest.fixture
def check(make_record):
    """Return a function that makes a check of a record of a model."""

    def make(model="mmoe", level="checked", *, seeds=(), difference=3e-7):
        record = make_record(model)
        return checks.make(record, level, {"python": "3.12"}, list(seeds), difference=difference, tolerance=1e-5)

    return make


def test_what_is_written_is_read_by_the_record_that_it_is_of(check, tmp_path):
    written = [check(), check(level="re-run", seeds=[2]), check("ple")]
    paths = [checks.write(one, tmp_path) for one in written]
    assert {path.parent for path in paths} == {tmp_path / "checks"}
    by_record, problems = checks.read_all(tmp_path)
    assert problems == []
    assert {stem: len(some) for stem, some in by_record.items()} == {written[0].record: 2, written[2].record: 1}
    assert by_record[written[2].record] == [written[2]]
    assert written[0].mtbench == __version__


def test_a_changed_check_a_renamed_one_and_no_check_at_all_are_named_and_left_out(check, tmp_path):
    changed, renamed, good = (checks.write(check(model), tmp_path) for model in ("mmoe", "ple", "cgc"))
    changed.write_text(changed.read_text().replace("3e-07", "1e-09"))
    renamed.rename(renamed.with_name("another.json"))
    (good.parent / "broken.json").write_text("{")
    (good.parent / "text.json").write_bytes(b"\xff")
    (good.parent / "folder.json").mkdir()
    by_record, problems = checks.read_all(tmp_path)
    assert set(by_record) == {good.stem.partition(".")[0]}
    said = {problem.partition(": ")[0].rpartition("/")[2]: problem.partition(": ")[2] for problem in problems}
    assert said == {
        changed.name: "its name is not the hash of its content: it was changed or renamed",
        "another.json": "its name is not the hash of its content: it was changed or renamed",
        "broken.json": "not a check",
        "folder.json": "not a check",
        "text.json": "not a check",
    }


@pytest.mark.parametrize(
    ("levels", "said"),
    [([], "claimed"), (["checked"], "checked"), (["checked", "re-run", "checked"], "re-run"), (["re-run"], "re-run")],
)
def test_the_badge_is_the_most_that_anybody_did(check, levels, said):
    assert find_badge([check(level=level) for level in levels]) == said
