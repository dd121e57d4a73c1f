"""The one module that imports DGL; it makes its 2.1 wheels load beside today's torch and setuptools."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import packaging.version  # the submodule must be loaded before it stands in for setuptools' copy

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALL = "pip install 'dgl>=2.1,<2.2'"


@cache
def load_dgl() -> ModuleType:
    """Return the module ``dgl``, loaded on the first call.

    Raises MTBenchError if it is absent or does not load.

    Since 0.1, provisional.
    """
    before = set(sys.modules)
    try:
        with _provide_surroundings():
            import dgl as module  # noqa: PLC0415  # loading takes seconds: for graphs alone
    except Exception as error:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "dgl":
                del sys.modules[name]
        absent = isinstance(error, ModuleNotFoundError) and error.name == "dgl"
        problem = "is not installed" if absent else f"does not load ({type(error).__name__}: {error})"
        raise MTBenchError(
            f"DGL {problem}; graph inputs and graph models need it: {INSTALL}. All other models run without it"
        ) from error
    return module  # type: ignore[no-any-return]


@contextmanager
def _provide_surroundings() -> Iterator[None]:
    """Provide what DGL looks for while it loads, and take it away again.

    ``setuptools.extern`` is gone from setuptools; ``dgl.graphbolt`` needs a library for each version of torch, and
    DGL's other parts only name its classes. Without ``DGLBACKEND`` DGL writes into the home directory.
    """
    modules: dict[str, ModuleType] = {"setuptools.extern.packaging": packaging, "dgl.graphbolt": _NoGraphbolt()}
    before = {name: sys.modules.get(name) for name in modules}
    backend = os.environ.get("DGLBACKEND")
    sys.modules.update(modules)
    os.environ["DGLBACKEND"] = "pytorch"
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        if backend is None:
            del os.environ["DGLBACKEND"]
        else:
            os.environ["DGLBACKEND"] = backend


class _NoGraphbolt(ModuleType):
    """Stands for ``dgl.graphbolt``: every attribute is a class that nothing is an instance of."""

    def __init__(self) -> None:
        super().__init__("dgl.graphbolt")

    def __getattr__(self, name: str) -> type[Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
