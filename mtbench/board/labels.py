"""What rows of tables are called, and what tells them apart."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mtbench.board.wording import SHORT_DIGITS, describe_budget, describe_inputs, flatten, name_code, show_seeds
from mtbench.record.form import NAME_DIGITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.board.groups import Group
    from mtbench.record.form import Recipe, Record

TWICE = 2


class Variant(NamedTuple):
    """What rows of different datasets have in common: whether it was tuned, the model, and the pooled inputs."""

    tuned: bool
    model: str
    pooled: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name in sentences and pictures."""
        return " + ".join([self.model, *self.pooled]) + (" (tuned)" if self.tuned else "")


def find_variant(recipe: Recipe) -> Variant:
    """Return what a record has in common with those of the same model on other data."""
    return Variant(recipe.budget.kind == "tuned", recipe.model.name, tuple(one.name for one in recipe.inputs.pooled))


def label_rows(records: Sequence[Record]) -> list[str]:
    """Return a short name for each record of a group that no other has.

    It is the variant's; then, where needed, come the model's settings in which such records differ, and the beginning
    of the record's name.
    """
    variants = [find_variant(record.recipe).label for record in records]
    settings = [_describe_model(record) for record in records]
    labels = [
        ", ".join(
            [
                variant,
                *(f"{key} {text}" for key, text in mine.items() if any(other.get(key) != text for other in others)),
            ]
        )
        for variant, mine in zip(variants, settings, strict=True)
        for others in [[other for other, same in zip(settings, variants, strict=True) if same == variant]]
    ]
    return [
        f"{label}, {record.file_stem[:SHORT_DIGITS]}" if labels.count(label) > 1 else label
        for label, record in zip(labels, records, strict=True)
    ]


def tell_apart(group: Group) -> list[dict[str, str]]:
    """Return, for each record of a group, what tells it apart.

    These are the model settings and the code in which records of the same model and kind of budget differ, everything
    else in which it differs from most records, its digest where one recipe came out in several ways, and how often it
    was reproduced to the last bit. What a sweep chose is not among them: its budget is.
    """
    records = group.records
    models = [_describe_model(record) for record in records]
    others = [_describe_circumstances(record) for record in records]
    networks = [other for record, other in zip(records, others, strict=True) if record.recipe.balancer]
    usual = _find_usual(networks or others)  # references lack much of what networks have in common
    keys = Counter(record.key for record in records)
    kinds = [(record.recipe.model.name, record.recipe.budget.kind) for record in records]
    common: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for kind, model in zip(kinds, models, strict=True):
        common.setdefault(kind, set(model.items())).intersection_update(model.items())
    apart = []
    for record, kind, model, other in zip(records, kinds, models, others, strict=True):
        settings = {key: text for key, text in model.items() if (key, text) not in common[kind]}
        settings |= {key: text for key, text in other.items() if usual.get(key) != text}
        if keys[record.key] > 1:
            settings[f"one of {keys[record.key]} outcomes of one recipe, record"] = record.file_stem[-NAME_DIGITS:]
        if (count := group.outcomes[record.file_stem]) > 1:
            settings["reproduced"] = "twice" if count == TWICE else f"{count} times"
        apart.append(settings)
    return apart


def _find_usual(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return, by key, the text that more than half of the settings have."""
    counts = Counter(item for one in settings for item in one.items())
    return {key: text for (key, text), count in counts.items() if 2 * count > len(settings)}


def _describe_model(record: Record) -> dict[str, str]:
    """Return the model's settings and code, and that of the inputs that it asks for, as its settings say."""
    model, searched = record.recipe.model, record.recipe.budget.space
    fixed = {name: value for name, value in model.settings.items() if f"model.{name}" not in searched}
    asked = {key: text for key, text in describe_inputs(record.recipe.inputs).items() if key == "inputs.asked.code"}
    return flatten(fixed) | {"code": name_code(model)} | asked


def _describe_circumstances(record: Record) -> dict[str, str]:
    """Return everything else that its values depend on; of what was tuned, the budget alone."""
    recipe = record.recipe
    balancer = None if "balancer" in recipe.budget.space else recipe.balancer
    training = {name: value for name, value in recipe.training.items() if f"training.{name}" not in recipe.budget.space}
    return {
        **({"balancer": balancer.name} | flatten(balancer.settings, "balancer.") if balancer else {}),
        **({"balancer.code": name_code(balancer)} if balancer else {}),
        **flatten(training, "training."),
        **{key: text for key, text in describe_inputs(recipe.inputs).items() if not key.startswith("inputs.asked")},
        "budget": describe_budget(recipe),
        "seeds": show_seeds(recipe.seeds),
        "engine": recipe.engine.sha256[:SHORT_DIGITS] if recipe.engine else "not recorded",
        "device": record.measured.device,
    }
