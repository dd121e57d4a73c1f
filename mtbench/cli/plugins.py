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
    facts = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "registers": {
                plural: names
                for plural, kind in PLURALS.items()
                if (names := [entry.name for entry in registry.registrations(kind) if entry.plugin == plugin])
            },
            "observes": [hook for hook in plugin.hooks if hook in {"mtbench_callbacks", "mtbench_record_written"}],
            "error": plugin.error or None,
            "problems": [problem for problem in registry.problems if str(plugin) in problem],
        }
        for plugin in registry.plugins
    ]
    if json:
        print_json({"plugins": facts, "problems": registry.problems})
    else:
        _print_plugins(facts)
        for problem in registry.problems:
            typer.echo(f"error: {problem}", err=True)
    if registry.problems:
        raise typer.Exit(1)


def _print_plugins(facts: list[dict[str, Any]]) -> None:
    grid = table("plugin", "distribution", "registers", "status")
    grid.columns[0].no_wrap = False  # the path of a single file would leave no room for the others
    for plugin in facts:
        lines = [f"{plural}: {', '.join(names)}" for plural, names in plugin["registers"].items()]
        if plugin["observes"]:
            lines.append(f"observes: {', '.join(plugin['observes'])}")
        grid.add_row(
            plugin["name"],
            origin(plugin),
            "\n".join(lines) or "nothing",
            "broken, see below" if plugin["error"] else "in conflict, see below" if plugin["problems"] else "ok",
        )
    console = stdout()
    console.print(grid)
    for plugin in facts:
        if plugin["error"]:
            console.print(f"{plugin['name']}: {plugin['error']}", soft_wrap=True)


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
    facts: list[dict[str, Any]] = [
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
        print_json(facts)
    elif facts:
        grid = table("name", "summary", "distribution")
        for row in facts:
            grid.add_row(row["name"], unmarked(row["summary"]), origin(row))
        stdout().print(grid)
    else:
        typer.echo(f"no plugin registers {kind}", err=True)
