"""Groups: which records may be compared, and in what order tables have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtbench.board.values import average_improvement
from mtbench.files import dump_canonical_json, hash_json
from mtbench.record.form import NAME_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mtbench.record.form import Recipe, Record
    from mtbench.record.store import Written


@dataclass(frozen=True)
class Group:
    """Records that one table may hold: the best mean improvement first, those without one last, then by name.

    Equal outcomes of one recipe are there once; ``outcomes`` says by ``file_stem`` how many there are of each.
    """

    identity: Mapping[str, Any]
    written: tuple[Written, ...]
    outcomes: Mapping[str, int]

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

    @property
    def baselines(self) -> list[str]:
        """The models that records name as the one to measure delta-m against."""
        return sorted({record.baseline for record in self.records if record.baseline is not None})


def group_records(written: Iterable[Written]) -> list[Group]:
    """Divide records into comparable groups, ordered by dataset."""
    members: dict[str, list[Written]] = {}
    identities = {}
    for one in written:
        identity = identify(one.record.recipe)
        text = dump_canonical_json(identity)
        identities[text] = identity
        members.setdefault(text, []).append(one)
    groups = []
    for text in sorted(members, key=lambda text: (identities[text]["dataset"]["name"], text)):
        first, outcomes = _merge_outcomes(members[text])
        groups.append(Group(identities[text], tuple(sorted(first, key=_order)), outcomes))
    return groups


def _merge_outcomes(written: Iterable[Written]) -> tuple[list[Written], dict[str, int]]:
    """Return the first of equal outcomes, and by its name how many there are."""
    outcomes: dict[tuple[str, str, str], list[Written]] = {}
    for one in sorted(written, key=lambda one: (one.record.measured.created, one.path.name)):
        record = one.record
        results = dump_canonical_json(record.model_dump(mode="json", include={"results"}))
        outcomes.setdefault((record.key, record.predictions.sha256, results), []).append(one)
    return [same[0] for same in outcomes.values()], {same[0].record.file_stem: len(same) for same in outcomes.values()}


def identify(recipe: Recipe) -> dict[str, Any]:
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
            name: metric.model_dump(mode="json", exclude={"provenance", "limits"})
            | {"distribution": metric.provenance.distribution}
            for name, metric in recipe.metrics.items()
            if name in primary
        },
        "benchmark": recipe.benchmark and recipe.benchmark.model_dump(mode="json"),
    }


def _order(written: Written) -> tuple[bool, float, str, str]:
    record, path = written
    score = average_improvement(record)
    return score is None, -(score or 0.0), record.recipe.model.name, path.name
