"""What a record's page says of how it was made: the experiment to repeat it with, and how its trainings went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from mtbench.charts.lines import draw_curves

if TYPE_CHECKING:
    from mtbench.charts.plots import Plot
    from mtbench.record.form import PluginPart, Recipe, Record

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def make_experiment(recipe: Recipe) -> dict[str, Any]:
    """Return what an experiment file says that trains this model with these settings again."""
    inputs = {"warmup": recipe.inputs.warmup, "give": [_make_component(one) for one in recipe.inputs.pooled]}
    content: dict[str, Any] = {
        "dataset": _make_component(recipe.dataset),
        "split": recipe.split.settings,
        "models": [_make_component(recipe.model)],
        "inputs": {key: value for key, value in inputs.items() if value},
        "training": recipe.training,
        "balancer": recipe.balancer and _make_component(recipe.balancer),
        "metrics": list(recipe.metrics),
        "seeds": recipe.seeds,
    }
    return {key: value for key, value in content.items() if value}


def write_experiment(record: Record) -> str:
    """Return that experiment file as text, with the baseline that the record names."""
    content = make_experiment(record.recipe)
    if record.baseline is not None:
        content["baseline"] = record.baseline
    return str(
        yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=88)
    )


def _make_component(part: PluginPart) -> dict[str, Any] | str:
    return {"name": part.name} | part.settings if part.settings else part.name


def draw_learning_curves(record: Record) -> list[tuple[str, Plot]]:
    """Return, by task, the primary metric on validation after each epoch, one line per seed."""
    curves = []
    for task in record.recipe.tasks:
        runs = [
            (f"seed {seed}", run.valid.get(task.name, ()), run.chosen.get(task.name))
            for seed, run in record.measured.seeds.items()
        ]
        if any(len(values) > 1 for _, values, _ in runs):  # the fit of a reference is no curve
            plot = draw_curves(runs, "epoch", task.primary)
            if plot:
                curves.append((task.name, plot))
    return curves
