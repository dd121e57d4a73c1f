"""Who is better than whom, by how much and how surely: from the records of a group and their resamples."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtbench.board import summary
from mtbench.evaluation import comparison
from mtbench.evaluation.comparison import Estimates, Sample
from mtbench.files import dump_canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.board.resamples import Resamples
    from mtbench.board.summary import Group
    from mtbench.record.form import Record
    from mtbench.schema import Task

    _Samples = Mapping[str, Mapping[str, Sample | None]]

REFERENCE = "single-task"
AREAS = ("auc", "gauc")
CHANCE = 0.5
UNDEFINED_AT_MOST = 0.1


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


class Pair(NamedTuple):
    """Two records on one task, by ``file_stem``.

    The effect is first minus second, in the metric's unit, positive where the first is better; ``adjusted`` is p after
    Holm over the pairs of the task; ``sources`` are the shares of the effect's variance: of "users" (or "rows") and of
    "seeds".
    """

    first: str
    second: str
    effect: Interval
    p: float
    adjusted: float
    sources: dict[str, float]


class Placing(NamedTuple):
    """Where a record stands on one task.

    ``value`` is the mean over seeds of the primary metric on test, None if undefined; without resamples its interval is
    the seeds' alone, and a single seed without resamples has none: all three are equal. ``ranks`` are the first and the
    last rank that the data allow, None where unranked, for which there is a reason.
    """

    value: Interval | None
    ranks: tuple[int, int] | None
    reason: str


class Ranking(NamedTuple):
    """One task of a group, or all of its tasks together: every record's placing, and the pairs of those ranked."""

    placings: dict[str, Placing]
    pairs: list[Pair]


class Transfer(NamedTuple):
    """A record against the single-task reference of the same inputs and budget.

    ``tasks`` are the relative changes of the primary metrics, 0.01 being 1 % better, and ``mean`` is delta-m. AUC and
    GAUC count from 0.5, other metrics from 0. Where either has no resamples the intervals are those of the seeds alone.
    """

    reference: str
    tasks: dict[str, Interval]
    mean: Interval


class Standings(NamedTuple):
    """What may be said of a group; ``tasks`` by name, in the group's order, ``transfer`` by ``file_stem``.

    ``overall`` ranks the mean improvement, the share of the way from the constant predictor to a perfect model.
    ``transfer`` has the records with a value of every task for which there is a reference.
    """

    tasks: dict[str, Ranking]
    overall: Ranking
    transfer: dict[str, Transfer]


@np.errstate(over="ignore", invalid="ignore")  # values near the largest number give no interval, and nothing to say
def standings(group: Group, resamples: Mapping[str, Resamples]) -> Standings:
    """Return the standings of a group; ``resamples`` by ``file_stem`` may lack some records and have others."""
    seen = _Seen({path.stem: record for record, path in group.written}, resamples)
    tasks = group.recipe.tasks
    samples = {task.name: seen.samples(task) for task in tasks}
    signs = {task.name: _sign(group.records, task) for task in tasks}
    return Standings(
        {name: _ranking(found, seen, signs[name], "no value on test") for name, found in samples.items()},
        _ranking(_overall(tasks, samples, seen), seen, 1.0, "not every task has a value and a constant predictor"),
        _transfers(tasks, samples, signs, seen),
    )


def pair(first: Record, second: Record, resamples: Mapping[str, Resamples]) -> dict[str, Pair]:
    """Return the effect on each task that both have a value of, ranked or not; both must have joint resamples."""
    seen = _Seen({record.file_stem: record for record in (first, second)}, resamples)
    found = {}
    for task in first.recipe.tasks:
        samples = {stem: sample for stem, sample in seen.samples(task).items() if sample and sample.replicates.size}
        if len(samples) == 2:  # noqa: PLR2004
            [found[task.name]] = _pairs(samples, seen, _sign([first, second], task))
    return found


class _Seen:
    """Records by ``file_stem``, and those of their resamples that drew the same clusters."""

    def __init__(self, records: Mapping[str, Record], resamples: Mapping[str, Resamples]) -> None:
        self.records = records
        own = {
            stem: resamples[stem]
            for stem, record in records.items()
            if stem in resamples and resamples[stem].predictions == record.predictions.sha256
        }
        drawn = {stem: (each.draws, each.count, each.clusters, each.number) for stem, each in own.items()}
        usual = max(Counter(drawn.values()).items(), key=itemgetter(1), default=(("", 0, "users", 0), 0))[0]
        self.joint = {stem: each for stem, each in own.items() if drawn[stem] == usual}
        self.unit: str = usual[2]
        self.clusters: int = usual[3]
        self._others = own.keys() - self.joint.keys()

    def seeds(self, stem: str) -> int:
        """Return the number of seeds."""
        return len(self.records[stem].recipe.seeds)

    def samples(self, task: Task) -> dict[str, Sample | None]:
        """Return the samples of a task; None where any seed has no value."""
        return {stem: self._sample(stem, task) for stem in self.records}

    def _sample(self, stem: str, task: Task) -> Sample | None:
        values = summary.values(self.records[stem], task.name, task.primary)
        if summary.spread(values) is None or len(values) != self.seeds(stem):
            return None
        found = self.joint[stem].tasks.get(task.name) if stem in self.joint else None
        replicates = np.array(found.values if found and found.metric == task.primary else [], float)
        return Sample(np.array(values, float), self.usable(replicates))

    def usable(self, replicates: np.ndarray) -> np.ndarray:
        """Return the replicates, none of them if too many have no value or there is nothing to resample."""
        undefined = np.isnan(replicates).mean() if replicates.size else 1.0
        return replicates if self.clusters > 1 and undefined <= UNDEFINED_AT_MOST else np.empty(0)

    def unranked(self, stem: str, sample: Sample | None, missing: str) -> str:
        """Return why a record is unranked, empty if it is ranked; ``missing`` says why there is no sample."""
        if sample is None:
            return missing
        if (seeds := self.seeds(stem)) < summary.RANKED_SEEDS:
            return f"{seeds} seed{'s' if seeds > 1 else ''}, {summary.RANKED_SEEDS} are needed"
        if stem in self._others:
            return "its resamples are of other test rows, or drawn otherwise, than those of the other records"
        if stem not in self.joint:
            return "not resampled; mtbench compare does it where its predictions are"
        return "" if sample.replicates.size else f"more than {UNDEFINED_AT_MOST:.0%} of the resamples have no value"


def _sign(records: Sequence[Record], task: Task) -> float:
    part = summary.metric_part(records, task.primary)
    return -1.0 if part and not part.higher_is_better else 1.0


def _ranking(samples: Mapping[str, Sample | None], seen: _Seen, sign: float, missing: str) -> Ranking:
    reasons = {stem: seen.unranked(stem, sample, missing) for stem, sample in samples.items()}
    valued = {stem: sample for stem, sample in samples.items() if sample}
    values = dict(zip(valued, _intervals(comparison.means(list(valued.values()), seen.clusters)), strict=True))
    ranked = {stem: sample for stem, sample in valued.items() if not reasons[stem]}
    pairs = _pairs(ranked, seen, sign)
    effects, adjusted = (np.array(column) for column in ([p.effect.mean for p in pairs], [p.adjusted for p in pairs]))
    found = comparison.rank_intervals(effects, adjusted, len(ranked)).tolist()
    ranks = {stem: (first, last) for stem, (first, last) in zip(ranked, found, strict=True)}
    return Ranking(
        {stem: Placing(values.get(stem), ranks.get(stem), reason) for stem, reason in reasons.items()}, pairs
    )


def _pairs(samples: Mapping[str, Sample], seen: _Seen, sign: float) -> list[Pair]:
    if not samples:
        return []
    found = comparison.differences(list(samples.values()), seen.clusters)
    adjusted = comparison.holm(found.p)
    effects = _intervals(found if sign > 0 else found._replace(mean=-found.mean, low=-found.high, high=-found.low))
    columns = (column.tolist() for column in (found.p, adjusted, found.clusters, found.seeds))
    return [
        Pair(first, second, effect, p, holm, {seen.unit: clusters, "seeds": seeds})
        for (first, second), effect, p, holm, clusters, seeds in zip(
            combinations(samples, 2), effects, *columns, strict=True
        )
    ]


def _intervals(found: Estimates) -> list[Interval]:
    return list(map(Interval, found.mean.tolist(), found.low.tolist(), found.high.tolist()))


def _overall(tasks: Sequence[Task], samples: _Samples, seen: _Seen) -> dict[str, Sample | None]:
    """Return the samples of the mean improvement; the constant predictor's values count as known."""
    found: dict[str, Sample | None] = dict.fromkeys(seen.records)
    for stem, own in _whole(tasks, samples).items():
        record = seen.records[stem]
        constants = [summary.bound(record, "constant", task.name, task.primary) for task in tasks]
        known = [constant for constant in constants if constant is not None]
        if summary.improvement(record) is not None and len(known) == len(tasks):
            bests = [record.recipe.metrics[task.primary].best for task in tasks]
            mean = comparison.mean_share(own, known, bests)
            found[stem] = mean._replace(replicates=seen.usable(mean.replicates))
    return found


def _whole(tasks: Sequence[Task], samples: _Samples) -> dict[str, list[Sample]]:
    """Return the samples of the records that have one of every task."""
    own = {stem: [samples[task.name][stem] for task in tasks] for stem in samples[tasks[0].name]}
    return {stem: [each for each in found if each] for stem, found in own.items() if all(found)}


def _transfers(
    tasks: Sequence[Task], samples: _Samples, signs: Mapping[str, float], seen: _Seen
) -> dict[str, Transfer]:
    whole = _whole(tasks, samples)
    origins = [CHANCE if task.primary.startswith(AREAS) else 0.0 for task in tasks]
    references: dict[str, str] = {}
    for stem, own in sorted(whole.items(), key=lambda each: seen.seeds(each[0]) < summary.RANKED_SEEDS):
        above = all(sample.seeds.mean() > origin for sample, origin in zip(own, origins, strict=True))
        if seen.records[stem].recipe.model.name == REFERENCE and above:
            references.setdefault(_terms(seen.records[stem]), stem)
    found = {}
    for stem, own in whole.items():
        reference = references.get(_terms(seen.records[stem]), stem)
        if reference != stem:
            changes = comparison.changes(own, whole[reference], list(signs.values()), origins, seen.clusters)
            *each, mean = _intervals(changes)
            found[stem] = Transfer(reference, dict(zip(signs, each, strict=True)), mean)
    return found


def _terms(record: Record) -> str:
    """Return what a record shares with its reference: what all models were given, and the kind of budget."""
    inputs = record.recipe.inputs
    given = [part.model_dump(mode="json", exclude={"provenance"}) for part in inputs.pooled]
    return dump_canonical_json([inputs.warmup, given, record.recipe.budget.kind])
