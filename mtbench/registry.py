"""Finds plugins, isolates broken ones and resolves the names they register."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, overload

import pluggy
from pydantic import BaseModel, ConfigDict

from mtbench import hookspecs, plugin_source
from mtbench.errors import MTBenchError, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pluggy import HookImpl, Result
    from pytorch_lightning import Callback
    from torchmetrics import Metric

    from mtbench.data.dataset import Dataset
    from mtbench.experiment import Experiment
    from mtbench.inputs import Input
    from mtbench.model import MultiTaskModel, Reference
    from mtbench.record import Record
    from mtbench.training.balancing import Balancer
    from mtbench.tuning.launcher import Launcher

Kind = Literal["model", "dataset", "metric", "balancer", "input", "launcher"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_BASES: Mapping[Kind, tuple[str, ...]] = {
    "model": ("mtbench.model:MultiTaskModel", "mtbench.model:Reference"),
    "dataset": ("mtbench.data.dataset:Dataset",),
    "metric": ("torchmetrics:Metric",),
    "balancer": ("mtbench.training.balancing:Balancer",),
    "input": ("mtbench.inputs:Input",),
    "launcher": ("mtbench.tuning.launcher:Launcher",),
}
_SLUG = re.compile(r"[a-z0-9][a-z0-9_@-]*")
_IMPORT_STRING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_CUTOFF = re.compile(r"[1-9][0-9]{0,8}")
# Frames of these files lead to a plugin's mistake and are never its place.
_MACHINERY = ("<frozen", __file__, *pluggy.__path__, *importlib.__path__)


class PluginWarning(UserWarning):
    """A plugin failed and was passed over."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found; ``name`` is its module, or its path for a single file, which has no version.

    ``hooks`` are the functions it implements; ``error`` says in one line why it is broken, else it is empty.
    """

    name: str
    distribution: str
    version: str | None
    hooks: tuple[str, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        return f"'{self.name}'" + (f" ({self.distribution} {self.version})" if self.version else "")


@dataclass(frozen=True)
class Entry:
    """One registered name; ``target`` is its import string and ``cls`` its class where that was handed over."""

    kind: Kind
    name: str
    target: str
    plugin: Plugin
    cls: type | None = None


class Provenance(BaseModel):
    """Whose code stands behind a name; ``sha256`` covers the Python files of the package, or the single file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: str
    version: str | None
    sha256: str


class Registry:
    """The installed plugins and the names they register.

    ``problems`` are mistakes that leave a name's meaning open: a name claimed twice, a hook that does not exist, a
    plugin file that does not exist. ``files`` are the single files that were loaded.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.files: list[Path] = []
        self.problems: list[str] = []
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._manager = pluggy.PluginManager("mtbench")
        self._manager.add_hookspecs(hookspecs)
        if os.environ.get("MTBENCH_TRACE_PLUGINS", "0") not in {"", "0"}:
            self._manager.add_hookcall_monitoring(_trace_call, _trace_result)

    @classmethod
    def load(cls, files: Sequence[Path] = (), *, check: bool = True) -> Registry:
        """Load the installed plugins, then the single files given here and in ``MTBENCH_PLUGINS``.

        Warns about broken plugins and raises MTBenchError for the registry's problems unless ``check`` is off.
        """
        registry = cls()
        points = {(_owner(point), point.value): point for point in metadata.entry_points(group="mtbench")}
        for ((distribution, version), module), point in sorted(points.items()):
            registry._add(Plugin(module, distribution, version), point.load)
        listed = [Path(name) for name in os.environ.get("MTBENCH_PLUGINS", "").split(os.pathsep) if name]
        for path in dict.fromkeys(file.resolve() for file in (*files, *listed)):
            if path.suffix == ".py" and path.is_file():
                registry.files.append(path)
                registry._add(Plugin(str(path), path.name, None), partial(_import_file, path))
            else:
                found = "is no Python file" if path.exists() else "does not exist"
                registry.problems.append(f"plugin file {path} {found}; check --plugin and MTBENCH_PLUGINS")
        if check:
            registry.check()
        return registry

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that failed and were skipped."""
        return [plugin for plugin in self.plugins if plugin.error]

    def check(self) -> None:
        """Warn about broken plugins, each once in a process; raise MTBenchError if there are problems."""
        for plugin in self.broken:
            warnings.warn(f"plugin {plugin} is broken and was skipped: {plugin.error}", PluginWarning, stacklevel=1)
        if self.problems:
            raise MTBenchError("\n".join(self.problems))

    def entries(self, kind: Kind) -> list[Entry]:
        """Return what is registered as ``kind``, by name."""
        return sorted(self._of(kind).values(), key=lambda entry: entry.name)

    def names(self, kind: Kind) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._of(kind))

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return the entry of a name; the metric ``ndcg@10`` is the entry ``ndcg@k``.

        Raises MTBenchError for an unknown name or a cutoff that is no positive integer.
        """
        known = self._of(kind)
        if name in known:
            return known[name]
        stem, _, cutoff = name.rpartition("@")
        if kind == "metric" and f"{stem}@k" in known:
            if not _CUTOFF.fullmatch(cutoff):
                raise MTBenchError(f"metric '{name}': the cutoff must be a positive integer, as in '{stem}@10'")
            return known[f"{stem}@k"]
        raise MTBenchError(
            f"there is no {kind} '{name}'{suggestion(name, known)}; known {kind}s: {', '.join(sorted(known)) or 'none'}"
            + "".join(f"; broken plugin {plugin} was skipped: {plugin.error}" for plugin in self.broken)
        )

    @overload
    def resolve(self, kind: Literal["model"], name: str) -> type[MultiTaskModel | Reference]: ...
    @overload
    def resolve(self, kind: Literal["dataset"], name: str) -> type[Dataset[Any]]: ...
    @overload
    def resolve(self, kind: Literal["metric"], name: str) -> type[Metric]: ...
    @overload
    def resolve(self, kind: Literal["balancer"], name: str) -> type[Balancer]: ...
    @overload
    def resolve(self, kind: Literal["input"], name: str) -> type[Input[Any]]: ...
    @overload
    def resolve(self, kind: Literal["launcher"], name: str) -> type[Launcher]: ...
    @overload
    def resolve(self, kind: Kind, name: str) -> type[Any]: ...
    def resolve(self, kind: Kind, name: str) -> type[Any]:
        """Import and return the class behind a name.

        Raises MTBenchError if the name is unknown or its target cannot be imported or is no class of that kind.
        """
        entry = self.entry(kind, name)
        whose = f"{kind} '{entry.name}' of plugin {entry.plugin}"
        try:
            with redirect_stdout(sys.stderr):
                cls = entry.cls or _import(entry.target)
        except (Exception, SystemExit) as error:
            raise MTBenchError(f"{whose} could not be imported from '{entry.target}': {_reason(error)}") from error
        if not (isinstance(cls, type) and issubclass(cls, tuple(map(_import, _BASES[kind])))):
            bases = " or ".join(_BASES[kind]).replace(":", ".")
            raise MTBenchError(f"{whose}: '{entry.target}' is no subclass of {bases}")
        return cls

    def metric(self, name: str) -> Metric:
        """Return a new metric; ``ndcg@10`` passes ``k=10``. Raises MTBenchError as :meth:`resolve` does."""
        entry = self.entry("metric", name)
        cls = self.resolve("metric", name)
        if not entry.name.endswith("@k"):
            return cls()
        if name == entry.name:
            raise MTBenchError(f"metric '{name}': 'k' stands for the cutoff; write a number, as in '{name[:-1]}10'")
        return cls(k=int(name.rpartition("@")[2]))

    def provenance(self, kind: Kind, name: str) -> Provenance:
        """Return whose code stands behind a name, hashed as it is on disk now."""
        plugin = self.entry(kind, name).plugin
        module = self.resolve(kind, name).__module__
        return Provenance(distribution=plugin.distribution, version=plugin.version, sha256=plugin_source.digest(module))

    def summary(self, kind: Kind, name: str) -> str:
        """Return the first line of the class's docstring without importing it; empty if there is none to be found."""
        entry = self.entry(kind, name)
        doc = entry.cls.__doc__ if entry.cls else plugin_source.docstring(*entry.target.split(":"))
        return next(iter((doc or "").strip().splitlines()), "")

    def callbacks(self, experiment: Experiment) -> list[Callback]:
        """Return the Lightning callbacks of all plugins; a plugin that fails is reported and gives none."""
        from pytorch_lightning import Callback  # noqa: PLC0415 - listing plugins must not import torch

        found: list[Callback] = []
        for plugin in self._observers("mtbench_callbacks"):
            with _reported(plugin, "mtbench_callbacks"):
                own = [
                    each for result in self._call(plugin, "mtbench_callbacks", experiment=experiment) for each in result
                ]
                if strange := [each for each in own if not isinstance(each, Callback)]:
                    raise TypeError(f"{strange[0]!r} is no Lightning callback")
                found += own
        return found

    def record_written(self, record: Record, path: Path) -> None:
        """Tell all plugins of a new record; a plugin that fails is reported."""
        for plugin in self._observers("mtbench_record_written"):
            with _reported(plugin, "mtbench_record_written"):
                self._call(plugin, "mtbench_record_written", record=record, path=path)

    def _of(self, kind: Kind) -> dict[str, Entry]:
        if kind not in self._entries:
            raise MTBenchError(f"there is no kind '{kind}'{suggestion(kind, KINDS)}; known kinds: {', '.join(KINDS)}")
        return self._entries[kind]

    def _observers(self, hook: str) -> list[Plugin]:
        return [plugin for plugin in self.plugins if hook in plugin.hooks and not plugin.error]

    def _call(self, plugin: Plugin, hook: str, **arguments: object) -> list[Any]:
        module = self._manager.get_plugin(str(plugin))
        others = [other for other in self._manager.get_plugins() if other is not module]
        return cast("list[Any]", self._manager.subset_hook_caller(hook, others)(**arguments))

    def _add(self, plugin: Plugin, load: Callable[[], Any]) -> None:
        """Load one plugin and commit what it registers if all of its registering hooks succeed."""
        collected: list[Entry] = []
        try:
            with redirect_stdout(sys.stderr):
                module = load()
                if self._manager.is_registered(module):
                    raise MTBenchError("another distribution has the same plugin module; uninstall one of them")  # noqa: TRY301
                self._manager.register(module, str(plugin))
                plugin = replace(plugin, hooks=self._hooks(module, plugin))
                for kind in KINDS:
                    self._call(plugin, f"mtbench_{kind}s", register=partial(_register, collected, kind, plugin))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin never takes the tool down
            self.plugins.append(replace(plugin, error=_reason(error)))
            return
        self.plugins.append(plugin)
        for entry in collected:
            first = self._entries[entry.kind].setdefault(entry.name, entry)
            if first is not entry:
                self.problems.append(
                    f"two {entry.kind}s are named '{entry.name}': '{first.target}' of plugin {first.plugin} and "
                    f"'{entry.target}' of plugin {plugin}; rename one of them or remove one plugin"
                )

    def _hooks(self, module: object, plugin: Plugin) -> tuple[str, ...]:
        known = [name for name in vars(hookspecs) if name.startswith("mtbench_")]
        found = []
        for caller in self._manager.get_hookcallers(module) or ():
            found.append(caller.name)
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module and not caller.has_spec() and not implementation.optionalhook:
                    self.problems.append(
                        f"plugin {plugin}: there is no hook '{caller.name}'{suggestion(caller.name, known)}; "
                        f"rename the function '{implementation.function.__name__}'"
                    )
        return tuple(found)


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    assert point.dist is not None
    return str(point.dist.name), str(point.dist.version)  # both are missing where the metadata is damaged


def _register(collected: list[Entry], kind: Kind, plugin: Plugin, name: str, target: str | type) -> None:
    if not (isinstance(name, str) and _SLUG.fullmatch(name)):
        raise MTBenchError(f"{name!r} cannot name a {kind}; use lowercase letters, digits, '-', '_' and '@'")
    if isinstance(target, type):
        collected.append(Entry(kind, name, f"{target.__module__}:{target.__qualname__}", plugin, target))
    elif isinstance(target, str) and _IMPORT_STRING.fullmatch(target):
        collected.append(Entry(kind, name, target, plugin))
    else:
        raise MTBenchError(f"{kind} '{name}': target {target!r} is neither a class nor 'package.module:Class'")


def _import(target: str) -> Any:
    module, _, attributes = target.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


def _import_file(path: Path) -> Any:
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


def _reason(error: BaseException) -> str:
    """Return type, message and place of an error on one line."""
    message = f"{error}" if isinstance(error, MTBenchError) else f"{type(error).__name__}: {error}"
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        message = f"{type(error).__name__}: {error.msg}"
        places.append((error.filename, error.lineno))
    places = [place for place in places if not place[0].startswith(_MACHINERY)]
    return " ".join(message.split()) + (f" ({places[-1][0]}:{places[-1][1]})" if places else "")


@contextmanager
def _reported(plugin: Plugin, hook: str) -> Iterator[None]:
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer never stops a run
        warnings.warn(f"plugin {plugin} failed in {hook}: {_reason(error)}", PluginWarning, stacklevel=1)


def _trace_call(hook: str, implementations: Sequence[HookImpl], arguments: Mapping[str, object]) -> None:
    for implementation in implementations:
        sys.stderr.write(f"plugins: {implementation.plugin_name}: {hook}({', '.join(arguments)})\n")


def _trace_result(
    outcome: Result[Any],
    hook: str,
    implementations: Sequence[HookImpl],
    arguments: Mapping[str, object],  # noqa: ARG001 - pluggy passes it
) -> None:
    for implementation in implementations:
        ending = f"raised {outcome.exception!r}" if outcome.exception else f"returned {outcome.get_result()!r}"
        sys.stderr.write(f"plugins: {implementation.plugin_name}: {hook} {ending}\n")
