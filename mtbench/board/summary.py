"""What tables say of records: which are comparable, in what order, their means, and what tells rows apart."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mtbench.files import dump_canonical_json, hash_json
from mtbench.record.form import NAME_DIGITS, undefined_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import JsonValue

    from mtbench.record.form import InputsPart, MetricPart, PluginPart, Recipe, Record
    from mtbench.record.store import Written

Split = Literal["valid", "test"]

RANKED_SEEDS = 5
SHORT_DIGITS = 8
UNDEFINED = "\N{EN DASH}"
SCIENTIFIC_BELOW = 0.001
SHORT_FROM = 1000
BOUNDS = {
    "constant": ("constant predictor", "predicts the mean label of the training rows"),
    "reachable": ("reachable optimum", "is the best prediction from what earlier rows tell"),
    "optimum": ("optimum", "predicts the truth that generated the labels"),
}


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; one seed has no deviation."""

    mean: float
    deviation: float | None


class Statistics(NamedTuple):
    """What a model said of itself: single numbers by name, and tables as name -> row -> column -> number."""

    single: dict[str, float]
    tables: dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Group:
    """Records that may stand in one table: the best mean improvement first, those without one last, then by name."""

    identity: Mapping[str, Any]
    written: tuple[Written, ...]

    @property
    def name(self) -> str:
        """A short name that only this group has."""
        return hash_json(self.identity)[:NAME_DIGITS]

    @property
    def recipe(self) -> Recipe:
        """A recipe whose dataset, split and tasks are those of every record."""
        return self.written[0].record.recipe

    @property
    def records(self) -> list[Record]:
        """The records without their files."""
        return [record for record, _ in self.written]


def groups(written: Iterable[Written]) -> list[Group]:
    """Divide records into comparable groups, ordered by dataset."""
    members: dict[str, list[Written]] = {}
    identities = {}
    for each in written:
        found = identity(each.record.recipe)
        text = dump_canonical_json(found)
        identities[text] = found
        members.setdefault(text, []).append(each)
    return [
        Group(identities[text], tuple(sorted(members[text], key=_order)))
        for text in sorted(members, key=lambda text: (identities[text]["dataset"]["name"], text))
    ]


def identity(recipe: Recipe) -> dict[str, Any]:
    """Return what records must share to be compared.

    That is dataset, split, tasks, the versions of the primary metrics, and the benchmark that they are of, if any.
    """
    primary = {task.primary for task in recipe.tasks}
    dataset = recipe.dataset
    return {
        "dataset": dataset.model_dump(mode="json", exclude={"provenance"})
        | {"distribution": dataset.provenance.distribution},
        "split": recipe.split.model_dump(mode="json"),
        "tasks": [task.model_dump(mode="json") for task in recipe.tasks],
        "metrics": {
            name: metric.model_dump(mode="json", exclude={"provenance"})
            | {"distribution": metric.provenance.distribution}
            for name, metric in recipe.metrics.items()
            if name in primary
        },
        "benchmark": recipe.benchmark and recipe.benchmark.model_dump(mode="json"),
    }


def _order(written: Written) -> tuple[bool, float, str, str]:
    record, path = written
    score = improvement(record)
    return score is None, -(score or 0.0), record.recipe.model.name, path.name


def improvement(record: Record, kind: str | None = None) -> float | None:
    """Return the mean over tasks of the share of the way from the constant predictor to a perfect model.

    It is of the primary metrics on test, the model's own or those of a kind of bound; None where any task has none.
    """
    shares = []
    for task in record.recipe.tasks:
        metric = record.recipe.metrics.get(task.primary)
        value = bound(record, kind, task.name, task.primary) if kind else record.mean(task.name, task.primary)
        constant = bound(record, "constant", task.name, task.primary)
        if metric is None or value is None or constant is None or constant == metric.best:
            return None
        shares.append((value - constant) / (metric.best - constant))
    return sum(shares) / len(shares) if shares else None


def bound(record: Record, kind: str, task: str, metric: str, split: Split = "test") -> float | None:
    """Return the value of the constant predictor or of an optimum."""
    cell = record.bounds.get(kind, {}).get(task, {}).get(metric)
    found = spread(getattr(cell, split)) if cell else None
    return found.mean if found else None


def bound_kinds(records: Iterable[Record]) -> list[str]:
    """Return the kinds of bounds that records have, from the worst to the best."""
    found = {kind for record in records for kind in record.bounds}
    return [kind for kind in BOUNDS if kind in found] + sorted(found - BOUNDS.keys())


def values(record: Record, task: str, metric: str, split: Split = "test") -> list[float | None]:
    """Return the values over seeds; none if the metric was not computed."""
    cell = record.results.get(task, {}).get(metric)
    return list(getattr(cell, split)) if cell else []


def unfinished(record: Record) -> int:
    """Return how many trainings were best in the last epoch that they were allowed."""
    allowed = record.recipe.training.get("max_epochs")
    return sum(max(run.chosen.values()) + 1 == allowed for run in record.measured.seeds.values())


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return mean and deviation; None where any seed has no value."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = sum(known) / len(known)
    rest = len(known) - 1
    return Spread(mean, math.hypot(*(value - mean for value in known)) / math.sqrt(rest) if rest else None)


def statistics(record: Record) -> Statistics:
    """Return the mean over seeds of what the model said of itself at the last epoch that a task was predicted with."""
    runs = record.measured.seeds.values()
    found = Statistics({}, {})
    for name in next((run.statistics for run in runs), {}):
        last = ((run.statistics.get(name, ()), max(run.chosen.values(), default=-1)) for run in runs)
        chosen = [values[epoch] for values, epoch in last if 0 <= epoch < len(values)]
        if not chosen:
            continue
        match name.split("/"):
            case [table, row, column]:
                found.tables.setdefault(table, {}).setdefault(row, {})[column] = sum(chosen) / len(chosen)
            case _:
                found.single[name] = sum(chosen) / len(chosen)
    return found


def reasons(record: Record, task: str, metric: str, split: Split = "test") -> str:
    """Return why a value is undefined, by seed where the seeds differ."""
    seeds = record.recipe.seeds
    found = {seed: record.undefined.get(undefined_key(task, metric, split, seed)) for seed in seeds}
    texts = set(found.values())
    if texts == {None}:
        return "not in the record"
    if len(texts) == 1:
        return str(texts.pop())
    return "; ".join(f"seed {seed}: {reason}" for seed, reason in found.items() if reason)


def differences(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return, for each record of a group, what tells it apart.

    These are the model settings and the code in which records of the same model and kind of budget differ, everything
    else in which it differs from most records, and its digest where one recipe came out in several ways. What a sweep
    chose is not among them: its budget is.
    """
    models = [_own(record) for record in records]
    others = [_circumstances(record) for record in records]
    networks = [other for record, other in zip(records, others, strict=True) if record.recipe.balancer]
    usual = _usual(networks or others)  # references lack much of what networks have in common
    keys = Counter(record.key for record in records)
    kinds = [(record.recipe.model.name, record.recipe.budget.kind) for record in records]
    common: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for kind, model in zip(kinds, models, strict=True):
        common.setdefault(kind, set(model.items())).intersection_update(model.items())
    found = []
    for record, kind, model, other in zip(records, kinds, models, others, strict=True):
        settings = {key: text for key, text in model.items() if (key, text) not in common[kind]}
        settings |= {key: text for key, text in other.items() if usual.get(key) != text}
        if keys[record.key] > 1:
            settings[f"one of {keys[record.key]} outcomes of one recipe, record"] = record.file_stem[-NAME_DIGITS:]
        found.append(settings)
    return found


class Variant(NamedTuple):
    """What rows of different datasets have in common: the model, how it was set, and which inputs it was given."""

    tuned: bool
    model: str
    pooled: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name in sentences and pictures."""
        return " + ".join([self.model, *self.pooled]) + (" (tuned)" if self.tuned else "")


def variant(recipe: Recipe) -> Variant:
    """Return what a record has in common with those of the same model on other data."""
    return Variant(recipe.budget.kind == "tuned", recipe.model.name, tuple(one.name for one in recipe.inputs.pooled))


def labels(records: Sequence[Record]) -> list[str]:
    """Return a short name for each record of a group that no other has.

    It is the variant's; then, where needed, come the model's settings in which such records differ, and the beginning
    of the record's name.
    """
    found = [variant(record.recipe).label for record in records]
    own = [_own(record) for record in records]
    told = [
        ", ".join([label, *(f"{key} {text}" for key, text in mine.items() if any(o.get(key) != text for o in others))])
        for label, mine in zip(found, own, strict=True)
        for others in [[other for other, same in zip(own, found, strict=True) if same == label]]
    ]
    return [
        f"{label}, {record.file_stem[:SHORT_DIGITS]}" if told.count(label) > 1 else label
        for label, record in zip(told, records, strict=True)
    ]


def _usual(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return, by key, the text that more than half of the settings have."""
    counts = Counter(item for each in settings for item in each.items())
    return {key: text for (key, text), count in counts.items() if 2 * count > len(settings)}


def _own(record: Record) -> dict[str, str]:
    """Return the model's settings and code, and that of the inputs that it asks for, as its settings say."""
    model, tuned = record.recipe.model, record.recipe.budget.space
    given = {name: value for name, value in model.settings.items() if f"model.{name}" not in tuned}
    asked = {key: text for key, text in inputs(record.recipe.inputs).items() if key == "inputs.asked.code"}
    return flat(given) | {"code": _code(model)} | asked


def budget(recipe: Recipe) -> str:
    """Return in words how the settings were chosen."""
    how = recipe.budget
    if how.kind == "default":
        return "default settings"
    return f"tuned, {how.trials} trials ({how.sampler}, pruner {how.pruner}, seed {how.seed})"


def _circumstances(record: Record) -> dict[str, str]:
    """Return everything else that its values depend on; of what was tuned, the budget alone."""
    recipe = record.recipe
    balancer = None if "balancer" in recipe.budget.space else recipe.balancer
    training = {name: value for name, value in recipe.training.items() if f"training.{name}" not in recipe.budget.space}
    return {
        **({"balancer": balancer.name} | flat(balancer.settings, "balancer.") if balancer else {}),
        **({"balancer.code": _code(balancer)} if balancer else {}),
        **flat(training, "training."),
        **{key: text for key, text in inputs(recipe.inputs).items() if not key.startswith("inputs.asked")},
        "budget": budget(recipe),
        "seeds": seeds(recipe.seeds),
        "engine": recipe.engine.sha256[:SHORT_DIGITS] if recipe.engine else "not recorded",
        "device": record.measured.device,
    }


def inputs(part: InputsPart) -> dict[str, str]:
    """Return what rows were given as text: each input with its settings, and its code."""
    both = {"inputs.asked": part.asked, "inputs.pooled": part.pooled}
    found = {"inputs.warmup": json.dumps(part.warmup)}
    for key, given in both.items():
        texts = (
            " ".join([one.name, *(f"{name}={text}" for name, text in flat(one.settings).items())]) for one in given
        )
        found[key] = "; ".join(texts) or "none"
        if given:
            found[f"{key}.code"] = "; ".join(map(_code, given))
    return found


def _code(part: PluginPart) -> str:
    return f"{part.provenance.distribution} {part.provenance.sha256[:8]}"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings under dotted keys, values as text."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def setting(value: JsonValue) -> str:
    """Return a setting that was tried as text, a fraction with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else ", ".join(flat({"": value}).values())


def seeds(numbers: Sequence[int]) -> str:
    """Return seeds as text, a run of three or more as ``0-4``."""
    run = len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))  # noqa: PLR2004
    return f"{numbers[0]}-{numbers[-1]}" if run else ", ".join(map(str, numbers))


def ranks(found: tuple[int, int]) -> str:
    """Return a rank interval as text."""
    first, last = found
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def metric_part(records: Iterable[Record], metric: str) -> MetricPart | None:
    """Return what the first record that has a metric says of it."""
    return next((part for record in records if (part := record.recipe.metrics.get(metric))), None)


def form(value: float) -> str:
    """Return the format of a mean and of its deviation: four decimals unless the mean is large or tiny."""
    if abs(value) >= SHORT_FROM:
        return ",.1f"
    return ".2e" if 0 < abs(value) < SCIENTIFIC_BELOW else ".4f"


def texts(found: Spread) -> tuple[str, str]:
    """Return mean and deviation as they are shown; no deviation is empty."""
    shown = form(found.mean)
    return format(found.mean, shown), "" if found.deviation is None else format(found.deviation, shown)
