from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtbench.board import environments
from mtbench.errors import MTBenchError
from mtbench.registry import Registry

ROOT = Path(__file__).parents[3]


@pytest.fixture
def required(make_record):
    """Return a function that gives what is installed for a record with such an environment."""
    registry = Registry.load()

    def requirements(environment, model="single-task"):
        record = make_record(model, {"click": {"auc": [0.7] * 5}}, measured={"environment": environment})
        return environments.list_requirements(record, registry)

    return requirements


def test_the_versions_are_the_records_and_mtbench_is_the_one_here(required):
    found = required({"python": "3.11.2", "cpus": "8", "torch": "2.6.0+cpu", "numpy": "2.1.0", "lightgbm": "4.5.0"})
    assert found[:3] == ["torch==2.6.0+cpu", "numpy==2.1.0", "lightgbm==4.5.0"]
    assert found[3] == str(ROOT) or found[3].startswith("mtbench==")
    assert len(found) == 4


def test_what_a_plugin_needs_is_installed_even_if_the_record_names_no_version(required):
    assert "scikit-learn" in required({"torch": "2.6.0"}, model="logistic-regression")


def test_a_stranger_cannot_have_anything_else_installed(required):
    assert required({"torch": "2.6.0", "left-pad": "1.0", "--index-url=http://example.org/": "1"})[1:] == required({})
    for version in (
        "2.6.0 --index-url=http://example.org/",
        "2 @ http://example.org/torch.whl",
        "2\n-r /etc/passwd",
        "",
    ):
        with pytest.raises(MTBenchError, match="no version of a package"):
            required({"torch": version})


def test_an_environment_is_made_once_and_has_what_was_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("MTBENCH_CACHE", str(tmp_path))
    inside = environments.build(["packaging==24.0"], sys.executable)
    asked = [inside, "-c", "import packaging, sys; print(packaging.__version__, sys.prefix)"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=tmp_path, env={})
    version, prefix = done.stdout.split()
    assert version == "24.0"
    assert Path(prefix).is_relative_to(tmp_path)
    (inside.parent / "mark").touch()
    assert environments.build(["packaging==24.0"], sys.executable) == inside
    assert (inside.parent / "mark").exists()
    with pytest.raises(MTBenchError, match=r"cannot be made here: .*pip install(.|\n)*packaging==0.0.1"):
        environments.build(["packaging==0.0.1"], sys.executable)


def test_an_interpreter_of_the_records_version_is_taken_where_there_is_one(tmp_path, monkeypatch):
    here = ".".join(map(str, sys.version_info[:2]))
    assert environments.find_python(f"{here}.99") == sys.executable
    (tmp_path / "python3.99").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environments.find_python("3.99.1") == str(tmp_path / "python3.99")
    assert environments.find_python("3.98.1") == sys.executable
