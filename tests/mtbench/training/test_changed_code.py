"""What ``--resume`` does once code has changed, in a copy of the project's code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RUN = (
    "import mtbench\n"
    "data = {'name': 'planted', 'rows': 1500, 'users': 60, 'items': 30}\n"
    "training = {'max_epochs': 1, 'batch_size': 512, 'accelerator': 'cpu'}\n"
    "experiment = {'dataset': data, 'models': ['ple', 'mmoe'], 'seeds': 1, 'training': training}\n"
    "mtbench.run(experiment, records='records', progress=True)\n"
)


@pytest.fixture
def resume(tmp_path):
    """Return a function that changes a file of the copy, runs again with ``--resume``, and returns what was said."""
    for name in ("mtbench", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}:{tmp_path / 'plugins'}",
        "MTBENCH_CACHE": str(tmp_path / "cache"),
        "MTBENCH_PLUGINS": "",
    }

    def resume(file: str = "", old: str = "", new: str = "") -> list[str]:
        if file:
            path = tmp_path / file
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new, 1))
        done = subprocess.run(
            [sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        records = len(list((tmp_path / "records").glob("*.json")))
        kept = [line.partition(":")[0] for line in done.stderr.splitlines() if "its record is there" in line]
        other = [line.partition("by other code of ")[2] for line in done.stderr.splitlines() if "other code" in line]
        return records, kept, other

    return resume


def test_resuming_keeps_what_no_change_of_code_concerns_and_names_what_changed(resume):
    assert resume() == (2, [], [])
    ple, mlp = "plugins/mtbench_models/ple.py", "mtbench/nn/mlp.py"
    assert resume(ple, "class PLE(", "# a comment\nclass PLE(") == (2, ["ple", "mmoe"], [])
    assert resume(ple, "class PLE(", "EXTRA = 1\n\n\nclass PLE(") == (3, ["mmoe"], ["model ple"])
    assert resume(mlp, "class StackedLinear(", "EXTRA = 1\n\n\nclass StackedLinear(") == (5, [], ["the engine"] * 2)
    assert resume(mlp, "EXTRA = 1\n\n\n", "") == (5, ["ple", "mmoe"], [])  # as it was, and so are its records
