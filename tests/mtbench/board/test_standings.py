from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mtbench.board.groups import group_records
from mtbench.board.resamples import Resamples
from mtbench.board.standings import Interval, compare_pair, compute_standings
from mtbench.evaluation import comparison
from mtbench.evaluation.comparison import Sample, changes, differences, holm, means
from mtbench.record.store import Written

CLUSTERS = 500
COUNT = 200
CONSTANT = {"constant": {"click": {"auc": 0.5}, "rating": {"rmse": 2.0}}}


@pytest.fixture
def made(make_record):
    """Return a function that makes a record and its resamples of a model of known AUC of click and RMSE of rating."""

    def make(model="mmoe", click=0.7, rating=1.0, *, seeds=5, spread=0.001, seed=None, missing=0, **changes):
        rng = np.random.default_rng([ord(letter) for letter in model] if seed is None else seed)
        users = 0.002 * np.random.default_rng(0).normal(size=COUNT)
        results = {
            "click": {"auc": list(click + spread * rng.normal(size=seeds))},
            "rating": {"rmse": [None if rating is None else rating + spread * rng.normal() for _ in range(seeds)]},
        }
        record = make_record(model, results, **({"bounds": CONSTANT} | changes))
        own = 0.0005 * rng.normal(size=(2, COUNT)) if spread else np.zeros((2, COUNT))
        shown = [click + users + own[0], (rating or 0) - 2 * users + own[1]]
        tasks = {
            task: {"metric": metric, "values": [None] * missing + list(values[missing:])}
            for (task, metric), values in zip((("click", "auc"), ("rating", "rmse")), shown, strict=True)
        }
        return record, Resamples(
            clusters="users", number=CLUSTERS, draws="same", count=COUNT, tasks=tasks, record=record.file_stem,
            predictions=record.predictions.sha256,
        )  # fmt: skip

    return make


def stand(*pairs):
    (group,) = group_records(Written(record, Path(f"{record.file_stem}.json")) for record, _ in pairs)
    return compute_standings(group, {found.record: found for _, found in pairs if found})


def sample(record, found, task, metric):
    return Sample(np.array(record.results[task][metric].test, float), np.array(found.tasks[task].values, float))


def test_clearly_better_models_stand_above_and_equal_ones_together(made):
    best, twin, worst = made("best", 0.75, 0.9), made("twin", 0.75, 0.9), made("worst", 0.6, 1.4)
    found = stand(worst, twin, best)
    assert list(found.tasks) == ["click", "rating"]
    for ranking in (*found.tasks.values(), found.overall):
        ranks = {name: ranking.placings[record.file_stem].ranks for name, (record, _) in
                 {"best": best, "twin": twin, "worst": worst}.items()}  # fmt: skip
        assert ranks == {"best": (1, 2), "twin": (1, 2), "worst": (3, 3)}
        assert all(placing.reason == "" for placing in ranking.placings.values())
        for each in ranking.pairs:
            if worst[0].file_stem in {each.first, each.second}:
                assert (each.effect.mean > 0) == (each.second == worst[0].file_stem)
                assert each.adjusted < 0.05


def test_a_ranking_is_what_the_comparison_says(made):
    three = [made(model, click, rating) for model, click, rating in (("a", 0.7, 1), ("b", 0.701, 1.002), ("c", 0.7, 1))]
    found = stand(*three)
    by_stem = {record.file_stem: (record, one) for record, one in three}
    for (task, metric), sign in ((("click", "auc"), 1), (("rating", "rmse"), -1)):
        ranking = found.tasks[task]
        stems = list(ranking.placings)
        samples = [sample(*by_stem[stem], task, metric) for stem in stems]
        expected = differences(samples, CLUSTERS)
        assert [(each.first, each.second) for each in ranking.pairs] == list(combinations(stems, 2))
        assert [each.effect.mean for each in ranking.pairs] == pytest.approx(sign * expected.mean)
        ends = [(each.effect.low, each.effect.high) for each in ranking.pairs]
        sides = (expected.low, expected.high) if sign > 0 else (-expected.high, -expected.low)
        assert ends == [pytest.approx(each) for each in zip(*sides, strict=True)]
        assert [each.p for each in ranking.pairs] == pytest.approx(expected.p)
        assert [each.adjusted for each in ranking.pairs] == pytest.approx(holm(expected.p))
        assert [each.sources["users"] for each in ranking.pairs] == pytest.approx(expected.clusters)
        assert all(sum(each.sources.values()) == pytest.approx(1) for each in ranking.pairs)
        own = means(samples, CLUSTERS)
        values = [ranking.placings[stem].value for stem in stems]
        assert [(value.low, value.high) for value in values] == [
            pytest.approx(each) for each in zip(own.low, own.high, strict=True)
        ]
    (record, _) = three[0]
    share = (record.mean("click", "auc") - 0.5) / 0.5, (2 - record.mean("rating", "rmse")) / 2
    assert found.overall.placings[record.file_stem].value.mean == pytest.approx(np.mean(share))


def test_what_is_unranked_says_why_and_keeps_its_value(made):
    good, few, one, claimed = made("good"), made("few", seeds=3), made("one", seeds=1), made("claimed")
    undefined, holes, late = made("undefined", rating=None), made("holes", missing=30), made("late")
    late[1].__dict__["draws"] = "others"
    other = made("other")
    other[1].__dict__["predictions"] = "0" * 64
    found = stand(good, few, one, (claimed[0], None), undefined, holes, late, other)
    rating = {record.recipe.model.name: found.tasks["rating"].placings[record.file_stem] for record, _ in
              (good, few, one, claimed, undefined, holes, late, other)}  # fmt: skip
    assert {name: placing.reason for name, placing in rating.items()} == {
        "good": "",
        "few": "3 seeds, 5 are needed",
        "one": "1 seed, 5 are needed",
        "claimed": "not resampled; mtbench compare does it where its predictions are",
        "undefined": "no value on test",
        "holes": "more than 10% of the resamples have no value",
        "late": "its resamples are of other test rows, or drawn otherwise, than those of the other records",
        "other": "not resampled; mtbench compare does it where its predictions are",
    }
    assert {name for name, placing in rating.items() if placing.ranks} == {"good"}
    assert rating["good"].ranks == (1, 1)
    assert [name for name, placing in rating.items() if placing.value is None] == ["undefined"]
    click = found.tasks["click"].placings[undefined[0].file_stem]
    assert click.reason == ""
    assert click.ranks == (1, 2)
    overall = found.overall.placings[undefined[0].file_stem]
    assert (overall.value, overall.ranks) == (None, None)
    assert "every task" in overall.reason
    assert found.tasks["rating"].pairs == []
    seeds_alone = means([Sample(np.array(claimed[0].results["click"]["auc"].test), np.empty(0))], 2)
    value = found.tasks["click"].placings[claimed[0].file_stem].value
    assert (value.low, value.high) == pytest.approx((seeds_alone.low[0], seeds_alone.high[0]))
    alone = stand((one[0], None)).tasks["click"].placings[one[0].file_stem].value
    assert alone == (one[0].mean("click", "auc"), None, None)


def test_an_interval_says_whose_it_is(made):
    five, one = made("five"), made("one", seeds=1)
    click = stand(five, one).tasks["click"].placings
    assert click[five[0].file_stem].whose == "of the recipe, over users and seeds"
    assert click[one[0].file_stem].whose == "of this trained model, over users"
    bare = stand((five[0], None), (one[0], None)).tasks["click"].placings
    assert bare[five[0].file_stem].whose == "of the recipe, over seeds"
    assert bare[one[0].file_stem].whose == ""


def test_one_seed_without_resamples_is_unclear_wherever_it_is_shown(made):
    baseline, one = made("single-task", 0.6, 2.0, seeds=1), made("mmoe", 0.9, 1.0, seeds=1)
    transfer = stand((baseline[0], None), (one[0], None)).transfer[one[0].file_stem]
    assert transfer.mean.mean > 0.5
    assert {transfer.mean.low, transfer.mean.high, transfer.tasks["click"].low} == {None}


def test_two_seeds_far_apart_have_an_interval_within_the_metric(make_record):
    record = make_record("mmoe", {"click": {"auc": [0.3, 0.66]}})
    [value] = [placing.value for placing in stand((record, None)).tasks["click"].placings.values()]
    assert value == (0.48, 0.0, 1.0)


def test_a_few_undefined_resamples_rank_nobody_out(made):
    found = stand(made("a", missing=10), made("b", 0.8, missing=5))
    assert sorted(placing.ranks for placing in found.tasks["click"].placings.values()) == [(1, 1), (2, 2)]


def test_without_resamples_and_without_ranked_records_nothing_breaks(made):
    record, _ = made("a", seeds=2)
    found = stand((record, None))
    assert found.overall.pairs == []
    assert found.transfer == {}
    bare = made("b", bounds={})
    assert stand(bare).overall.placings[bare[0].file_stem].value is None


def test_the_constant_predictor_has_a_place(made):
    constant, same = (made("constant", 0.5, 2.0, spread=0, settings={"of": of}) for of in (1, 2))
    for each in (constant, same):
        each[1].tasks["click"].__dict__["values"] = [0.5] * COUNT
    good = made("mmoe", 0.7, 1.0)
    click = stand(constant, good, same).tasks["click"]
    assert click.placings[constant[0].file_stem] == (
        Interval(0.5, 0.5, 0.5),
        (2, 3),
        "",
        "of the recipe, over users and seeds",
    )
    assert click.placings[good[0].file_stem].ranks == (1, 1)
    (tie,) = (each for each in click.pairs if good[0].file_stem not in {each.first, each.second})
    assert tie.adjusted == tie.p == 1
    assert tie.sources == {"users": 0, "seeds": 0}


def test_transfer_is_measured_from_the_baseline_of_the_same_inputs_and_budget(made):
    baseline, model = made("single-task", 0.7, 1.0), made("mmoe", 0.72, 1.1)
    found = stand(baseline, model).transfer
    assert list(found) == [model[0].file_stem]
    transfer = found[model[0].file_stem]
    assert transfer.baseline == baseline[0].file_stem
    samples = [[sample(*each, "click", "auc"), sample(*each, "rating", "rmse")] for each in (model, baseline)]
    expected = changes(*samples, [1, -1], [0.5, 0.0], CLUSTERS)
    assert [*transfer.tasks.values(), transfer.mean] == [
        pytest.approx(each) for each in zip(expected.mean, expected.low, expected.high, strict=True)
    ]
    assert transfer.tasks["click"].low > 0.08
    assert transfer.tasks["rating"].high < -0.08


INPUT = {"name": "rates", "settings": {}, "version": 1, "transductive": False}
CODE = {"distribution": "mtbench", "sha256": "0" * 64}


def test_each_record_has_its_own_baseline(made):
    tuned = {"budget": {"kind": "tuned", "trials": 5}}
    pooled = {"inputs": {"warmup": 0.0, "asked": [], "pooled": [INPUT | {"provenance": CODE}]}}
    made_ = {
        name: made(model, click, **changes)
        for name, model, click, changes in (
            ("plain", "single-task", 0.6, {}),
            ("few", "single-task", 0.7, {"seeds": 2}),
            ("tuned", "single-task", 0.65, tuned),
            ("model", "mmoe", 0.7, {}),
            ("tuned model", "mmoe", 0.7, tuned),
            ("model of pooled inputs", "mmoe", 0.7, pooled),
            ("undefined model", "ple", 0.7, {"rating": None}),
        )
    }
    found = stand(*made_.values()).transfer
    stems = {name: record.file_stem for name, (record, _) in made_.items()}
    assert {name: found[stem].baseline for name, stem in stems.items() if stem in found} == {
        "few": stems["plain"],
        "model": stems["plain"],
        "tuned model": stems["tuned"],
    }


def test_a_baseline_no_better_than_chance_measures_nothing(made):
    assert stand(made("single-task", 0.45), made("mmoe")).transfer == {}


def test_records_of_one_table_may_name_different_baselines_or_none(made):
    rows = {
        name: made(model, click, baseline=baseline)
        for name, model, click, baseline in (
            ("first", "alone", 0.6, "alone"),
            ("second", "shared", 0.65, "alone"),
            ("third", "deep", 0.7, "shared"),
            ("fourth", "deeper", 0.72, None),
            ("fifth", "deepest", 0.74, "absent"),
            ("sixth", "single-task", 0.7, "single-task"),
        )
    }
    stems = {name: record.file_stem for name, (record, _) in rows.items()}
    transfer = stand(*rows.values()).transfer
    assert {stem: one.baseline for stem, one in transfer.items()} == {
        stems["second"]: stems["first"],
        stems["third"]: stems["second"],
    }
    first, third = (rows[name][0].mean("click", "auc") for name in ("second", "third"))
    assert transfer[stems["third"]].tasks["click"].mean == pytest.approx((third - first) / (first - 0.5))


@pytest.mark.parametrize(
    ("higher", "best", "chance", "baseline", "model", "change"),
    [
        (True, 1.0, 0.5, 0.7, 0.72, 0.1),
        (True, 1.0, None, 0.5, 0.6, 0.2),
        (True, 100.0, 20.0, 30.0, 25.0, -0.5),
        (False, 0.0, None, 1.0, 0.8, 0.2),
        (False, 0.0, 1.0, 0.8, 0.7, 0.5),  # such as a normalized entropy: twice as far below chance would be 1
        (False, 0.0, 1.0, 0.8, 0.9, -0.5),
        (False, 0.0, 1.0, 1.2, 0.9, None),
        (True, 1.0, 0.5, 0.4, 0.9, None),
    ],
)
def test_changes_count_from_the_chance_level_that_the_record_names(
    make_record, higher, best, chance, baseline, model, change
):
    def make(name, value):
        record = make_record(name, {"click": {"odd": [value] * 5}}, metrics={"odd": metric})
        return record, None

    metric = {
        "version": 1, "higher_is_better": higher, "best": best, "chance": chance,
        "provenance": CODE,
    }  # fmt: skip
    one, other = make("single-task", baseline), make("mmoe", model)
    transfer = stand(one, other).transfer
    if change is None:
        assert transfer == {}
    else:
        assert transfer[other[0].file_stem].mean.mean == pytest.approx(change)


def test_a_pair_needs_no_rank(made):
    first, second = made("a", 0.72, seeds=1), made("b", 0.7, seeds=2, rating=None)
    found = compare_pair(first[0], second[0], {each.record: each for _, each in (first, second)})
    assert list(found) == ["click"]
    assert found["click"].effect.mean == pytest.approx(first[0].mean("click", "auc") - second[0].mean("click", "auc"))
    assert found["click"].adjusted == found["click"].p


def test_all_pairs_are_compared_in_one_go_and_as_if_alone(made, monkeypatch):
    records = [made(f"m{number}", 0.7 + number / 1000, seed=number) for number in range(30)]
    alone = compare_pair(records[3][0], records[20][0], {one.record: one for _, one in records})
    sizes = []

    def counted(samples, clusters):
        sizes.append(len(samples))
        return differences(samples, clusters)

    monkeypatch.setattr(comparison, "differences", counted)
    together = stand(*records)
    assert sizes == [30, 30, 30]  # click, rating, both: not once for each of 435 pairs
    assert len(together.overall.pairs) == 435
    for task, expected in alone.items():
        (same,) = (
            one for one in together.tasks[task].pairs
            if {one.first, one.second} == {records[3][0].file_stem, records[20][0].file_stem}
        )  # fmt: skip
        assert abs(same.effect.mean) == pytest.approx(abs(expected.effect.mean))
        assert same.p == pytest.approx(expected.p)
        assert same.adjusted >= same.p
