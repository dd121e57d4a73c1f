from __future__ import annotations

import numpy as np
import pytest
import torch
from optuna.trial import TrialState

from mtbench.errors import MTBenchError
from mtbench.tuning.history import read_history
from mtbench.tuning.trials import SweepPlan
from mtbench.tuning.worker import work

NETWORK = {
    "models": [{"name": "shared-bottom", "bottom_layers": [8], "tower_layers": [], "embedding_dim": 4, "norm": "none"}],
    "dataset": {"name": "planted", "rows": 4000, "users": 100, "items": 50},
    "training": {"max_epochs": 4, "batch_size": 512, "accelerator": "cpu", "patience": 4},
}


def worked(begin, tmp_path, changes):
    sweep_plan, studies = begin(changes)
    count = work("test", str(studies[0].place), tmp_path / "work")
    return sweep_plan, studies, count


@pytest.mark.usefixtures("dial")
def test_trials_are_judged_on_validation_alone_and_the_best_is_found(begin, tmp_path):
    sweep_plan, [study], count = worked(begin, tmp_path, {"sweep": {"trials": 25, "heartbeat": 1}})
    found = read_history(study)
    assert count == 25
    assert [each.slot for each in found.outcomes] == list(range(25))
    assert found.outcomes[0].params == {"model.dial": 0.2}
    assert abs(found.best.params["model.dial"] - 0.7) < 0.1
    scores = [each.score for each in found.outcomes]
    assert found.best.score == max(scores)
    order = np.argsort([abs(each.params["model.dial"] - 0.7) for each in found.outcomes])
    assert np.corrcoef(np.arange(25), np.array(scores)[order])[0, 1] < -0.9
    for each in found.outcomes:
        constant = sweep_plan.scorer.constant
        shares = [(value - constant[task]) / (1 - constant[task]) for task, value in each.tasks.items()]
        assert each.score == pytest.approx(np.mean(shares), abs=1e-12)
    assert sweep_plan.columns.test_opened == 0


@pytest.mark.usefixtures("dial")
def test_models_take_turns(begin, tmp_path):
    log = tmp_path / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAL_LOG", str(log))
        worked(begin, tmp_path, {"models": [{"name": "dial", "seconds": 0.01}, "dial"], "sweep": {"trials": 3}})
    starts = [line.split()[1] for line in log.read_text().splitlines()]
    assert starts[0::2] == starts[1::2]  # the sampler's seed is one for all models, and they take turns


@pytest.mark.usefixtures("dial")
@pytest.mark.parametrize(
    ("fault", "reason"), [("bug", "RuntimeError: there is a bug"), ("memory", "out of memory: MemoryError")]
)
def test_what_fails_by_its_own_fault_uses_its_slot_with_the_reason(begin, tmp_path, fault, reason):
    space = {"model.fault": ["none", fault]}
    _, [study], count = worked(begin, tmp_path, {"sweep": {"trials": 8, "space": space}})
    failed = [each for each in read_history(study).outcomes if each.state == "failed"]
    assert count == 8
    assert 0 < len(failed) < 8
    for each in failed:
        assert (each.reason, each.params["model.fault"]) == (reason, fault)
    for each in read_history(study).finished:
        assert each.params["model.fault"] == "none"


def test_a_loss_that_is_not_finite_is_a_failed_trial(begin, tmp_path):
    space = {"training.learning_rate": [0.001, 1e30]}
    changes = NETWORK | {"sweep": {"trials": 6, "space": space, "sampler": "random"}}
    _, [study], _ = worked(begin, tmp_path, changes)
    failed = [each for each in read_history(study).outcomes if each.params["training.learning_rate"] == 1e30]
    assert failed
    assert {each.state for each in failed} == {"failed"}
    assert all("the loss of task" in each.reason for each in failed)
    assert all(each.state != "failed" for each in read_history(study).outcomes if each not in failed)


@pytest.mark.usefixtures("dial")
def test_a_score_that_is_no_number_is_a_failed_trial(begin, tmp_path, monkeypatch):
    monkeypatch.setattr(SweepPlan, "score", lambda *_: float("nan"))
    _, [study], count = worked(begin, tmp_path, {"sweep": {"trials": 2}})
    assert count == 2
    assert [each.reason for each in read_history(study).outcomes] == ["ValueError: The value nan is not acceptable"] * 2


@pytest.mark.parametrize("pruner", ["halving", "median"])
def test_a_pruned_trial_has_fewer_epochs_and_the_same_scores_up_to_there(begin, tmp_path, pruner):
    space = {"training.learning_rate": {"low": 1e-6, "high": 1e-2, "log": True}}
    keep = {"weight_decay": 0.0}
    found = {}
    for name in ("none", pruner):
        changes = NETWORK | {
            "training": NETWORK["training"] | keep,
            "balancer": {"name": "equal"},
            "sweep": {"trials": 9, "space": space, "pruner": name, "sampler": "random", "heartbeat": 1},
        }
        _, [study] = begin(changes, name=name)
        work(name, str(study.place), tmp_path / name)
        found[name] = study.trials()
    full, short = found["none"], found[pruner]
    assert {trial.state for trial in full} == {TrialState.COMPLETE}
    pruned = [trial for trial in short if trial.state == TrialState.PRUNED]
    assert pruned
    for one, other in zip(full, short, strict=True):
        assert one.params == other.params
        assert other.intermediate_values == {
            epoch: value for epoch, value in one.intermediate_values.items() if epoch in other.intermediate_values
        }
        if other.state == TrialState.COMPLETE:
            assert other.value == one.value
    epochs = [sum(trial.user_attrs["epochs"] for trial in trials) for trials in (full, short)]
    assert epochs[1] < epochs[0]
    assert max(t.value for t in short if t.state == TrialState.COMPLETE) == max(t.value for t in full)


def test_parameters_and_operations_are_those_of_the_drawn_network(begin, tmp_path):
    space = {"model.bottom_layers": [[8], [64]]}
    changes = NETWORK | {"sweep": {"trials": 5, "space": space, "sampler": "random"}}
    sweep_plan, [study], _ = worked(begin, tmp_path, changes)
    for each in read_history(study).finished:
        [candidate] = sweep_plan.candidates
        plan = sweep_plan.plan_model(0, candidate.space.values(each.params))
        model = plan.models[0].cls(plan.models[0].config, sweep_plan.columns.spec)
        assert each.parameters == sum(value.numel() for value in model.parameters() if value.requires_grad)
    sizes = {each.params["model.bottom_layers"]: each.flops for each in read_history(study).finished}
    assert sizes["[64]"] > sizes["[8]"]


def test_nothing_is_left_of_trainings_that_are_done(begin, tmp_path):
    worked(begin, tmp_path, NETWORK | {"sweep": {"trials": 2}})
    assert not list((tmp_path / "work").rglob("*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep": {"seed": 1}}, r"sweep.seed: 1 is one of the seeds; the best settings are judged on fresh seeds"),
        ({"training": {"devices": 2, "accelerator": "cpu"}}, "training.devices: a trial is one process"),
        (
            {"models": ["means"], "dataset": {"name": "planted", "rows": 3000, "ids": False}},
            "model 'means' needs the id",
        ),
    ],
)
@pytest.mark.usefixtures("dial")
def test_what_cannot_be_swept_is_refused_before_anything_is_trained(begin, changes, message):
    with pytest.raises(MTBenchError, match=message):
        begin(changes)


def test_a_worker_whose_data_or_code_differ_is_refused(begin, tmp_path, dial):
    _, [study] = begin()
    text = dial.read_text()
    dial.write_text(text.replace("0.5 + 4", "0.5 + 5"))
    with pytest.raises(MTBenchError, match=r"made of something else(.|\n)*the code of model dial: then '\w+\.{3}"):
        work("test", str(study.place), tmp_path)
    dial.write_text(text)
    assert work("test", str(study.place), tmp_path) == 4


def test_a_sweep_that_is_not_there_is_said_to_be_missing(tmp_path, begin, dial):  # noqa: ARG001
    with pytest.raises(MTBenchError, match="there is no storage sqlite"):
        work("test", f"sqlite:///{tmp_path / 'no.db'}", tmp_path)
    _, [study] = begin()
    with pytest.raises(MTBenchError, match="there is no sweep 'other' in sqlite"):
        work("other", str(study.place), tmp_path)


def test_a_training_that_a_dead_worker_began_goes_on_and_comes_out_the_same(begin, tmp_path):
    changes = NETWORK | {"sweep": {"trials": 1, "heartbeat": 1, "pruner": "none"}}
    sweep_plan, [whole] = begin(changes, name="whole")
    work("whole", str(whole.place), tmp_path / "whole")

    _, [study] = begin(changes, name="broken")
    taken = study.take("dead")
    candidate = sweep_plan.candidates[0]
    torch.manual_seed(0)

    class Died(BaseException):
        pass

    def die(self, *_):
        if self.reported == 2:
            raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtbench.tuning.trials.Pruning.on_train_epoch_start", die, raising=False)
        with pytest.raises(Died):
            sweep_plan.run(candidate, taken, tmp_path / "broken")
    study.study.tell(taken.trial, state=TrialState.FAIL)  # as after missed signs of life
    begun = len(list((tmp_path / "broken").rglob("last.ckpt")))
    work("broken", str(study.place), tmp_path / "broken")
    first, second = study.trials()
    assert begun == 1
    assert set(first.intermediate_values) == {0, 1}
    assert second.intermediate_values == whole.trials()[0].intermediate_values
    assert second.value == whole.trials()[0].value
    assert not list((tmp_path / "broken").rglob("last.ckpt"))
