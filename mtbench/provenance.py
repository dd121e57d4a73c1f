"""What code stands behind a name: digests of modules as they run, and docstrings that are read without importing."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from importlib.machinery import ModuleSpec

CORE = "mtbench"
ENGINE = ("data", "evaluation", "graph", "inputs", "kinds", "model.py", "nn", "schema.py", "training")
"""What of the core can change a number: packages, and modules by their files."""


class Provenance(BaseModel):
    """Whose code it is; ``sha256`` covers the modules that can change what it does, without comments and docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: str
    sha256: str


def hash_plugin(module: str, distribution: str) -> str:
    """Return the sha256 over a module and those of its distribution that it imports, transitively.

    Modules of the core are left out: the engine's digest covers them. Imports for type checking alone do not count.
    Raises MTBenchError for a module without source.
    """
    packages = _find_packages(distribution) | {_find_outermost(module)}
    return _hash_modules(_follow_imports(module, packages - {CORE}))


@cache
def find_engine() -> Provenance:
    """Return the provenance of the core's code that can change a number, as it was on disk when first asked."""
    root = Path(__file__).parent
    paths = [
        path for name in ENGINE for path in ([root / name] if name.endswith(".py") else (root / name).rglob("*.py"))
    ]
    modules = {path.relative_to(root).as_posix(): path for path in paths}
    return Provenance(distribution=CORE, sha256=_hash_modules(modules.items()))


def find_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of distributions, as far as they are installed: a single file has none."""
    versions = {}
    for name in sorted(set(distributions)):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _hash_modules(modules: Iterable[tuple[str, Path]]) -> str:
    total = hashlib.sha256()
    for name, path in sorted(modules):
        total.update(f"{name}\0{_hash_code(path.read_bytes())}\0".encode())
    return total.hexdigest()


@cache
def _hash_code(source: bytes) -> str:
    """Return the sha256 of what a source says, the same for every version of Python that can read it."""
    total = hashlib.sha256()
    for part in _list_parts(ast.parse(source)):
        total.update(f"{part}\n".encode(errors="surrogatepass"))
    return total.hexdigest()


def _list_parts(node: ast.AST) -> Iterator[str]:
    """Yield the node and all below it; empty fields, of which versions of Python have more or fewer, are left out."""
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        if documented and name == "body" and _is_docstring(children[0] if children else None):
            children = children[1:]
        for child in children:
            if isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant) and not child.value:
                continue  # Python 3.12 has empty parts where 3.11 has none
            if isinstance(child, ast.AST):
                yield name
                yield from _list_parts(child)
            elif child is not None:
                yield f"{name} {child!r}"
    yield "."


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _follow_imports(module: str, packages: Collection[str]) -> list[tuple[str, Path]]:
    """Return the module and what it imports from ``packages``, transitively: each with the path of its source."""
    paths: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in paths:
            continue
        path = _find_source(name)
        if path is None:
            if name == module:
                raise MTBenchError(f"module '{module}' has no source file, so its provenance cannot be recorded")
            continue
        paths[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imported = _list_imports(ast.parse(path.read_bytes()), package)
        waiting += [one for one in imported if any(f"{one}.".startswith(f"{own}.") for own in packages)]
    # a single file is known by its name, not by the module that was made for it
    return [(name if "." in name else path.name, path) for name, path in paths.items()]


def _list_imports(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules that code imports where it runs, anywhere in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from _list_imports(other, package)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            name = "." * child.level + (child.module or "")
            base = importlib.util.resolve_name(name, package)
            for alias in child.names:
                whole = f"{base}.{alias.name}"
                yield whole if _find_source(whole) else base
        else:
            yield from _list_imports(child, package)


def _find_source(module: str) -> Path | None:
    """Return the path of a module's source, None where there is no such module or it has none."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    try:
        origin = loaded or _find_spec(module).origin
    except (ImportError, ValueError, AttributeError, AssertionError):
        return None
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None


@cache
def _find_packages(distribution: str) -> frozenset[str]:
    """Return the outermost packages and modules of an installed distribution, by its plugins and its files."""
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return frozenset()
    names = {point.module for point in installed.entry_points if point.group == CORE}
    names |= {".".join(path.with_suffix("").parts) for path in installed.files or () if path.suffix == ".py"}
    return frozenset(map(_find_outermost, names))


def _find_outermost(module: str) -> str:
    """Return the outermost part of a module's name that has code: namespaces are shared with other distributions."""
    parts = module.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return next((name for name in names if _find_source(name)), module)


def read_docstring(module: str, qualname: str) -> str | None:
    """Read a class's docstring from the source, that of another module where this one imports the class from there."""
    try:
        spec = _find_spec(module)
        source = spec.loader.get_source(module)  # type: ignore[union-attr]
        node: ast.AST = ast.parse(source)
        first, *rest = qualname.split(".")
        imports = [statement for statement in ast.walk(node) if isinstance(statement, ast.ImportFrom)]
        pairs = ((one, alias) for one in imports for alias in one.names if (alias.asname or alias.name) == first)
        for statement, alias in pairs:
            name = "." * statement.level + (statement.module or "")
            package = module if spec.submodule_search_locations else spec.parent
            return read_docstring(importlib.util.resolve_name(name, package), ".".join([alias.name, *rest]))
        for part in qualname.split("."):
            body: Any = getattr(node, "body", ())
            node = next(one for one in body if isinstance(one, ast.ClassDef) and one.name == part)
        return ast.get_docstring(cast("ast.ClassDef", node))
    except Exception:  # noqa: BLE001 - a summary is a courtesy; resolve() reports what is wrong
        return None


def _find_spec(module: str) -> ModuleSpec:
    """Find a module without importing its parents, which importlib.util.find_spec would do."""
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    for end in range(2, len(parts) + 1):
        assert spec is not None
        spec = PathFinder.find_spec(".".join(parts[:end]), spec.submodule_search_locations)
    assert spec is not None
    return spec
