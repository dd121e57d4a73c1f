"""``mtbench data``: look at data before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mtbench.cli.options import JsonOption, PluginOption, print_json, use_plugins
from mtbench.errors import MTBenchError
from mtbench.registry import Registry

app = typer.Typer(help="Look at data before anything is trained on it.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Look at data before anything is trained on it."""


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="A dataset's name, or an experiment file.")],
    *,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    as_json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Prepare a dataset and run its leak gates, alone."""
    use_plugins(plugin)
    from mtbench.experiment import load_experiment, name_source  # noqa: PLC0415
    from mtbench.plan import make_plan  # noqa: PLC0415
    from mtbench.training.prepare import prepare_data  # noqa: PLC0415

    registry = Registry.load()
    if what.endswith((".yaml", ".yml")) or Path(what).is_file():
        source: Path | dict[str, Any] = Path(what)
    else:
        registry.resolve("dataset", what)
        models = registry.names("model")
        if not models:
            raise MTBenchError("no plugin registers a model; see `mtbench plugins`")
        source = {"dataset": what, "models": models[:1]}
    experiment = load_experiment(source, overrides or ())
    columns = prepare_data(make_plan(experiment, registry, name_source(source)))
    report = {
        "dataset": experiment.dataset.name,
        "rows": columns.counts,
        "domain": columns.schema.domain,
        "rows_by_domain": columns.count_domains(),
        "positive_rates": columns.positive_rates(),
        "findings": [finding._asdict() for finding in columns.findings],
    }
    if as_json:
        print_json(report)
        return
    typer.echo(f"{experiment.dataset.name}: {_listed(columns.counts)} rows")
    for counts in columns.count_domains():
        domain = counts.pop("domain")
        typer.echo(f"  {columns.schema.domain} {'(missing)' if domain is None else domain}: {_listed(counts)} rows")
    for task, rate in columns.positive_rates().items():
        typer.echo(f"  {task}: {rate:.4f} (mean label of the training rows)")
    for finding in columns.findings:
        typer.echo(f"warning ({finding.gate}): {finding.message}")
    typer.echo("no leak found" if not columns.findings else "no leak found that stops a run")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {part}" for part, count in counts.items() if count)
