from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


class Site:
    """A folder of installed distributions: packages beside their dist-info, on the path of this and child processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, source: str, version: str = "1.0", **modules: str) -> Path:
        """Install ``package`` with the given modules as a plugin of the distribution ``PACKAGE-dist``."""
        root = self.folder / package
        root.mkdir()
        (root / "__init__.py").write_text("from mtbench.hookspecs import hookimpl\n" + source)
        for name, content in modules.items():
            (root / f"{name}.py").write_text(content)
        self.declare(package, f"{package}-dist", version)
        return root

    def declare(self, module: str, distribution: str, version: str = "1.0") -> None:
        """Write the metadata of a distribution whose plugin is ``module``."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mtbench]\nplugin = {module}\n")
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("MTBENCH_PLUGINS", "")
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
