"""``mtbench show``: one model, dataset, metric, balancer, input or launcher."""

from __future__ import annotations

from contextlib import suppress
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
from mtbench.errors import MTBenchError, suggest
from mtbench.registry import PLUGIN_KINDS, Registry
from mtbench.schema import Feature, Schema, Task, search_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo
    from rich.console import RenderableType

    from mtbench.data.dataset import Dataset
    from mtbench.model import MultiTaskModel, Reference
    from mtbench.registry import PluginKind

_BOUNDS: dict[type, tuple[str, str]] = {
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Ge: ("ge", ">="),
    annotated_types.Lt: ("lt", "<"),
    annotated_types.Le: ("le", "<="),
    annotated_types.MultipleOf: ("multiple_of", "multiple of"),
    annotated_types.MinLen: ("min_length", "length >="),
    annotated_types.MaxLen: ("max_length", "length <="),
}
SIGNS = dict(_BOUNDS.values())
_EVERYTHING = Schema(
    tasks=("click", Task(name="buy", given="click")),
    features=("user", "item", "tags", Feature(name="age", kind="numeric")),
    user="user",
    item="item",
    time="time",
    texts=("title",),
)
_IDS = Schema(tasks=("click",), user="user", item="item")


def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(PLUGIN_KINDS)}.")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Show a model's settings and search ranges, a dataset's card, and the like."""
    use_plugins(plugin)
    known = next((known for known in PLUGIN_KINDS if known == kind), None)
    if known is None:
        raise MTBenchError(f"there is no kind '{kind}'{suggest(kind, PLUGIN_KINDS)}; kinds: {', '.join(PLUGIN_KINDS)}")
    facts = describe(Registry.load(), known, name)
    if json:
        print_json(facts)
    else:
        _print(facts)


def describe(registry: Registry, kind: PluginKind, name: str) -> dict[str, Any]:
    """Return everything there is to say about a name, as plain JSON types."""
    entry = registry.registration(kind, name)
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
        facts["card"] = cls.card and cls.card.model_dump(mode="json")
        facts["inputs"] = _inputs(cls)
        facts["packages"] = list(cls.packages)
    if kind == "metric":
        names = ("higher_is_better", "best", "kinds", "grouped", "version")
        facts["metric"] = {name: to_jsonable_python(getattr(cls, name, None), fallback=str) for name in names}
    if kind == "dataset":
        facts |= _dataset(cls)
    if isinstance(config, type) and issubclass(config, BaseModel):
        facts["settings"] = [setting(field, info) for field, info in config.model_fields.items()]
    return facts


def _inputs(cls: type[MultiTaskModel | Reference]) -> dict[str, list[dict[str, Any]]] | None:
    """Return what a model asks for at its defaults, of a dataset with everything and of one with ids alone."""
    try:
        config: Any = cls.Config()
        asked = {name: cls.inputs(config, schema) for name, schema in (("everything", _EVERYTHING), ("ids", _IDS))}
    except (ValidationError, MTBenchError):
        return None  # it depends on settings that have no default
    return {name: [component.model_dump(mode="json") for component in components] for name, components in asked.items()}


def _dataset(cls: type[Dataset[Any]]) -> dict[str, Any]:
    sources = domain = None
    with suppress(ValidationError, MTBenchError):  # they may depend on settings that have no default
        dataset = cls(cls.Config())
        sources = [source.model_dump(mode="json", exclude_none=True) for source in dataset.sources()]
        domain = dataset.schema().domain
    return {
        "card": cls.card.model_dump(mode="json"),
        "dataset_version": cls.version,
        "split": cls.split.model_dump(mode="json"),
        "domain": domain,
        "sources": sources,
    }


def setting(name: str, info: FieldInfo) -> dict[str, Any]:
    """Return what there is to say about a setting, as plain JSON types."""
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    limits = {}
    for limit in info.metadata:
        if type(limit) in _BOUNDS:
            key, _ = _BOUNDS[type(limit)]
            limits[key] = getattr(limit, key)
    search = search_range(info)
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
        (name for special_type, name in special.items() if annotation is special_type),
        str(getattr(annotation, "__name__", annotation)),
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
        for field in facts["settings"]:
            limits = [f"{SIGNS[key]} {limit}" for key, limit in field["constraints"].items()]
            settings.add_row(
                field["name"],
                ", ".join([field["type"], *limits]),
                "required" if field["required"] else plain(field["default"]),
                range_text(field["search"]),
                field["description"],
            )
        console.print()
        console.print(settings)
    for source in facts.get("sources") or ():
        console.print(f"\nraw file {source['name']}")
        mirror = source.get("mirror") and f"$MTBENCH_DATA/{source['mirror']}"
        wheel = source.get("wheel") and f"{source.get('member')} in {source['wheel']}"
        for place in filter(None, (source.get("path"), mirror, source.get("url"), wheel)):
            console.print(f"  {place}", soft_wrap=True)
        console.print(f"  sha256 {source.get('sha256', 'not checked')}", soft_wrap=True)


def _facts(facts: dict[str, Any]) -> Iterator[tuple[str, RenderableType]]:
    """Yield the labelled parts of a page: sentences of a list get a dash each, pairs and equations a line."""
    card = facts.get("card") or {}
    equations = "\n".join(card.get("equations", ()))
    labelled = {
        **{name.replace("_", " "): value for name, value in card.items()},
        **({"equations": equations} if equations else {}),
        "asks for": "\n".join(asked(facts.get("inputs"))),
        "needs": ", ".join(facts.get("packages", ())),
        "default split": facts.get("split"),
        "domain": facts.get("domain"),
        **{name.replace("_", " "): value for name, value in facts.get("metric", {}).items()},
        "import": facts["target"],
        "from": origin(facts),
    }
    for name, value in labelled.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            yield name, "\n".join(f"{key}: {plain(part)}" for key, part in value.items())
        elif isinstance(value, list) and len(value) > 1:
            yield name, _sentences(value)
        else:
            yield name, plain(value[0] if isinstance(value, list) else value)


def _sentences(lines: list[str]) -> Table:
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row("-", plain(line))
    return grid


def asked(inputs: dict[str, list[dict[str, Any]]] | None) -> list[str]:
    """Return in words what a model asks for; a second line says what that is where there are ids alone, if less."""
    if inputs is None:
        return []
    everything, ids = (", ".join(map(_asked, components)) or "features alone" for components in inputs.values())
    return [everything] + [f"of a dataset with ids alone: {ids}"] * (ids != everything)


def _asked(component: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {plain(value)}" for name, value in component.items() if name != "name")
    return f"{component['name']} ({settings})" if settings else str(component["name"])


def range_text(search: dict[str, Any] | None) -> str:
    """Return the values that a search tries, in words."""
    if search is None:
        return ""
    if "values" in search:
        return " | ".join(map(plain, search["values"]))
    return f"{search['low']:g} to {search['high']:g}" + (", log" if search["log"] else "")


def plain(value: Any) -> str:
    """Return a value as it would be written in YAML."""
    return value if isinstance(value, str) else to_json(value).decode()
