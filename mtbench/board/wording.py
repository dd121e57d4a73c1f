"""How numbers, settings and parts of a recipe read in tables and on pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from mtbench.board.values import Spread
    from mtbench.record.form import InputsPart, PluginPart, Recipe

UNDEFINED = "\N{EN DASH}"
SHORT_DIGITS = 8
SCIENTIFIC_BELOW = 0.001
SHORT_FROM = 1000


def choose_format(value: float) -> str:
    """Return the format of a mean and of its deviation: four decimals unless the mean is large or tiny."""
    if abs(value) >= SHORT_FROM:
        return ",.1f"
    return ".2e" if 0 < abs(value) < SCIENTIFIC_BELOW else ".4f"


def show_spread(spread: Spread) -> tuple[str, str]:
    """Return mean and deviation as they are shown; no deviation is empty."""
    form = choose_format(spread.mean)
    return format(spread.mean, form), "" if spread.deviation is None else format(spread.deviation, form)


def show_percent(share: float) -> str:
    """Return a share as per cent with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def show_ranks(interval: tuple[int, int]) -> str:
    """Return a rank interval as text."""
    first, last = interval
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def show_seeds(numbers: Sequence[int]) -> str:
    """Return seeds as text, a run of three or more as ``0-4``."""
    run = len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))  # noqa: PLR2004
    return f"{numbers[0]}-{numbers[-1]}" if run else ", ".join(map(str, numbers))


def show_setting(value: JsonValue) -> str:
    """Return a setting that was tried as text, a fraction with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else ", ".join(flatten({"": value}).values())


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings under dotted keys, values as text."""
    texts: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            texts |= flatten(value, f"{prefix}{key}.")
        else:
            texts[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return texts


def describe_budget(recipe: Recipe) -> str:
    """Return in words how the settings were chosen."""
    budget = recipe.budget
    if budget.kind == "default":
        return "default settings"
    return f"tuned, {budget.trials} trials ({budget.sampler}, pruner {budget.pruner}, seed {budget.seed})"


def describe_inputs(part: InputsPart) -> dict[str, str]:
    """Return what rows had beyond features as text: each input with its settings, and its code."""
    texts = {"inputs.warmup": json.dumps(part.warmup)}
    for key, inputs in {"inputs.asked": part.asked, "inputs.pooled": part.pooled}.items():
        described = (
            " ".join([one.name, *(f"{name}={text}" for name, text in flatten(one.settings).items())]) for one in inputs
        )
        texts[key] = "; ".join(described) or "none"
        if inputs:
            texts[f"{key}.code"] = "; ".join(map(name_code, inputs))
    return texts


def name_code(part: PluginPart) -> str:
    """Return whose code a plugin is, and the beginning of its hash."""
    return f"{part.provenance.distribution} {part.provenance.sha256[:SHORT_DIGITS]}"


def join_names(names: Sequence[str]) -> str:
    """Return names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
