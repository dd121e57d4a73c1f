from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna import Trial
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from mtbench.errors import MTBenchError
from mtbench.experiment import Sweep, load_experiment
from mtbench.tuning.changes import list_changes
from mtbench.tuning.studies import REASON, RELEASED, SLOT, WORKER, ModelStudy, Storage, Taken

MADE = {"data": {"sha256": "aa"}, "space": {"x": {"low": 0.0, "high": 1.0, "log": False}}}
DEFAULTS = {"x": 0.25}


def made(folder, name="s/m", made_of=MADE, **asked):
    sweep = {"trials": 4, "heartbeat": 1} | asked
    experiment = load_experiment({"dataset": "planted", "models": ["mmoe"], "sweep": sweep})
    storage = Storage(f"sqlite:///{folder}/sweep.db", experiment.sweep.heartbeat)
    return storage.make(name, made_of, experiment, DEFAULTS)


def drawn(taken):
    return taken.trial.suggest_float("x", 0, 1)


def die(taken):
    # what another notes of a worker that missed its signs of life
    taken.trial.study.tell(taken.trial, state=TrialState.FAIL)


def test_the_first_slot_has_the_defaults_and_slots_are_taken_in_order(tmp_path):
    study = made(tmp_path)
    taken = [study.take("w") for _ in range(4)]
    assert [each.slot for each in taken] == [0, 1, 2, 3]
    assert drawn(taken[0]) == 0.25
    assert len({drawn(each) for each in taken}) == 4
    assert study.take("w") is None
    for each in taken:
        each.finish(TrialState.COMPLETE, {}, 0.5)
    assert sorted(study.slots().used) == [0, 1, 2, 3]
    assert study.take("w") is None
    assert len(study.trials()) == 4


def use_all(study):
    order = []
    while (taken := study.take("w")) is not None:
        taken.finish(TrialState.COMPLETE, {}, 0.5)
        order.append(taken.slot)
    return order


def test_the_same_budget_adds_nothing_and_a_larger_one_the_rest(tmp_path):
    assert use_all(made(tmp_path)) == [0, 1, 2, 3]
    assert use_all(made(tmp_path)) == []
    assert use_all(made(tmp_path, trials=6)) == [4, 5]


def test_a_smaller_budget_counts_what_is_used_whichever_slots_it_were(tmp_path):
    *_, third, fourth, fifth = (made(tmp_path, trials=6).take("w") for _ in range(5))
    fourth.finish(TrialState.COMPLETE, {}, 0.5)
    fifth.finish(TrialState.COMPLETE, {}, 0.5)
    third.release()
    assert made(tmp_path, trials=4).take("w") is None  # two are used, two are held
    assert use_all(made(tmp_path, trials=5)) == [2]


@pytest.mark.parametrize("end", ["complete", "prune", "fail"])
def test_what_ends_by_itself_uses_its_slot(tmp_path, end):
    study = made(tmp_path, trials=1)
    taken = study.take("w")
    drawn(taken)
    if end == "complete":
        taken.finish(TrialState.COMPLETE, {"epochs": 3}, 0.5)
    elif end == "prune":
        taken.finish(TrialState.PRUNED, {"epochs": 1})
    else:
        taken.fail("out of memory")
    assert list(study.slots().used) == [0]
    assert study.take("w") is None


def test_a_slot_that_is_given_back_is_taken_again_as_often_as_it_is(tmp_path):
    study = made(tmp_path, trials=1, retries=0)
    values = []
    for _ in range(5):
        taken = study.take("w")
        values.append(drawn(taken))
        taken.release()
    assert values == [0.25] * 5
    assert not study.slots().used
    taken.study.take("w").finish(TrialState.COMPLETE, {}, 0.5)
    assert list(study.slots().used) == [0]


def test_a_worker_that_gives_no_sign_of_life_loses_its_slot_and_what_it_brings_late_counts_for_nothing(tmp_path):
    study = made(tmp_path, trials=2)
    late = study.take("dead")
    with late.keep_alive():
        study.take("w").finish(TrialState.COMPLETE, {}, 0.9)
        time.sleep(6)  # more than four signs of life
        assert study.take("w") is None  # it is alive
    assert list(study.slots().running) == [0]
    time.sleep(6)
    again = study.take("w")
    assert (again.slot, again.before) == (0, (late.trial.number,))
    assert drawn(again) == 0.25
    late.finish(TrialState.COMPLETE, {}, 0.98)
    late.finish(TrialState.COMPLETE, {"epochs": 3}, 0.99)
    late.fail("late")
    assert list(study.slots().running) == [0]
    again.finish(TrialState.COMPLETE, {}, 0.7)
    late.release()
    assert {slot: trial.value for slot, trial in study.slots().used.items()} == {0: 0.7, 1: 0.9}


def test_signs_of_life_go_on_after_a_fault_of_the_database(tmp_path, monkeypatch):
    taken, faults, beat = made(tmp_path).take("w"), [StorageInternalError, SQLAlchemyError], threading.Event()

    def record(_):
        if faults:
            raise faults.pop()("it is gone")
        beat.set()

    monkeypatch.setattr(taken.study.storage, "record_heartbeat", record)
    with taken.keep_alive():
        assert beat.wait(60)
    assert not faults


@pytest.mark.parametrize("step", ["beat", "first note", "second note"])
def test_a_worker_that_dies_while_it_takes_a_slot_keeps_it_from_nobody(tmp_path, monkeypatch, step):
    class Died(BaseException):
        pass

    def beat(_):
        raise Died

    def note(trial, *attribute):
        if step == "first note" or trial.user_attrs:
            raise Died
        set_user_attr(trial, *attribute)

    study, set_user_attr = made(tmp_path, trials=2, retries=0), Trial.set_user_attr
    with monkeypatch.context() as patch:
        if step == "beat":
            patch.setattr(Taken, "beat", beat)
        else:
            patch.setattr(Trial, "set_user_attr", note)
        with pytest.raises(Died):
            study.take("w")
    taken = study.take("w")
    assert (taken.slot, taken.before, drawn(taken)) == (0, (), 0.25)
    taken.finish(TrialState.COMPLETE, {}, 0.5)
    assert use_all(study) == [1]


def test_a_slot_of_which_workers_die_too_often_is_used(tmp_path):
    study = made(tmp_path, trials=1, retries=1)
    for _ in range(2):
        die(study.take("w"))
    assert study.take("w") is None
    assert study.slots().used == {0: None}
    assert len(study.trials()) == 2


def test_a_retry_keeps_what_was_drawn(tmp_path):
    study = made(tmp_path, trials=2, retries=3)
    study.take("w").finish(TrialState.COMPLETE, {}, 0.5)
    dying = study.take("w")
    value = drawn(dying)
    die(dying)
    die(study.take("w"))  # it drew nothing
    again = study.take("w")
    assert again.trial.suggest_float("y", 0, 1) != again.trial.suggest_float("z", 0, 1)
    assert drawn(again) == value
    known = again.trial.params
    die(again)
    last = study.take("w")
    assert {name: last.trial.suggest_float(name, 0, 1) for name in "zyx"} == known
    assert len(last.before) == 3


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(tmp_path):
    found = []
    for number, seed in enumerate((1, 1, 2)):
        study = made(tmp_path, f"{number}/m", trials=14, seed=seed)
        values = []
        while (taken := study.take("w")) is not None:
            values.append(drawn(taken))
            taken.finish(TrialState.COMPLETE, {}, -((values[-1] - 0.6) ** 2))
        found.append(values)
    assert found[0] == found[1]
    assert found[0][1:] != found[2][1:]
    assert found[0][0] == found[2][0] == 0.25


def test_the_same_trials_come_after_an_interruption(tmp_path):
    found = []
    for number, interruptions in enumerate(([], [5, 28])):
        study = made(tmp_path, f"{number}/m", trials=42)  # TPE weighs trials by their order, once there are many
        values = []
        while (taken := study.take("w")) is not None:
            value = drawn(taken)
            if len(values) in interruptions:
                interruptions.remove(len(values))
                taken.release()
                study = ModelStudy(Storage(str(study.place), 1), study.name, study.sweep)
                continue
            values.append(value)
            taken.finish(TrialState.COMPLETE, {}, -((value - 0.6) ** 2))
        found.append(values)
    assert found[0] == found[1]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["take", "complete", "prune", "fail", "release", "die", "grow"]), st.integers(0, 3)),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS, st.integers(1, 3), st.integers(0, 2))
def test_whatever_happens_exactly_as_many_slots_are_used_as_were_asked_for(  # noqa: C901, PLR0912 - a line per event
    events, trials, retries
):
    with TemporaryDirectory() as folder:
        study = made(Path(folder), trials=trials, retries=retries)
        held, died, used = [], dict.fromkeys(range(9), 0), set()
        for event, which in events:
            if event == "take":
                if (taken := study.take("w")) is not None:
                    assert taken.slot not in used
                    assert taken.slot not in {other.slot for other in held}
                    held.append(taken)
            elif event == "grow":
                trials = min(trials + 1, 5)
                study = made(Path(folder), trials=trials, retries=retries)
            elif held:
                taken = held.pop(which % len(held))
                drawn(taken)
                if event == "complete":
                    taken.finish(TrialState.COMPLETE, {}, 0.5)
                elif event == "prune":
                    taken.finish(TrialState.PRUNED, {})
                elif event == "fail":
                    taken.fail("it")
                elif event == "release":
                    taken.release()
                else:
                    die(taken)
                    died[taken.slot] += 1
                if event in {"complete", "prune", "fail"} or (died[taken.slot] > retries and event == "die"):
                    used.add(taken.slot)
            assert set(study.slots().used) >= used
        for taken in held:
            taken.release()
        while (taken := study.take("w")) is not None:
            taken.finish(TrialState.COMPLETE, {}, 0.5)
        assert sorted(study.slots().used) == list(range(trials))
        ended = [trial for trial in study.trials() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        assert len({trial.user_attrs["slot"] for trial in ended}) == len(ended)


def test_workers_that_take_at_the_same_time_take_different_slots(tmp_path):
    made(tmp_path, trials=12)
    found, lock = [], threading.Lock()

    def work():
        study = ModelStudy(Storage(f"sqlite:///{tmp_path}/sweep.db", 1), "s/m", Sweep(trials=12, heartbeat=1))
        while (taken := study.take("w")) is not None:
            with lock:
                found.append(taken.slot)
            taken.finish(TrialState.COMPLETE, {}, 0.5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(12))


def test_a_study_made_of_something_else_is_refused_with_the_differences(tmp_path):
    made(tmp_path)
    other = {"data": {"sha256": "bb"}, "space": {"x": {"low": 0.0, "high": 2.0, "log": False}}, "seed": [1]}
    with pytest.raises(MTBenchError) as caught:
        made(tmp_path, made_of=other)
    assert str(caught.value).splitlines()[1:] == [
        "  data.sha256: then 'aa', now 'bb'",
        "  space.x.high: then 1.0, now 2.0",
    ]
    assert "'s/m'" in str(caught.value)


def test_what_only_later_code_knows_is_no_change_and_changed_code_is_named():
    before = {
        "engine": {"distribution": "mtbench", "sha256": "aa"},
        "model": {"name": "ple", "provenance": {"distribution": "mtbench", "sha256": "bb"}},
        "metrics": {"auc": {"provenance": {"sha256": "cc"}}},
    }
    now = json.loads(json.dumps(before)) | {"later": 1}
    assert list_changes(before, now) == []
    now["engine"]["sha256"] = now["model"]["provenance"]["sha256"] = now["metrics"]["auc"]["provenance"]["sha256"] = "d"
    assert list_changes(before, now) == [
        "  the code of the engine: then 'aa', now 'd'",
        "  the code of model ple: then 'bb', now 'd'",
        "  the code of metrics auc: then 'cc', now 'd'",
    ]


def test_many_differences_are_cut_short():
    lines = list_changes({str(key): 0 for key in range(20)}, {"0": 0, "1": 1})
    assert len(lines) == 13
    assert lines[-1] == "  and 7 more"
    assert list_changes({"a": {"b": [1, {}]}}, {"a": {"b": [1, {}]}}) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sweep.db", r"no database address; write sqlite:///FILE or postgresql://USER@HOST/DATABASE"),
        ("mysql://me@host/x", "mysql is not supported; use sqlite or postgresql"),
    ],
)
def test_an_address_that_is_none_is_refused(url, message):
    with pytest.raises(MTBenchError, match=message):
        Storage(url)


def test_a_database_that_is_not_there_is_said_to_be_gone_without_its_password():
    storage = Storage("postgresql://me:secret@127.0.0.1:9/none")
    with (
        pytest.raises(MTBenchError, match=r"the storage postgresql.*refused.*the same command goes on") as caught,
        storage.reach(),
    ):
        storage.names("s")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "sweep.db").write_text("not a database, " * 100)
    storage = Storage(f"sqlite:///{tmp_path}/sweep.db")
    with pytest.raises(MTBenchError, match=r"sweep.db failed: .*not a database"), storage.reach():
        storage.names("s")


def test_what_somebody_queues_takes_the_next_slot_and_none_beside_the_budget(tmp_path):
    study = made(tmp_path, trials=2)
    first = study.take("w")
    for x in (0.5, 0.75):
        study.study.enqueue_trial({"x": x})  # by hand, or from a dashboard
    second = study.take("w")
    assert [(each.slot, drawn(each)) for each in (first, second)] == [(0, 0.25), (1, 0.5)]
    assert study.take("w") is None


def test_a_study_whose_slots_were_all_queued_at_its_beginning_goes_on(tmp_path):
    study = made(tmp_path, trials=6)
    for slot in range(6):
        study.study.enqueue_trial(DEFAULTS if slot == 0 else {}, user_attrs={SLOT: slot})
    for attributes, state in [
        ({}, TrialState.COMPLETE),
        ({}, TrialState.FAIL),
        ({RELEASED: True}, TrialState.FAIL),
        ({REASON: "it"}, TrialState.FAIL),
    ]:
        trial = study.study.ask()
        value = trial.suggest_float("x", 0, 1)
        for name, content in (attributes | {WORKER: "old"}).items():
            trial.set_user_attr(name, content)
        study.study.tell(trial, value if state == TrialState.COMPLETE else None, state)
    drawn_before = [trial.params["x"] for trial in study.trials()[:4]]
    taken = [study.take("w") for _ in range(4)]
    assert [each.slot for each in taken] == [1, 2, 4, 5]
    assert study.take("w") is None
    assert [each.before for each in taken] == [(1,), (2,), (), ()]
    assert drawn_before[0] == 0.25
    assert [drawn(each) for each in taken][:2] == drawn_before[1:3]
    for each in taken:
        each.finish(TrialState.COMPLETE, {}, 0.5)
    assert sorted(study.slots().used) == [0, 1, 2, 3, 4, 5]
