"""Every record in leaderboard/ passes the checks of admission, and the site is what is built from them."""

from __future__ import annotations

import shutil
from pathlib import Path

from mtbench.board.admission import check_all
from mtbench.board.page import build
from mtbench.registry import Registry

ROOT = Path(__file__).parents[1]
BOARD = ROOT / "leaderboard"


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_record_is_admitted(monkeypatch):
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    count, problems = check_all(BOARD / "records", Registry.load(), ROOT / "configs" / "benchmarks")
    assert problems == []
    assert count > 0


def test_the_page_is_made_from_the_records(tmp_path):
    shutil.copytree(BOARD / "records", tmp_path / "records")
    build(tmp_path / "records", tmp_path / "site")
    assert files(tmp_path / "site") == files(BOARD / "site"), (
        "out of date; run: mtbench board build --records leaderboard/records --out leaderboard/site"
    )
