"""Fragments in changelog.d/ are named rightly, and a release gathers them without losing anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("towncrier")

ROOT = Path(__file__).parents[1]
MARK = "<!-- releases -->\n"


@pytest.fixture
def project(tmp_path):
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "changelog.d", tmp_path / "changelog.d")
    return tmp_path


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "towncrier", "build", "--version", "98.7.6", "--date", "2025-04-01", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def words(text: str) -> str:
    return " ".join(text.split())


def fragments(folder: Path) -> list[Path]:
    return [path for path in sorted((folder / "changelog.d").iterdir()) if path.name != "README.md"]


def test_every_fragment_is_shown():
    done = build(ROOT, "--draft")
    assert done.returncode == 0, done.stderr
    for fragment in fragments(ROOT):
        assert words(fragment.read_text()) in words(done.stdout), fragment.name


@pytest.mark.parametrize("name", ["7.feature.md", "notes.md", "7.txt"])
def test_a_fragment_of_another_name_is_refused(project, name):
    (project / "changelog.d" / name).write_text("A change.\n")
    done = build(project, "--draft")
    assert done.returncode != 0
    assert f"Invalid news fragment name: {name}" in done.stderr


def test_a_release_puts_the_fragments_above_what_was_there(project):
    before, _, after = (project / "CHANGELOG.md").read_text().partition(MARK)
    (project / "changelog.d" / "12.fixed.md").write_text("Ties have\nhalf a rank.\n")
    (project / "changelog.d" / "+auc.values.md").write_text("`auc` counts ties.\n")
    done = build(project, "--yes")
    assert done.returncode == 0, done.stderr
    written = (project / "CHANGELOG.md").read_text()
    assert written.startswith(f"{before}{MARK}")
    assert written.endswith(after)
    section = written.removeprefix(f"{before}{MARK}").removesuffix(after)
    assert "\n## 98.7.6 (2025-04-01)\n" in section
    other_values = section.partition("\n### Other values\n")[2].partition("\n### ")[0]
    assert "\n- `auc` counts ties.\n" in other_values
    assert "### Fixed\n\n- Ties have\n  half a rank. (#12)\n" in section
    assert fragments(project) == []


def test_every_kind_is_explained():
    kinds = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["fragment"]
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "changelog.d" / "README.md").read_text(), re.MULTILINE)
    assert rows == list(kinds)
