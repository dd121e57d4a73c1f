"""``mtbench run``: an experiment file in, records and a table out."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtbench.cli.options import JsonOption, PluginOption, TracebackOption, use_plugins
from mtbench.errors import ModelsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtbench.record.store import Written


def run(
    file: Annotated[Path, typer.Argument(help="Experiment file (YAML).")],
    *,
    records: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("records"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as training.max_epochs=2."),
    ] = None,
    validate: Annotated[bool, typer.Option("--validate", help="Check the experiment and stop.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--again",
            help="Keep finished records and go on with interrupted trainings, or train everything again.",
        ),
    ] = True,
    as_json: JsonOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001 - handled by its callback
    plugin: PluginOption = None,
) -> None:
    """Run an experiment: train every model with every seed, and write one record per model."""
    use_plugins(plugin)
    if validate:
        from mtbench.experiment import load_experiment  # noqa: PLC0415
        from mtbench.plan import make_plan  # noqa: PLC0415
        from mtbench.registry import Registry  # noqa: PLC0415

        make_plan(load_experiment(file, overrides or ()), Registry.load(), str(file))
        typer.echo(f"{file}: valid", err=as_json)
        return
    from mtbench.training.run import run as run_experiment  # noqa: PLC0415

    def perform(report: Callable[[Written], None]) -> list[Written]:
        return run_experiment(
            file, overrides=overrides or (), records=records, resume=resume, progress=True, on_record=report
        )

    carry_out(perform, records, as_json=as_json, again="the same command")


def carry_out(
    perform: Callable[[Callable[[Written], None]], list[Written]], records: Path, *, as_json: bool, again: str
) -> None:
    """Let ``perform(report)`` make records, then print them and make their page; with JSON, each when it is reported.

    An interruption says what goes on from there. Raises ModelsError, once the others are shown, for models that failed.
    """
    from mtbench.board.page import build  # noqa: PLC0415

    results, done = sys.stdout, []
    failed: ModelsError | None = None

    def report(written: Written) -> None:
        done.append(written)
        if as_json:
            print(json.dumps(summary(written)), file=results, flush=True)

    try:
        with redirect_stdout(sys.stderr):  # what plugins print
            perform(report)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {again} goes on from here", err=True)
        raise
    except ModelsError as error:
        failed = error
    if done or failed is None:
        page = build(records, records / "site")
        if not as_json:
            from mtbench.cli.table import show_results  # noqa: PLC0415

            show_results(done, failed.failures if failed else {})
        typer.echo(f"\nrecords: {records.resolve()}\npage:    {page.resolve()}", err=as_json)
    if failed is not None:
        if as_json:
            for model, reason in failed.failures.items():
                print(json.dumps({"model": model, "failed": reason}), file=results, flush=True)
        raise failed


def summary(written: Written) -> dict[str, Any]:
    """Return what a program wants to know of a record: where it is, what it is of, and the test means over seeds."""
    record, path = written
    return {
        "path": str(path),
        "dataset": record.recipe.dataset.name,
        "model": record.recipe.model.name,
        "settings": record.recipe.model.settings,
        "seeds": record.recipe.seeds,
        "test": {
            task: {metric: record.mean(task, metric) for metric in metrics} for task, metrics in record.results.items()
        },
    }
