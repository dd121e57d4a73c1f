from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

TRY = """
from mtbench.errors import MTBenchError
from mtbench.graph.backend import load_dgl
try:
    load_dgl()
except MTBenchError as error:
    print(error)
"""


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_what_makes_a_dgl_graph_loads_dgl():
    code = """
import sys
import numpy as np, torch
import mtbench.testing.models, mtbench.training.run, mtbench_inputs.full_graph
from mtbench.graph import InteractionGraph, propagate
from mtbench.registry import Registry
registry = Registry.load([])
registry.resolve("model", "mmoe")
graph = InteractionGraph(np.array([0]), np.array([0]), np.array([0.0]), np.array([[True]]), 1, 1, ("click",))
propagate(graph.csr(), torch.ones(1, 1), torch.ones(1, 1), "mean")
print([name for name in sys.modules if name.partition(".")[0] == "dgl"])
"""
    assert python(code).strip() == "[]"


def test_dgl_loads_and_leaves_no_stand_in_no_setting_and_no_file(tmp_path, monkeypatch):
    code = """
import json, os, sys
from mtbench.graph.backend import load_dgl
module = load_dgl()
print(json.dumps({
    "same": module is load_dgl() is sys.modules["dgl"],
    "backend": module.backend.backend_name,
    "setting": "DGLBACKEND" in os.environ,
    "left": [name for name in ("dgl.graphbolt", "setuptools.extern.packaging") if name in sys.modules],
}))
import setuptools
"""
    monkeypatch.delenv("DGLBACKEND", raising=False)
    said = python(code, HOME=str(tmp_path))
    assert json.loads(said) == {"same": True, "backend": "pytorch", "setting": False, "left": []}
    assert list(tmp_path.iterdir()) == []


def test_another_backend_in_the_environment_is_not_followed():
    code = "import os\n" + TRY + "print(load_dgl().backend.backend_name, os.environ['DGLBACKEND'])"
    assert python(code, DGLBACKEND="tensorflow").split() == ["pytorch", "tensorflow"]


def test_an_absent_dgl_is_an_error_that_says_how_to_install_it():
    said = python("import sys\nsys.modules['dgl'] = None\n" + TRY)
    assert "DGL is not installed" in said
    assert "pip install 'dgl>=2.1,<2.2'" in said


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise OSError('libgomp.so.1: cannot open shared object file')", "OSError: libgomp.so.1: cannot open"),
        ("import dgl.part\nraise ImportError('no such symbol')", "ImportError: no such symbol"),
        ("import absent_dependency", "No module named 'absent_dependency'"),
    ],
)
def test_a_broken_dgl_is_an_error_and_can_be_tried_again(tmp_path, source, found):
    package = tmp_path / "dgl"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    (package / "part.py").write_text("")
    said = python(TRY + TRY + "import sys\nprint([n for n in sys.modules if n[:3] == 'dgl'])", PYTHONPATH=str(tmp_path))
    first, second, left = said.strip().splitlines()
    assert first == second
    assert "DGL does not load" in first
    assert found in first
    assert left == "[]"
