"""``mtbench plugins`` and ``mtbench list``: what is installed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mtbench.cli.options import JsonOption, PluginOption, origin, print_json, stdout, table, unmarked, use_plugins
from mtbench.errors import MTBenchError, suggest
from mtbench.registry import PLUGIN_KINDS, Registry

PLURALS = {f"{kind}s": kind for kind in PLUGIN_KINDS}


def plugins(*, plugin: PluginOption = None, json: JsonOption = False) -> None:
    """Show every plugin, what it registers, and what is wrong with it."""
    use_plugins(plugin)
    registry = Registry.load(check=False)
    found = [
        {
            "name": each.name,
            "distribution": each.distribution,
            "version": each.version,
            "registers": {
                plural: names
                for plural, kind in PLURALS.items()
                if (names := [entry.name for entry in registry.registrations(kind) if entry.plugin == each])
            },
            "observes": [hook for hook in each.hooks if hook in {"mtbench_callbacks", "mtbench_record_written"}],
            "error": each.error or None,
            "problems": [problem for problem in registry.problems if str(each) in problem],
        }
        for each in registry.plugins
    ]
    if json:
        print_json({"plugins": found, "problems": registry.problems})
    else:
        _print_plugins(found)
        for problem in registry.problems:
            typer.echo(f"error: {problem}", err=True)
    if registry.problems:
        raise typer.Exit(1)


def _print_plugins(found: list[dict[str, Any]]) -> None:
    shown = table("plugin", "distribution", "registers", "status")
    shown.columns[0].no_wrap = False  # the path of a single file would leave no room for the others
    for each in found:
        lines = [f"{plural}: {', '.join(names)}" for plural, names in each["registers"].items()]
        if each["observes"]:
            lines.append(f"observes: {', '.join(each['observes'])}")
        shown.add_row(
            each["name"],
            origin(each),
            "\n".join(lines) or "nothing",
            "broken, see below" if each["error"] else "in conflict, see below" if each["problems"] else "ok",
        )
    console = stdout()
    console.print(shown)
    for each in found:
        if each["error"]:
            console.print(f"{each['name']}: {each['error']}", soft_wrap=True)


def list_names(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(PLURALS)}.")],
    *,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """List models, datasets, metrics, balancers, inputs or launchers."""
    use_plugins(plugin)
    if kind not in PLURALS:
        raise MTBenchError(f"there is no list of '{kind}'{suggest(kind, PLURALS)}; lists: {', '.join(PLURALS)}")
    registry = Registry.load()
    found: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "summary": registry.summary(entry.kind, entry.name),
            "plugin": entry.plugin.name,
            "distribution": entry.plugin.distribution,
            "version": entry.plugin.version,
        }
        for entry in registry.registrations(PLURALS[kind])
    ]
    if json:
        print_json(found)
    elif found:
        shown = table("name", "summary", "distribution")
        for each in found:
            shown.add_row(each["name"], unmarked(each["summary"]), origin(each))
        stdout().print(shown)
    else:
        typer.echo(f"no plugin registers {kind}", err=True)
