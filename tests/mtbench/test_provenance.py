from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtbench import provenance
from mtbench.errors import MTBenchError
from mtbench.registry import Registry

ROOT = Path(__file__).parents[2] / "mtbench"
MODEL = '''\
"""A launcher."""

from typing import TYPE_CHECKING

from mtbench import Launcher
{imports}

if TYPE_CHECKING:
    import acme.types_only


class Cloud(Launcher):
    """In the cloud."""

    def start(self, job):
        """Start."""
        return {value}
'''
REGISTER = '@hookimpl\ndef mtbench_launchers(register): register("cloud", "acme.cloud:Cloud")\n'


@pytest.fixture
def acme(site):
    """Return the folder of an installed plugin, whose class imports ``near``, which imports ``far``."""
    return site.install(
        "acme",
        REGISTER,
        version="2.3",
        cloud=MODEL.format(imports="from acme.near import LIMIT", value="LIMIT"),
        near='"""Near."""\nimport acme.far\nLIMIT = acme.far.LIMIT  # as far\n',
        far="LIMIT = 3\n",
        other="LIMIT = 4\n",
        types_only="Limit = int\n",
    )


def code() -> str:
    found = Registry.load().provenance("launcher", "cloud")
    assert found.distribution == "acme-dist"
    return found.sha256


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("cloud", '"""In the cloud."""', '"""Elsewhere."""'),
        ("cloud", '        """Start."""\n', ""),
        ("near", "  # as far", "  # a comment"),
        ("near", '"""Near."""\n', "\n\n"),
        ("near", "acme.far.LIMIT", "(acme.far.LIMIT)"),
        ("other", "4", "5"),  # not imported
        ("types_only", "int", "float"),  # imported for type checking alone
        ("__init__", "def mtbench_launchers(register): ", "def mtbench_launchers(register):\n    "),
    ],
)
def test_what_changes_no_code_of_a_class_changes_no_digest(acme, name, old, new):
    before = code()
    path = acme / f"{name}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert code() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("cloud", "return LIMIT", "return LIMIT + 1"),
        ("cloud", "In the cloud", 'a"""; x = 1; """b'),
        ("near", "acme.far.LIMIT", "acme.far.LIMIT * 2"),
        ("far", "3", "4"),
        ("far", "3", "3.0"),
        ("far", "3", '"3"'),
        ("cloud", "from acme.near import LIMIT", "from acme.other import LIMIT"),
        ("cloud", "from acme.near import LIMIT", "from .near import LIMIT\n    import acme.other"),
    ],
)
def test_code_that_a_class_needs_changes_its_digest(acme, name, old, new):
    before = code()
    path = acme / f"{name}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new.replace("\n    ", "\n"), 1))
    for module in [module for module in sys.modules if module.startswith("acme")]:
        del sys.modules[module]
    assert code() != before


def test_an_import_within_a_function_counts(acme):
    path = acme / "cloud.py"
    path.write_text(path.read_text().replace("        return", "        from . import other\n        return"))
    before = code()
    (acme / "other.py").write_text("LIMIT = 5\n")
    assert code() != before


def test_a_package_that_another_of_the_distribution_imports_counts_and_a_strangers_does_not(site):
    body = "import own_helpers, strange\nfrom mtbench import Launcher\nclass Cloud(Launcher): pass\n"
    site.install("acme", REGISTER, cloud=body)
    for name, distribution in (("own_helpers", "acme_dist"), ("strange", "strange")):
        (site.folder / f"{name}.py").write_text("LIMIT = 1\n")
        folder = site.folder / f"{distribution}-1.0.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").touch()
        (folder / "RECORD").write_text(f"{name}.py,,\n{folder.name}/METADATA,,\n")
    provenance._find_packages.cache_clear()
    before = code()
    (site.folder / "strange.py").write_text("LIMIT = 2\n")
    assert code() == before
    (site.folder / "own_helpers.py").write_text("LIMIT = 2\n")
    assert code() != before


FILE = """from mtbench import Launcher, hookimpl
class Cloud(Launcher): pass
@hookimpl
def mtbench_launchers(register): register("cloud", Cloud)
"""


@pytest.mark.usefixtures("site")
def test_provenance_of_a_file_is_the_file_wherever_it_lies(tmp_path):
    digests = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(FILE)
        digests.append(Registry.load([tmp_path / folder / "mine.py"]).provenance("launcher", "cloud"))
    assert digests[0] == digests[1]
    assert digests[0].distribution == "mine.py"


def test_provenance_stops_at_the_namespace_that_packages_share(site):
    for name in ("mine", "theirs"):
        (site.folder / "shared" / name).mkdir(parents=True)
    theirs = site.folder / "shared" / "theirs" / "__init__.py"
    theirs.write_text("LIMIT = 1\n")
    (site.folder / "shared" / "mine" / "__init__.py").write_text(f"import shared.theirs\n{FILE}")
    site.declare("shared.mine", "mine")
    before = Registry.load().provenance("launcher", "cloud")
    theirs.write_text("LIMIT = 2\n")
    assert Registry.load().provenance("launcher", "cloud") == before


def test_a_class_without_source_is_an_error():
    with pytest.raises(MTBenchError, match="module 'itertools' has no source file"):
        provenance.hash_plugin("itertools", "python")


def test_versions_are_those_of_what_is_installed(acme):
    assert acme.is_dir()
    assert provenance.find_versions(["acme-dist", "mine.py", "pluggy"]).keys() == {"acme-dist", "pluggy"}
    assert provenance.find_versions(["acme-dist"]) == {"acme-dist": "2.3"}


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the project's code, and a function that says the digests of some names in it."""
    for name in ("mtbench", "plugins"):
        shutil.copytree(ROOT.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "from mtbench.provenance import find_engine\nfrom mtbench.registry import Registry\n"
        "registry = Registry.load()\nprint('engine', find_engine().sha256)\n"
        "for name in ('ple', 'cgc', 'mmoe', 'mgoe'): print(name, registry.provenance('model', name).sha256)\n"
    )

    def digests() -> dict[str, str]:
        path = {"PYTHONPATH": f"{tmp_path}:{tmp_path / 'plugins'}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=path, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return dict(line.split() for line in done.stdout.splitlines())

    return tmp_path, digests


def test_each_digest_has_its_grain(checkout):
    folder, digests = checkout
    before = digests()
    ple, mlp = folder / "plugins/mtbench_models/ple.py", folder / "mtbench/nn/mlp.py"
    ple.write_text(f"# a comment\n{ple.read_text()}")
    mlp.write_text(mlp.read_text().replace("independent linear maps", "linear maps"))
    assert digests() == before
    ple.write_text(ple.read_text() + "\nEXTRA = 1\n")
    changed = digests()
    assert {name for name in before if before[name] != changed[name]} == {"ple", "cgc"}  # CGC is made of PLE's levels
    mlp.write_text(mlp.read_text() + "\nEXTRA = 1\n")
    again = digests()
    assert {name for name in before if changed[name] != again[name]} == {"engine"}


def test_the_engine_is_all_that_can_change_a_number():
    inside = {path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*.py")}
    left_out = {
        "__init__.py",
        "__main__.py",
        "benchmark.py",
        "board",
        "charts",
        "cli",
        "errors.py",
        "experiment.py",
        "files.py",
        "hookspecs.py",
        "loading.py",
        "overrides.py",
        "plan.py",
        "provenance.py",
        "record",
        "registry.py",
        "testing",
        "tuning",
        "validation.py",
    }
    assert set(provenance.ENGINE) - {"kinds"} <= inside
    assert inside - set(provenance.ENGINE) <= left_out
