"""How the code of plugins is imported, what went wrong with it in one line, and a trace of what hooks were asked."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pluggy import HookImpl, Result

# Frames of these files lead to a plugin's mistake and are never its place.
_MACHINERY = (
    "<frozen", __file__, str(Path(__file__).with_name("registry.py")), *pluggy.__path__, *importlib.__path__,
)  # fmt: skip


_CORE = Path(__file__).parent
_FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)\n    (.+)$', re.MULTILINE)
LONGEST_MESSAGE = 300
LINES = 3


def import_target(target: str) -> Any:
    """Return what an import string ``package.module:Class`` names."""
    module, _, attributes = target.partition(":")
    value: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        value = getattr(value, attribute)
    return value


def import_file(path: Path) -> Any:
    """Return the module of a single file, the same one at every call in a process."""
    stem = re.sub(r"\W", "_", path.stem)
    name = f"mtbench_plugin_{stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def explain_failure(error: BaseException) -> str:
    """Return type, message and place of an error on one line."""
    message = f"{error}" if isinstance(error, MTBenchError) else f"{type(error).__name__}: {error}"
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        message = f"{type(error).__name__}: {error.msg}"
        places.append((error.filename, error.lineno))
    places = [place for place in places if not place[0].startswith(_MACHINERY)]
    return " ".join(message.split()) + (f" ({places[-1][0]}:{places[-1][1]})" if places else "")


def describe_crash(error: BaseException) -> str:
    """Return type and message of an error on one line, and below it the last lines of plugins on the way to it."""
    if isinstance(error, MTBenchError):
        return str(error)
    frames = [
        (frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)
    ]
    return _describe(": ".join(filter(None, (type(error).__name__, str(error)))), frames)


def describe_traceback(text: str) -> str:
    """Return the same of a traceback that another process has printed."""
    return _describe(text.strip().splitlines()[-1], _FRAME.findall(text))


def _describe(message: str, frames: Sequence[tuple[str, Any, str, str | None]]) -> str:
    lines = [
        f"  {file}:{number}, in {name}: {line}" for file, number, name, line in frames if _is_of_plugin(Path(file))
    ]
    return "\n".join([" ".join(message.split())[:LONGEST_MESSAGE], *lines[-LINES:]])


def _is_of_plugin(file: Path) -> bool:
    """Return whether a file is neither of the core, nor of Python, nor of an installed package without plugins."""
    if _CORE in file.parents or file.name.startswith("<"):
        return False
    for name in ("purelib", "platlib"):
        folder = Path(sysconfig.get_path(name))
        if folder in file.parents:
            package = file.relative_to(folder).parts[0].removesuffix(".py")
            return package in {point.module.partition(".")[0] for point in metadata.entry_points(group="mtbench")}
    return Path(sysconfig.get_path("stdlib")) not in file.parents


def trace_call(hook: str, implementations: Sequence[HookImpl], arguments: Mapping[str, object]) -> None:
    """Write what a hook is asked, a line per plugin."""
    for implementation in implementations:
        sys.stderr.write(f"plugins: {implementation.plugin_name}: {hook}({', '.join(arguments)})\n")


def trace_result(
    outcome: Result[Any],
    hook: str,
    implementations: Sequence[HookImpl],
    arguments: Mapping[str, object],  # noqa: ARG001 - pluggy passes it
) -> None:
    """Write what a hook answered, a line per plugin."""
    for implementation in implementations:
        ending = f"raised {outcome.exception!r}" if outcome.exception else f"returned {outcome.get_result()!r}"
        sys.stderr.write(f"plugins: {implementation.plugin_name}: {hook} {ending}\n")
