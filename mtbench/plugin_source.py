"""What the source of a plugin says without being imported: a digest of its code, the docstring of a class."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def digest(module: str) -> str:
    """Return the sha256 over the Python files of the module's outermost regular package, or over its single file."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        outermost = sys.modules[".".join(parts[:end])]
        if outermost.__file__ is not None:  # a namespace package has none
            break
    else:
        raise MTBenchError(f"module '{module}' has no source file, so its provenance cannot be recorded")
    file = Path(outermost.__file__)
    files = {str(file.name): file}
    if hasattr(outermost, "__path__"):
        files = {path.relative_to(file.parent).as_posix(): path for path in file.parent.rglob("*.py")}
    total = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def docstring(module: str, qualname: str) -> str | None:
    """Read a class's docstring from the source, that of another module where this one imports the class from there."""
    try:
        spec = _spec(module)
        source = spec.loader.get_source(module)  # type: ignore[union-attr]
        node: ast.AST = ast.parse(source)
        first, *rest = qualname.split(".")
        imports = [each for each in ast.walk(node) if isinstance(each, ast.ImportFrom)]
        pairs = ((each, alias) for each in imports for alias in each.names if (alias.asname or alias.name) == first)
        for statement, alias in pairs:
            name = "." * statement.level + (statement.module or "")
            package = module if spec.submodule_search_locations else spec.parent
            return docstring(importlib.util.resolve_name(name, package), ".".join([alias.name, *rest]))
        for part in qualname.split("."):
            body = getattr(node, "body", ())
            node = next(each for each in body if isinstance(each, ast.ClassDef) and each.name == part)
        return ast.get_docstring(cast("ast.ClassDef", node))
    except Exception:  # noqa: BLE001 - a summary is a courtesy; resolve() reports what is wrong
        return None


def _spec(module: str) -> ModuleSpec:
    """Find a module without importing its parents, which importlib.util.find_spec would do."""
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    for end in range(2, len(parts) + 1):
        assert spec is not None
        spec = PathFinder.find_spec(".".join(parts[:end]), spec.submodule_search_locations)
    assert spec is not None
    return spec
