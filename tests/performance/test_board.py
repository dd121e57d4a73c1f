from __future__ import annotations

from mtbench.board import resamples
from mtbench.board.groups import group_records
from mtbench.board.standings import compute_standings
from mtbench.record import store


def test_the_records_made_are_comparisons_whose_rows_are_ranked(load, tmp_path):
    load("board")["write_board"](tmp_path, 2, 3)
    written, problems = store.read_all(tmp_path)
    replicates, others = resamples.read_all(tmp_path)
    assert problems == others == []
    groups = group_records(written)
    assert [len(group.written) for group in groups] == [3, 3]
    for group in groups:
        found = compute_standings(group, replicates)
        assert all(placing.ranks for placing in found.overall.placings.values())
        assert len(found.overall.pairs) == 3


def test_every_step_is_timed(load, tmp_path):
    found = load("board")["measure"](tmp_path, 1, 2)
    assert min(found.values()) > 0
    assert "build it again" in found
