"""``mtbench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtbench.cli.naming import find_record
from mtbench.cli.options import JsonOption, PluginOption, print_json, stdout, table, use_plugins
from mtbench.errors import MTBenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtbench.board.standings import Pair
    from mtbench.record.form import Record
    from mtbench.record.store import Written
    from mtbench.registry import Registry


def compare(
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECORD RECORD]", help="Two files; or models, rows or beginnings of names in the folder."
        ),
    ] = None,
    *,
    records: Annotated[Path, typer.Option(help="Folder of records.")] = Path("records"),
    as_json: JsonOption = False,
    plugin: PluginOption = None,
) -> None:
    """Compare two records on every task. Without any, resample those of a folder, so that the board can rank them."""
    use_plugins(plugin)
    from mtbench.registry import Registry  # noqa: PLC0415

    match which or []:
        case []:
            _fill(records, Registry.load(), as_json=as_json)
        case [first, second]:
            _compare(find_record(first, records), find_record(second, records), Registry.load(), as_json=as_json)
        case names:
            raise MTBenchError(f"mtbench compare takes two records, or none to resample a folder, not {len(names)}")


def _fill(records: Path, registry: Registry, *, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    from mtbench.board.resamples import fill  # noqa: PLC0415

    def follow(missing: Sequence[Written]) -> Iterable[Written]:
        return track(missing, "resampling", console=Console(stderr=True), disable=not missing)

    filled = fill(records, registry, follow)
    if as_json:
        print_json(filled._asdict())
        return
    console = stdout()
    console.print(
        f"resamples of {len(filled.made)} records made, of {len(filled.found)} found, of {len(filled.lacking)} lacking"
    )
    for stem, reason in filled.lacking.items():
        console.print(f"{stem}: {reason}", soft_wrap=True)


def _compare(first: Written, second: Written, registry: Registry, *, as_json: bool) -> None:
    from mtbench.board.resamples import read_or_make  # noqa: PLC0415
    from mtbench.board.standings import compare_pair  # noqa: PLC0415

    records = (first.record, second.record)
    if first.record == second.record:
        raise MTBenchError(f"both are the record {first.record.file_stem}; give two")
    _check_comparable(*records)
    replicates = [read_or_make(written, registry) for written in (first, second)]
    if replicates[0].draws != replicates[1].draws:
        raise MTBenchError(
            "the two records were resampled differently: their test rows or users differ, or NumPy draws otherwise; "
            "delete both files in the folder 'resamples' and compare again"
        )
    pairs = compare_pair(*records, {one.record: one for one in replicates})
    if as_json:
        print_json(
            {"first": replicates[0].record, "second": replicates[1].record, "tasks": _list_facts(records, pairs)}
        )
    else:
        _show(records, pairs)


def _check_comparable(first: Record, second: Record) -> None:
    from mtbench.board.groups import identify  # noqa: PLC0415
    from mtbench.board.wording import flatten  # noqa: PLC0415

    sides = [
        flatten({key: _key_by_name(part) for key, part in identify(record.recipe).items()})
        for record in (first, second)
    ]
    differing = [key for key in sides[0] | sides[1] if sides[0].get(key) != sides[1].get(key)]
    if differing:
        texts = [f"{key} ({sides[0].get(key, 'absent')}, {sides[1].get(key, 'absent')})" for key in differing]
        raise MTBenchError(f"the records cannot be compared: they differ in {'; '.join(texts)}")


def _key_by_name(part: Any) -> Any:
    """Return the tasks, which are a list, by name."""
    return {task["name"]: task for task in part} if isinstance(part, list) else part


def _list_facts(records: Sequence[Record], pairs: dict[str, Pair]) -> dict[str, Any]:
    first, second = records
    return {
        task.name: {
            "metric": task.primary,
            "first": first.mean(task.name, task.primary),
            "second": second.mean(task.name, task.primary),
            "effect": pairs[task.name].effect._asdict(),
            "p": pairs[task.name].p,
            "sources": pairs[task.name].sources,
        }
        if task.name in pairs
        else None
        for task in first.recipe.tasks
    }


def _show(records: Sequence[Record], pairs: dict[str, Pair]) -> None:
    from mtbench.board.wording import UNDEFINED, choose_format  # noqa: PLC0415

    console = stdout()
    for place, record in zip(("first", "second"), records, strict=True):
        console.print(f"{place}: {record.recipe.model.name}, {record.file_stem}")
    made = table("task", "first", "second", "effect", "p", "variance")
    for task, facts in _list_facts(records, pairs).items():
        if facts is None:
            made.add_row(task, *[UNDEFINED] * 5)
            continue
        form = choose_format(facts["first"])
        first, second = (format(facts[side], form) for side in ("first", "second"))
        mean, low, high = (format(facts["effect"][key], f"+{form}") for key in ("mean", "low", "high"))
        shares = "\n".join(f"{share:.0%} {source}" for source, share in facts["sources"].items())
        made.add_row(
            f"{task}\n{facts['metric']}", first, second, f"{mean}\n{low} to {high}", f"{facts['p']:.2g}", shares
        )
    console.print()
    console.print(made)
    console.print()
    console.print("effect on test above its 95 % interval: positive where the first is better", style="dim")
    unit = next((source for pair in pairs.values() for source in pair.sources if source != "seeds"), "users")
    alone = [len(record.recipe.seeds) == 1 for record in records]
    whose = f"trained models, over {unit}" if all(alone) else f"recipes, over {unit} and seeds"
    console.print(f"the interval is of the two {whose}", style="dim")
    if any(alone):
        console.print("a record of one seed: it holds for that trained model, not for another seed", style="dim")
