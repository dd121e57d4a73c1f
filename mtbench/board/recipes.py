"""What a record's page says of how it was made: the experiment to repeat it with, and how its trainings went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from mtbench.charts.lines import draw_curves

if TYPE_CHECKING:
    from mtbench.charts.plots import Plot
    from mtbench.record.form import PluginPart, Recipe, Record

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def content(recipe: Recipe) -> dict[str, Any]:
    """Return what an experiment file says that trains this model with these settings again."""
    given = {"warmup": recipe.inputs.warmup, "give": [_component(one) for one in recipe.inputs.pooled]}
    told: dict[str, Any] = {
        "dataset": _component(recipe.dataset),
        "split": recipe.split.settings,
        "models": [_component(recipe.model)],
        "inputs": {key: value for key, value in given.items() if value},
        "training": recipe.training,
        "balancer": recipe.balancer and _component(recipe.balancer),
        "metrics": list(recipe.metrics),
        "seeds": recipe.seeds,
    }
    return {key: value for key, value in told.items() if value}


def experiment(recipe: Recipe) -> str:
    """Return that experiment file as text."""
    told = content(recipe)
    return str(yaml.dump(told, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=88))


def _component(part: PluginPart) -> dict[str, Any] | str:
    return {"name": part.name} | part.settings if part.settings else part.name


def curves(record: Record) -> list[tuple[str, Plot]]:
    """Return, by task, the primary metric on validation after each epoch, one line per seed."""
    found = []
    for task in record.recipe.tasks:
        runs = [
            (f"seed {seed}", run.valid.get(task.name, ()), run.chosen.get(task.name))
            for seed, run in record.measured.seeds.items()
        ]
        if any(len(values) > 1 for _, values, _ in runs):  # the fit of a reference is no curve
            plot = draw_curves(runs, "epoch", task.primary)
            if plot:
                found.append((task.name, plot))
    return found
