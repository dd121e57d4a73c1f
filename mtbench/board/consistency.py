"""What a record says must be consistent, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.evaluation import predictions
from mtbench.experiment import PLACEMENT, Training
from mtbench.provenance import find_engine
from mtbench.record.form import undefined_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from mtbench.record.form import Recipe, Record, SeedRun, Tuning
    from mtbench.schema import Task


def find_contradictions(record: Record) -> list[str]:
    """Return what is missing from a record, and where it contradicts itself, each with its place."""
    return [
        *_check_completeness(record),
        *_check_values(record),
        *_check_ranges(record),
        *_check_histories(record),
        *_check_budget(record),
        *_check_bounds(record),
    ]


def _check_completeness(record: Record) -> Iterator[str]:
    recipe = record.recipe
    names = [task.name for task in recipe.tasks]
    if len(set(names)) < len(names) or not names:
        yield f"recipe.tasks: {', '.join(names) or 'none'}; there must be one at least, and each once"
    if len(set(recipe.seeds)) < len(recipe.seeds) or not recipe.seeds:
        yield f"recipe.seeds: {recipe.seeds}; there must be one at least, and each once"
    if missing := [name for name in names if name not in record.results]:
        yield f"results: task {', '.join(missing)} is missing"
    if unknown := [name for name in record.results if name not in names]:
        yield f"results: {', '.join(unknown)} is no task of the recipe"
    if list(map(str, recipe.seeds)) != list(record.measured.seeds):
        yield f"measured.seeds: seeds {', '.join(record.measured.seeds) or 'none'}, in the recipe {recipe.seeds}"
    for task in recipe.tasks:
        if task.primary not in record.results.get(task.name, {task.primary}):
            yield f"results.{task.name}: its primary metric {task.primary} is missing"


def _check_values(record: Record) -> Iterator[str]:
    seeds = record.recipe.seeds
    undefined = set()
    for task, cells in record.results.items():
        for metric, cell in cells.items():
            if metric not in record.recipe.metrics:
                yield f"results.{task}.{metric}: is no metric of the recipe"
            for split in predictions.SPLITS:
                values = getattr(cell, split)
                if len(values) != len(seeds):
                    yield f"results.{task}.{metric}.{split}: {len(values)} values for {len(seeds)} seeds"
                missing = [seed for seed, value in zip(seeds, values, strict=False) if value is None]
                undefined |= {undefined_key(task, metric, split, seed) for seed in missing}
    if differing := sorted(undefined ^ record.undefined.keys()):
        yield f"undefined: {', '.join(differing)}: there must be a reason for every missing value, and for no other"


def _check_ranges(record: Record) -> Iterator[str]:
    for task, cells in record.results.items():
        for name, cell in cells.items():
            part = record.recipe.metrics.get(name)
            known = [value for value in (*cell.valid, *cell.test) if value is not None]
            if part is None or not known:
                continue
            top = max(known) if part.higher_is_better else min(known)
            if (top > part.best) if part.higher_is_better else (top < part.best):
                yield f"results.{task}.{name}: {top} is better than perfect, {part.best}"


def _check_histories(record: Record) -> Iterator[str]:
    for place, seed in enumerate(record.recipe.seeds):
        run = record.measured.seeds.get(str(seed))
        if run is None:
            continue
        for task in record.recipe.tasks:
            yield from _check_history(record, task, place, run, f"measured.seeds.{seed}")
    if record.measured.test_opened != 1:
        yield f"measured.test_opened: the test split was opened {record.measured.test_opened} times, not once"


def _check_history(record: Record, task: Task, place: int, run: SeedRun, where: str) -> Iterator[str]:
    history, chosen = run.valid.get(task.name), run.chosen.get(task.name)
    if history is None or chosen is None or not 0 <= chosen < len(history):
        yield f"{where}: no validation history of task {task.name}, or no epoch of it was chosen"
        return
    if len(history) != len(run.seconds):
        yield f"{where}: {len(history)} epochs of task {task.name}, but {len(run.seconds)} times"
    cell = record.results.get(task.name, {}).get(task.primary)
    if cell and place < len(cell.valid) and cell.valid[place] != history[chosen]:
        yield (
            f"{where}: task {task.name} had {history[chosen]} on validation in the chosen epoch, "
            f"but the result is {cell.valid[place]}"
        )
    allowed = record.recipe.training.get("max_epochs")
    if isinstance(allowed, int) and len(history) > allowed:
        yield f"{where}: {len(history)} epochs, {allowed} were allowed"


def _check_budget(record: Record) -> Iterator[str]:
    recipe, tuning = record.recipe, record.measured.tuning
    budget = recipe.budget
    if (recipe.balancer is None) != (not recipe.training):
        yield "recipe: a network has a balancer and training settings, a reference neither"
    elif recipe.training and (wrong := _find_odd_settings(recipe)):
        yield f"recipe.training: {', '.join(sorted(wrong))}: missing, or no such setting"
    if budget.kind == "default":
        if tuning is not None or budget.trials or budget.space or budget.sampler or budget.pruner:
            yield "recipe.budget: default settings, but there are traces of a search"
        return
    if tuning is None or budget.sampler is None or budget.seed is None or budget.trials < 1:
        yield "recipe.budget: tuned, but trials, sampler, seed or measured.tuning is missing"
        return
    yield from _check_trials(recipe, tuning)
    if budget.seed in recipe.seeds:
        yield f"recipe.budget.seed: {budget.seed} is one of the seeds, on which the choice is judged"


def _find_odd_settings(recipe: Recipe) -> set[str]:
    """Return the training settings that are not known, or missing; other code may not have had all of today's."""
    known = Training.model_fields.keys() - PLACEMENT
    unknown = recipe.training.keys() - known
    return unknown | (known - recipe.training.keys() if recipe.engine == find_engine() else set())


def _check_trials(recipe: Recipe, tuning: Tuning) -> Iterator[str]:
    budget = recipe.budget
    if len(tuning.trials) != budget.trials:
        yield f"measured.tuning: {len(tuning.trials)} trials, asked were {budget.trials}"
    better = [at for at, trial in enumerate(tuning.trials) if trial.score is not None and trial.score > tuning.score]
    if better:
        yield f"measured.tuning: trial {better[0] + 1} scored higher than the chosen one, trial {tuning.best + 1}"
    chosen = tuning.trials[tuning.best].settings
    if odd := chosen.keys() ^ budget.space.keys():
        yield f"measured.tuning: {', '.join(sorted(odd))}: tried but not searched, or searched but not tried"
    for name, value in chosen.items():
        if not _means(value, trained := _find_setting(recipe, name)):
            yield f"measured.tuning: the chosen trial had {name} {value!r}, the record {trained!r}"


def _find_setting(recipe: Recipe, name: str) -> JsonValue:
    """Return the setting of a recipe that a dimension of the search space names."""
    room, _, setting = name.partition(".")
    if room == "training":
        return recipe.training.get(setting)
    if room == "model":
        return recipe.model.settings.get(setting)
    part = recipe.balancer
    return None if part is None else {**part.settings, "name": part.name}


def _means(written: JsonValue, complete: JsonValue) -> bool:
    """Return whether a value as a file writes it, a plugin perhaps by its name alone, means a recipe's."""
    if isinstance(complete, dict):
        short = written if isinstance(written, dict) else {"name": written}
        return all(_means(value, complete.get(key)) for key, value in short.items())
    return written == complete


def _check_bounds(record: Record) -> Iterator[str]:
    constant = record.bounds.get("constant", {})
    for task in record.recipe.tasks:
        if task.primary not in constant.get(task.name, {}):
            yield f"bounds.constant.{task.name}.{task.primary}: the constant predictor is missing"
