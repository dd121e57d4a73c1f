"""Finds plugins, isolates broken ones and resolves the names they register."""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, overload

import pluggy

from mtbench import hookspecs, provenance
from mtbench.errors import MTBenchError, suggest
from mtbench.loading import explain_failure, import_file, import_target, trace_call, trace_result
from mtbench.schema import Component

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytorch_lightning import Callback
    from torchmetrics import Metric

    from mtbench import (
        Balancer,
        Dataset,
        Experiment,
        Input,
        Launcher,
        MultiTaskModel,
        Record,
        Reference,
    )
    from mtbench.provenance import Provenance

PluginKind = Literal["model", "dataset", "metric", "balancer", "input", "launcher"]
PLUGIN_KINDS: tuple[PluginKind, ...] = get_args(PluginKind)

_BASES: Mapping[PluginKind, str] = {
    "model": "mtbench.MultiTaskModel or mtbench.Reference",
    "dataset": "mtbench.Dataset",
    "metric": "torchmetrics.Metric",
    "balancer": "mtbench.Balancer",
    "input": "mtbench.Input",
    "launcher": "mtbench.Launcher",
}
_SLUG = re.compile(r"[a-z0-9][a-z0-9_@-]*")
_IMPORT_STRING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_CUTOFF = re.compile(r"[1-9][0-9]{0,8}")


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
class Registration:
    """One registered name; ``target`` is its import string and ``cls`` its class where that was handed over.

    ``default`` is the name that an experiment takes which names none of this kind, else it is empty.
    """

    kind: PluginKind
    name: str
    target: str
    plugin: Plugin
    cls: type | None = None
    default: str = ""


class Registry:
    """The installed plugins and the names they register.

    ``problems`` are mistakes that leave a name's meaning open: a name claimed twice, a hook that does not exist, a
    plugin file that does not exist. ``files`` are the single files that were loaded.

    Since 0.1, provisional.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.files: list[Path] = []
        self.problems: list[str] = []
        self._registrations: dict[PluginKind, dict[str, Registration]] = {kind: {} for kind in PLUGIN_KINDS}
        self._provenances: dict[tuple[PluginKind, str], Provenance] = {}
        self._manager = pluggy.PluginManager("mtbench")
        self._manager.add_hookspecs(hookspecs)
        if os.environ.get("MTBENCH_TRACE_PLUGINS", "0") not in {"", "0"}:
            self._manager.add_hookcall_monitoring(trace_call, trace_result)

    @classmethod
    def load(cls, files: Sequence[Path] = (), *, check: bool = True) -> Registry:
        """Load the installed plugins, then the single files given here and in ``MTBENCH_PLUGINS``.

        Warns about broken plugins that are installed, and raises MTBenchError for files that do not load and for the
        registry's other problems, unless ``check`` is off.
        """
        registry = cls()
        points = {(_read_owner(point), point.value): point for point in metadata.entry_points(group="mtbench")}
        for ((distribution, version), module), point in sorted(points.items()):
            registry._add(Plugin(module, distribution, version), point.load)
        listed = [Path(name) for name in os.environ.get("MTBENCH_PLUGINS", "").split(os.pathsep) if name]
        for path in dict.fromkeys(file.resolve() for file in (*files, *listed)):
            if path.suffix == ".py" and path.is_file():
                registry.files.append(path)
                registry._add(Plugin(str(path), path.name, None), partial(import_file, path))
                problem = f"does not load: {registry.plugins[-1].error}" if registry.plugins[-1].error else ""
            else:
                problem = "is no Python file" if path.exists() else "does not exist"
            if problem:
                registry.problems.append(f"plugin file {path} {problem}; check --plugin and MTBENCH_PLUGINS")
        if check:
            registry.check()
        return registry

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that failed and were skipped."""
        return [plugin for plugin in self.plugins if plugin.error]

    def check(self) -> None:
        """Warn about broken installed plugins, each once in a process; raise MTBenchError if there are problems."""
        if self.problems:
            raise MTBenchError("\n".join(self.problems))
        for plugin in self.broken:
            warnings.warn(f"plugin {plugin} is broken and was skipped: {plugin.error}", PluginWarning, stacklevel=1)

    def registrations(self, kind: PluginKind) -> list[Registration]:
        """Return what is registered as ``kind``, by name."""
        return sorted(self._get_all(kind).values(), key=lambda registration: registration.name)

    def registered(self, kind: PluginKind) -> list[str]:
        """Return the registered names in the order of their registration."""
        return list(self._get_all(kind))

    def names(self, kind: PluginKind) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._get_all(kind))

    def defaults(self, kind: PluginKind) -> list[str]:
        """Return the names that an experiment takes which names none of this kind, in the order of registration."""
        return [registration.default for registration in self._get_all(kind).values() if registration.default]

    def default(self, kind: PluginKind) -> Component:
        """Return the one default of a kind. Raises MTBenchError if there is none, or more than one."""
        names = self.defaults(kind)
        if len(names) != 1:
            reason = (
                f"{len(names)} are registered as the default: {', '.join(names)}" if names else "no plugin marks one"
            )
            raise MTBenchError(f"name a {kind}, for {reason}; known {kind}s: {', '.join(self.names(kind)) or 'none'}")
        return Component(name=names[0])

    def registration(self, kind: PluginKind, name: str) -> Registration:
        """Return the registration of a name; the metric ``ndcg@10`` is registered as ``ndcg@k``.

        Raises MTBenchError for an unknown name or a cutoff that is no positive integer.
        """
        known = self._get_all(kind)
        if name in known:
            return known[name]
        stem, _, cutoff = name.rpartition("@")
        if kind == "metric" and f"{stem}@k" in known:
            if not _CUTOFF.fullmatch(cutoff):
                raise MTBenchError(f"metric '{name}': the cutoff must be a positive integer, as in '{stem}@10'")
            return known[f"{stem}@k"]
        raise MTBenchError(
            f"there is no {kind} '{name}'{suggest(name, known)}; known {kind}s: {', '.join(sorted(known)) or 'none'}"
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
    def resolve(self, kind: PluginKind, name: str) -> type[Any]: ...
    def resolve(self, kind: PluginKind, name: str) -> type[Any]:
        """Import and return the class behind a name.

        Raises MTBenchError if the name is unknown or its target cannot be imported or is no class of that kind.
        """
        registration = self.registration(kind, name)
        whose = f"{kind} '{registration.name}' of plugin {registration.plugin}"
        target = registration.target
        try:
            with redirect_stdout(sys.stderr):
                cls = registration.cls or import_target(target)
        except (Exception, SystemExit) as error:
            raise MTBenchError(f"{whose} could not be imported from '{target}': {explain_failure(error)}") from error
        if not (isinstance(cls, type) and _is_of_kind(cls, kind)):
            raise MTBenchError(f"{whose}: '{target}' is no subclass of {_BASES[kind]}")
        return cls

    def metric(self, name: str) -> Metric:
        """Return a new metric; ``ndcg@10`` passes ``k=10``. Raises MTBenchError as :meth:`resolve` does."""
        registration = self.registration("metric", name)
        cls = self.resolve("metric", name)
        if not registration.name.endswith("@k"):
            return cls()
        if name == registration.name:
            raise MTBenchError(f"metric '{name}': 'k' stands for the cutoff; write a number, as in '{name[:-1]}10'")
        return cls(k=int(name.rpartition("@")[2]))

    def provenance(self, kind: PluginKind, name: str) -> Provenance:
        """Return whose code stands behind a name, hashed as it was on disk when this registry was first asked."""
        if (kind, name) not in self._provenances:
            distribution = self.registration(kind, name).plugin.distribution
            module = self.resolve(kind, name).__module__
            self._provenances[kind, name] = provenance.Provenance(
                distribution=distribution, sha256=provenance.hash_plugin(module, distribution)
            )
        return self._provenances[kind, name]

    def summary(self, kind: PluginKind, name: str) -> str:
        """Return the first line of the class's docstring without importing it; empty if there is none to be found."""
        registration = self.registration(kind, name)
        cls, target = registration.cls, registration.target
        doc = cls.__doc__ if cls else provenance.read_docstring(*target.split(":"))
        return next(iter((doc or "").strip().splitlines()), "")

    def callbacks(self, experiment: Experiment) -> list[Callback]:
        """Return the Lightning callbacks of all plugins; a plugin that fails is reported and gives none."""
        from pytorch_lightning import Callback  # noqa: PLC0415 - listing plugins must not import torch

        callbacks: list[Callback] = []
        for plugin in self._observers("mtbench_callbacks"):
            with _report_failure(plugin, "mtbench_callbacks"):
                own = [
                    callback
                    for result in self._call(plugin, "mtbench_callbacks", experiment=experiment)
                    for callback in result
                ]
                if strange := [callback for callback in own if not isinstance(callback, Callback)]:
                    raise TypeError(f"{strange[0]!r} is no Lightning callback")
                callbacks += own
        return callbacks

    def record_written(self, record: Record, path: Path) -> None:
        """Tell all plugins of a new record; a plugin that fails is reported."""
        for plugin in self._observers("mtbench_record_written"):
            with _report_failure(plugin, "mtbench_record_written"):
                self._call(plugin, "mtbench_record_written", record=record, path=path)

    def _get_all(self, kind: PluginKind) -> dict[str, Registration]:
        if kind not in self._registrations:
            raise MTBenchError(
                f"there is no kind '{kind}'{suggest(kind, PLUGIN_KINDS)}; known kinds: {', '.join(PLUGIN_KINDS)}"
            )
        return self._registrations[kind]

    def _observers(self, hook: str) -> list[Plugin]:
        return [plugin for plugin in self.plugins if hook in plugin.hooks and not plugin.error]

    def _call(self, plugin: Plugin, hook: str, **arguments: object) -> list[Any]:
        module = self._manager.get_plugin(str(plugin))
        others = [other for other in self._manager.get_plugins() if other is not module]
        return cast("list[Any]", self._manager.subset_hook_caller(hook, others)(**arguments))

    def _add(self, plugin: Plugin, load: Callable[[], Any]) -> None:
        """Load one plugin and commit what it registers if all of its registering hooks succeed."""
        collected: list[Registration] = []
        try:
            with redirect_stdout(sys.stderr):
                module = load()
                if self._manager.is_registered(module):
                    raise MTBenchError("another distribution has the same plugin module; uninstall one of them")  # noqa: TRY301
                self._manager.register(module, str(plugin))
                plugin = replace(plugin, hooks=self._list_hooks(module, plugin))
                for kind in PLUGIN_KINDS:
                    self._call(plugin, f"mtbench_{kind}s", register=partial(_register, collected, kind, plugin))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin never takes the tool down
            self.plugins.append(replace(plugin, error=explain_failure(error)))
            return
        self.plugins.append(plugin)
        for new in collected:
            first = self._registrations[new.kind].setdefault(new.name, new)
            if first is not new:
                self.problems.append(
                    f"two {new.kind}s are named '{new.name}': '{first.target}' of plugin {first.plugin} and "
                    f"'{new.target}' of plugin {plugin}; rename one of them or remove one plugin"
                )

    def _list_hooks(self, module: object, plugin: Plugin) -> tuple[str, ...]:
        known = [name for name in vars(hookspecs) if name.startswith("mtbench_")]
        hooks = []
        for caller in self._manager.get_hookcallers(module) or ():
            hooks.append(caller.name)
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module and not caller.has_spec() and not implementation.optionalhook:
                    self.problems.append(
                        f"plugin {plugin}: there is no hook '{caller.name}'{suggest(caller.name, known)}; "
                        f"rename the function '{implementation.function.__name__}'"
                    )
        return tuple(hooks)


def _read_owner(point: metadata.EntryPoint) -> tuple[str, str]:
    assert point.dist is not None
    return str(point.dist.name), str(point.dist.version)  # both are missing where the metadata is damaged


def _register(
    collected: list[Registration],
    kind: PluginKind,
    plugin: Plugin,
    name: str,
    target: str | type,
    *,
    default: bool | str = False,
) -> None:
    if not (isinstance(name, str) and _SLUG.fullmatch(name)):
        raise MTBenchError(f"{name!r} cannot name a {kind}; use lowercase letters, digits, '-', '_' and '@'")
    cls = target if isinstance(target, type) else None
    if cls is not None:
        target = f"{cls.__module__}:{cls.__qualname__}"
    elif not (isinstance(target, str) and _IMPORT_STRING.fullmatch(target)):
        raise MTBenchError(f"{kind} '{name}': target {target!r} is neither a class nor 'package.module:Class'")
    taken = default if isinstance(default, str) else name if default else ""
    collected.append(Registration(kind, name, str(target), plugin, cls, taken))


def _is_of_kind(cls: type, kind: PluginKind) -> bool:
    """Return whether a class is what plugins of a kind are; the base classes of the contract say so themselves."""
    if kind == "metric":
        from torchmetrics import Metric  # noqa: PLC0415 - listing plugins must not import torch

        return issubclass(cls, Metric)
    return getattr(cls, "plugin_kind", None) == kind


@contextmanager
def _report_failure(plugin: Plugin, hook: str) -> Iterator[None]:
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer never stops a run
        warnings.warn(f"plugin {plugin} failed in {hook}: {explain_failure(error)}", PluginWarning, stacklevel=1)
