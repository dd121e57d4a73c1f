"""Who is better than whom, by how much and how surely: from the records of a group and their resamples."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtbench.board import values
from mtbench.evaluation import comparison
from mtbench.evaluation.comparison import Estimates, Sample
from mtbench.files import dump_canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.board.groups import Group
    from mtbench.board.resamples import Resamples
    from mtbench.record.form import MetricPart, Record
    from mtbench.schema import Task

    _Samples = Mapping[str, Mapping[str, Sample | None]]

RANKED_SEEDS = 5
UNDEFINED_AT_MOST = 0.1


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval, None where nothing tells how far it varies."""

    mean: float
    low: float | None
    high: float | None


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
    """A record's place on one task.

    ``value`` is the mean over seeds of the primary metric on test, None if undefined. ``whose`` says of what its
    interval is: of the recipe over users, seeds or both, or of one trained model over users; empty where there is none.
    ``ranks`` are the first and the last rank that the data allow, None where unranked, for which there is a reason.
    """

    value: Interval | None
    ranks: tuple[int, int] | None
    reason: str
    whose: str = ""


class Ranking(NamedTuple):
    """One task of a group, or all of its tasks together: every record's placing, and the pairs of those ranked."""

    placings: dict[str, Placing]
    pairs: list[Pair]


class Transfer(NamedTuple):
    """A record against a record of its baseline, the model that it names, with the same inputs and kind of budget.

    ``tasks`` are the relative changes of the primary metrics, 0.01 being 1 % better, and ``mean`` is delta-m. A metric
    counts from its chance level, or from 0 if it has none. Where either has no resamples the intervals are those of the
    seeds alone.
    """

    baseline: str
    tasks: dict[str, Interval]
    mean: Interval


class Standings(NamedTuple):
    """What may be said of a group; ``tasks`` by name, in the group's order, ``transfer`` by ``file_stem``.

    ``overall`` ranks the mean improvement, the share of the way from the constant predictor to a perfect model.
    ``transfer`` has the records with a value of every task for which there is a record of their baseline.
    """

    tasks: dict[str, Ranking]
    overall: Ranking
    transfer: dict[str, Transfer]


@np.errstate(over="ignore", invalid="ignore")  # values near the largest number give no interval, and nothing to say
def compute_standings(group: Group, resamples: Mapping[str, Resamples]) -> Standings:
    """Return the standings of a group; ``resamples`` by ``file_stem`` may lack some records and have others."""
    seen = _Seen({path.stem: record for record, path in group.written}, resamples)
    tasks = group.recipe.tasks
    samples = {task.name: seen.collect(task) for task in tasks}
    signs = {task.name: _find_sign(group.records, task) for task in tasks}
    overall = _average_tasks(tasks, samples, seen)
    return Standings(
        {name: _rank(of_task, seen, signs[name], "no value on test") for name, of_task in samples.items()},
        _rank(overall, seen, 1.0, "not every task has a value and a constant predictor"),
        _measure_transfer(tasks, samples, seen),
    )


def compare_pair(first: Record, second: Record, resamples: Mapping[str, Resamples]) -> dict[str, Pair]:
    """Return the effect on each task that both have a value of, ranked or not; both must have joint resamples."""
    seen = _Seen({record.file_stem: record for record in (first, second)}, resamples)
    pairs = {}
    for task in first.recipe.tasks:
        samples = {stem: sample for stem, sample in seen.collect(task).items() if sample and sample.replicates.size}
        if len(samples) == 2:  # noqa: PLR2004
            [pairs[task.name]] = _compare_all(samples, seen, _find_sign([first, second], task))
    return pairs


class _Seen:
    """Records by ``file_stem``, and those of their resamples that drew the same clusters."""

    def __init__(self, records: Mapping[str, Record], resamples: Mapping[str, Resamples]) -> None:
        self.records = records
        own = {
            stem: resamples[stem]
            for stem, record in records.items()
            if stem in resamples and resamples[stem].predictions == record.predictions.sha256
        }
        drawn = {stem: (one.draws, one.count, one.clusters, one.number) for stem, one in own.items()}
        usual = max(Counter(drawn.values()).items(), key=itemgetter(1), default=(("", 0, "users", 0), 0))[0]
        self.joint = {stem: one for stem, one in own.items() if drawn[stem] == usual}
        self.unit: str = usual[2]
        self.clusters: int = usual[3]
        self._others = own.keys() - self.joint.keys()

    def count_seeds(self, stem: str) -> int:
        """Return the number of seeds."""
        return len(self.records[stem].recipe.seeds)

    def collect(self, task: Task) -> dict[str, Sample | None]:
        """Return the samples of a task; None where any seed has no value."""
        return {stem: self._sample(stem, task) for stem in self.records}

    def _sample(self, stem: str, task: Task) -> Sample | None:
        numbers = values.list_values(self.records[stem], task.name, task.primary)
        if values.summarize(numbers) is None or len(numbers) != self.count_seeds(stem):
            return None
        drawn = self.joint[stem].tasks.get(task.name) if stem in self.joint else None
        replicates = np.array(drawn.values if drawn and drawn.metric == task.primary else [], float)
        limits = _find_limits(self.records[stem].recipe.metrics.get(task.primary))
        return Sample(np.array(numbers, float), self.keep_usable(replicates), limits)

    def keep_usable(self, replicates: np.ndarray) -> np.ndarray:
        """Return the replicates, none of them if too many have no value or there is nothing to resample."""
        undefined = np.isnan(replicates).mean() if replicates.size > 1 else 1.0
        return replicates if self.clusters > 1 and undefined <= UNDEFINED_AT_MOST else np.empty(0)

    def tell_whose(self, sample: Sample) -> str:
        """Return of what the interval of a sample is."""
        varied = [self.unit] * bool(sample.replicates.size) + ["seeds"] * (len(sample.seeds) > 1)
        one = "this trained model" if len(sample.seeds) == 1 else "the recipe"
        return f"of {one}, over {' and '.join(varied)}" if varied else ""

    def explain(self, stem: str, sample: Sample | None, missing: str) -> str:
        """Return why a record is unranked, empty if it is ranked; ``missing`` says why there is no sample."""
        if sample is None:
            return missing
        if (seeds := self.count_seeds(stem)) < RANKED_SEEDS:
            return f"{seeds} seed{'s' if seeds > 1 else ''}, {RANKED_SEEDS} are needed"
        if stem in self._others:
            return "its resamples are of other test rows, or drawn otherwise, than those of the other records"
        if stem not in self.joint:
            return "not resampled; mtbench compare does it where its predictions are"
        return "" if sample.replicates.size else f"more than {UNDEFINED_AT_MOST:.0%} of the resamples have no value"


def _find_sign(records: Sequence[Record], task: Task) -> float:
    part = values.find_metric(records, task.primary)
    return -1.0 if part and not part.higher_is_better else 1.0


def _find_limits(metric: MetricPart | None) -> tuple[float, float]:
    low, high = metric.limits if metric else (None, None)
    return -math.inf if low is None else low, math.inf if high is None else high


def _rank(samples: Mapping[str, Sample | None], seen: _Seen, sign: float, missing: str) -> Ranking:
    reasons = {stem: seen.explain(stem, sample, missing) for stem, sample in samples.items()}
    valued = {stem: sample for stem, sample in samples.items() if sample}
    means = comparison.means(list(valued.values()), seen.clusters)
    intervals = dict(zip(valued, _list_intervals(means), strict=True))
    ranked = {stem: sample for stem, sample in valued.items() if not reasons[stem]}
    pairs = _compare_all(ranked, seen, sign)
    effects, adjusted = (np.array(column) for column in ([p.effect.mean for p in pairs], [p.adjusted for p in pairs]))
    ends = comparison.rank_intervals(effects, adjusted, len(ranked)).tolist()
    ranks = {stem: (first, last) for stem, (first, last) in zip(ranked, ends, strict=True)}
    whose = {stem: seen.tell_whose(sample) for stem, sample in valued.items()}
    placings = {
        stem: Placing(intervals.get(stem), ranks.get(stem), reason, whose.get(stem, ""))
        for stem, reason in reasons.items()
    }
    return Ranking(placings, pairs)


def _compare_all(samples: Mapping[str, Sample], seen: _Seen, sign: float) -> list[Pair]:
    if not samples:
        return []
    estimates = comparison.differences(list(samples.values()), seen.clusters)
    adjusted = comparison.holm(estimates.p)
    signed = estimates
    if sign < 0:
        signed = estimates._replace(mean=-estimates.mean, low=-estimates.high, high=-estimates.low)
    columns = (column.tolist() for column in (estimates.p, adjusted, estimates.clusters, estimates.seeds))
    return [
        Pair(first, second, effect, p, holm, {seen.unit: clusters, "seeds": seeds})
        for (first, second), effect, p, holm, clusters, seeds in zip(
            combinations(samples, 2), _list_intervals(signed), *columns, strict=True
        )
    ]


def _list_intervals(estimates: Estimates) -> list[Interval]:
    ends = ([None if math.isnan(end) else end for end in side.tolist()] for side in (estimates.low, estimates.high))
    return list(map(Interval, estimates.mean.tolist(), *ends))


def _average_tasks(tasks: Sequence[Task], samples: _Samples, seen: _Seen) -> dict[str, Sample | None]:
    """Return the samples of the mean improvement; the constant predictor's values count as known."""
    averages: dict[str, Sample | None] = dict.fromkeys(seen.records)
    for stem, own in _keep_whole(tasks, samples).items():
        record = seen.records[stem]
        constants = [values.find_bound(record, "constant", task.name, task.primary) for task in tasks]
        known = [constant for constant in constants if constant is not None]
        if values.average_improvement(record) is not None and len(known) == len(tasks):
            bests = [record.recipe.metrics[task.primary].best for task in tasks]
            mean = comparison.mean_share(own, known, bests)
            averages[stem] = mean._replace(replicates=seen.keep_usable(mean.replicates))
    return averages


def _keep_whole(tasks: Sequence[Task], samples: _Samples) -> dict[str, list[Sample]]:
    """Return the samples of the records that have one of every task."""
    whole = {}
    for stem in samples[tasks[0].name]:
        own = [sample for task in tasks if (sample := samples[task.name][stem])]
        if len(own) == len(tasks):
            whole[stem] = own
    return whole


def _measure_transfer(tasks: Sequence[Task], samples: _Samples, seen: _Seen) -> dict[str, Transfer]:
    whole = _keep_whole(tasks, samples)
    metrics = [values.find_metric(seen.records.values(), task.primary) for task in tasks]
    origins = [0.0 if metric is None or metric.chance is None else metric.chance for metric in metrics]
    # away from chance is better, whichever way that is; from 0, only where higher is better
    signs = [-1.0 if metric and metric.chance is None and not metric.higher_is_better else 1.0 for metric in metrics]
    baselines = _find_baselines(whole, metrics, seen)
    transfer = {}
    for stem, own in whole.items():
        record = seen.records[stem]
        baseline = baselines.get((record.baseline, _list_terms(record)), stem)
        if baseline != stem:
            changes = comparison.changes(own, whole[baseline], signs, origins, seen.clusters)
            *by_task, mean = _list_intervals(changes)
            transfer[stem] = Transfer(
                baseline, {task.name: change for task, change in zip(tasks, by_task, strict=True)}, mean
            )
    return transfer


def _find_baselines(
    whole: Mapping[str, Sequence[Sample]], metrics: Sequence[MetricPart | None], seen: _Seen
) -> dict[tuple[str | None, str], str]:
    """Return the record of each model that others name as their baseline, by its name and its terms.

    One with enough seeds to be ranked goes before others; one that is no better than chance is none.
    """
    named = {record.baseline for record in seen.records.values()}
    baselines: dict[tuple[str | None, str], str] = {}
    for stem in sorted(whole, key=lambda stem: seen.count_seeds(stem) < RANKED_SEEDS):
        record = seen.records[stem]
        good = all(_beats_chance(sample, metric) for sample, metric in zip(whole[stem], metrics, strict=True))
        if record.recipe.model.name in named and good:
            baselines.setdefault((record.recipe.model.name, _list_terms(record)), stem)
    return baselines


def _beats_chance(sample: Sample, metric: MetricPart | None) -> bool:
    mean = float(sample.seeds.mean())
    if metric is None or metric.chance is None:
        return mean > 0
    return mean > metric.chance if metric.higher_is_better else mean < metric.chance


def _list_terms(record: Record) -> str:
    """Return what a record shares with its baseline: the inputs that all models have, and the kind of budget."""
    inputs = record.recipe.inputs
    pooled = [part.model_dump(mode="json", exclude={"provenance"}) for part in inputs.pooled]
    return dump_canonical_json([inputs.warmup, pooled, record.recipe.budget.kind])
