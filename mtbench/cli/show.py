"""``mtbench show``: one model, dataset, metric, balancer, input or launcher."""

from __future__ import annotations

from dataclasses import asdict
from inspect import cleandoc
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json, to_jsonable_python
from rich.table import Table

from mtbench.cli.options import JsonOption, PluginOption, origin, print_json, stdout, table, unmarked, use_plugins
from mtbench.errors import MTBenchError, suggestion
from mtbench.registry import KINDS, Registry
from mtbench.schema import Choice, FloatRange, IntRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from mtbench.data.dataset import Dataset
    from mtbench.registry import Kind

_BOUNDS: dict[type, tuple[str, str]] = {
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Ge: ("ge", ">="),
    annotated_types.Lt: ("lt", "<"),
    annotated_types.Le: ("le", "<="),
    annotated_types.MultipleOf: ("multiple_of", "multiple of"),
    annotated_types.MinLen: ("min_length", "length >="),
    annotated_types.MaxLen: ("max_length", "length <="),
}
_SIGNS = dict(_BOUNDS.values())


def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Show a model's settings and search ranges, a dataset's card, and the like."""
    use_plugins(plugin)
    known = next((each for each in KINDS if each == kind), None)
    if known is None:
        raise MTBenchError(f"there is no kind '{kind}'{suggestion(kind, KINDS)}; kinds: {', '.join(KINDS)}")
    facts = describe(Registry.load(), known, name)
    if json:
        print_json(facts)
    else:
        _print(facts)


def describe(registry: Registry, kind: Kind, name: str) -> dict[str, Any]:
    """Return everything there is to say about a name, as plain JSON types."""
    entry = registry.entry(kind, name)
    cls = registry.resolve(kind, name)
    config = getattr(cls, "Config", None)
    facts: dict[str, Any] = {
        "kind": kind,
        "name": entry.name,
        "description": cleandoc(cls.__doc__ or ""),
        "target": entry.target,
        "plugin": entry.plugin.name,
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
    }
    if kind == "model":
        facts["paper"] = cls.paper or None
    if kind == "metric":
        names = ("higher_is_better", "best", "kinds", "grouped", "version")
        facts["metric"] = {each: to_jsonable_python(getattr(cls, each, None), fallback=str) for each in names}
    if kind == "dataset":
        facts |= _dataset(cls)
    if isinstance(config, type) and issubclass(config, BaseModel):
        facts["settings"] = [_setting(field, info) for field, info in config.model_fields.items()]
    return facts


def _dataset(cls: type[Dataset[Any]]) -> dict[str, Any]:
    try:
        sources = [source.model_dump(mode="json", exclude_none=True) for source in cls(cls.Config()).sources()]
    except (ValidationError, MTBenchError):
        sources = None  # the files depend on settings that have no default
    return {
        "card": cls.card.model_dump(mode="json"),
        "dataset_version": cls.version,
        "split": cls.split.model_dump(mode="json"),
        "sources": sources,
    }


def _setting(name: str, info: FieldInfo) -> dict[str, Any]:
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    limits = {}
    for each in info.metadata:
        if type(each) in _BOUNDS:
            key, _ = _BOUNDS[type(each)]
            limits[key] = getattr(each, key)
    search = next((each for each in info.metadata if isinstance(each, (IntRange, FloatRange, Choice))), None)
    return {
        "name": name,
        "type": _type_name(info.annotation),
        "required": info.is_required(),
        "default": to_jsonable_python(default, fallback=str),
        "constraints": limits,
        "search": to_jsonable_python({"type": type(search).__name__} | asdict(search), fallback=str)
        if search
        else None,
        "description": info.description or "",
    }


def _type_name(annotation: Any) -> str:
    """Return a type as it would be written, without the metadata of ``Annotated``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    names = list(map(_type_name, arguments))
    if origin in {Union, UnionType}:
        return " | ".join(names)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(names)}]"
    special = {NoneType: "None", Ellipsis: "..."}
    return next(
        (name for each, name in special.items() if annotation is each), str(getattr(annotation, "__name__", annotation))
    )


def _print(facts: dict[str, Any]) -> None:
    console = stdout()
    console.print(f"{facts['kind']} {facts['name']}", style="bold")
    console.print(unmarked(facts["description"]), end="\n\n")
    grid = Table.grid(padding=(0, 2))
    for name, value in _facts(facts):
        grid.add_row(name, value)
    console.print(grid)
    if facts.get("settings"):
        settings = table("setting", "type", "default", "search", "description")
        for each in facts["settings"]:
            limits = [f"{_SIGNS[key]} {limit}" for key, limit in each["constraints"].items()]
            settings.add_row(
                each["name"],
                ", ".join([each["type"], *limits]),
                "required" if each["required"] else _plain(each["default"]),
                _range(each["search"]),
                each["description"],
            )
        console.print()
        console.print(settings)
    for each in facts.get("sources") or ():
        console.print(f"\nraw file {each['name']}")
        mirror = each.get("mirror") and f"$MTBENCH_DATA/{each['mirror']}"
        wheel = each.get("wheel") and f"{each.get('member')} in {each['wheel']}"
        for place in filter(None, (each.get("path"), mirror, each.get("url"), wheel)):
            console.print(f"  {place}", soft_wrap=True)
        console.print(f"  sha256 {each.get('sha256', 'not checked')}", soft_wrap=True)


def _facts(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the labelled lines of a page: a list gives one line each, its label on the first."""
    card = dict(facts.get("card", {}))
    labelled = {
        "paper": facts.get("paper"),
        **{name.replace("_", " "): value for name, value in card.items()},
        "default split": facts.get("split"),
        **{name.replace("_", " "): value for name, value in facts.get("metric", {}).items()},
        "import": facts["target"],
        "from": origin(facts),
    }
    for name, value in labelled.items():
        pairs = [f"{key}: {_plain(each)}" for key, each in value.items()] if isinstance(value, dict) else value
        for number, line in enumerate(pairs if isinstance(pairs, list) else [pairs]):
            if line not in {None, ""}:
                yield "" if number else name, _plain(line)


def _range(search: dict[str, Any] | None) -> str:
    if search is None:
        return ""
    if "values" in search:
        return " | ".join(map(_plain, search["values"]))
    return f"{search['low']:g} to {search['high']:g}" + (", log" if search["log"] else "")


def _plain(value: Any) -> str:
    """Return a value as it would be written in YAML."""
    return value if isinstance(value, str) else to_json(value).decode()
