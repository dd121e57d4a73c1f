from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtbench.tuning.history import History, Outcome, measure_importances, rank_models, read_history
from mtbench.tuning.worker import work


def made(label, scores):
    outcomes = [
        Outcome(slot, "pruned") if score is None else Outcome(slot, "finished", score, {"click": score})
        for slot, score in enumerate(scores)
    ]
    return History(label, 9, {}, outcomes, 0)


SCORES = st.lists(st.none() | st.integers(-3, 3).map(float), max_size=8)


@given(SCORES)
def test_the_best_so_far_is_the_best_of_the_first_slots(scores):
    found = made("m", scores)
    for at, best in enumerate(found.best_so_far()):
        known = [score for score in scores[: at + 1] if score is not None]
        assert best == (max(known) if known else None)
    known = [score for score in scores if score is not None]
    assert (found.best is None) == (not known)
    if known:
        assert (found.best.score, found.best.slot) == (max(known), scores.index(max(known)))
    assert found.count("pruned") + found.count("finished") == len(scores)


@given(st.lists(SCORES, min_size=1, max_size=4))
def test_a_rank_is_one_more_than_the_models_that_are_better_so_far(many):
    histories = [made(str(index), scores) for index, scores in enumerate(many)]
    found = rank_models(histories)
    for at in range(min(map(len, many))):
        best = [each.best_so_far()[at] for each in histories]
        for each, own in zip(histories, best, strict=True):
            better = sum(other is not None and own is not None and other > own for other in best)
            assert found[each.label][at] == (None if own is None else 1 + better)


@pytest.mark.usefixtures("dial")
def test_the_setting_that_decides_is_the_most_important(begin, tmp_path):
    space = {"model.fault": ["none", "harmless"], "model.seconds": {"low": 0.0, "high": 0.001}}
    _, [study] = begin({"sweep": {"trials": 20, "sampler": "random", "space": space}})
    work("test", str(study.place), tmp_path)
    found = measure_importances(study)
    assert max(found, key=found.get) == "model.dial"
    assert sum(found.values()) == pytest.approx(1)
    assert importances_of_few(begin) == {}


def importances_of_few(begin):
    _, [study] = begin({"sweep": {"trials": 2}}, name="few")
    return measure_importances(study)


@pytest.mark.usefixtures("dial")
def test_a_history_tells_what_is_running_and_in_which_order_slots_come(begin):
    _, [study] = begin()
    taken = [study.take("w") for _ in range(3)]
    for each, score in zip(reversed(taken[:2]), (0.4, 0.9), strict=True):
        each.trial.suggest_float("model.dial", 0, 1)
        each.finish(_complete(), {"tasks": {"click": score}, "epochs": 1, "seconds": 2.0}, score)
    found = read_history(study)
    assert [each.slot for each in found.outcomes] == [0, 1]
    assert found.best_so_far() == [0.9, 0.9]
    assert (found.running, found.slots, found.label) == (1, 4, "dial")
    assert sum(each.seconds for each in found.outcomes) == pytest.approx(4)


def _complete():
    from optuna.trial import TrialState  # noqa: PLC0415

    return TrialState.COMPLETE
