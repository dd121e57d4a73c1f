from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from mtbench.testing.examples import TASKS
from mtbench.testing.models import ModelSuite
from mtbench_models.aitm import AITM
from mtbench_models.esmm import ESMM
from tests.plugins.mtbench_models.slow_forms import assert_logits, build, linear, network, rows


class TestAITM(ModelSuite):
    model = AITM
    settings: ClassVar = {"tower_layers": (32, 16)}


class TestAITMByOrder(ModelSuite):
    model = AITM
    settings: ClassVar = {"tower_layers": (32, 16), "chain": "order"}


def expected(model, batch, before):
    x = model.embed(batch)
    hidden = [network(model.networks, t, x) for t in range(len(before))]
    transfer = model.transfer
    query, key, value = (transfer.attention.weight[i] if transfer.steps else None for i in range(3))
    passed_on = {}

    def representation(t):
        if before[t] < 0:
            return hidden[t]
        if t not in passed_on:
            step, place = next((s, tasks.index(t)) for s, tasks in enumerate(transfer.steps) if t in tasks)
            information = linear(transfer.information[step], place, representation(before[t])).relu()
            scores, values = [], []
            for u in (hidden[t], information):
                scores.append(((u @ query.T) * (u @ key.T)).sum(-1) / u.shape[1] ** 0.5)
                values.append(u @ value.T)
            weights = functional.softmax(torch.stack(scores, -1), -1)
            passed_on[t] = weights[:, :1] * values[0] + weights[:, 1:] * values[1]
        return passed_on[t]

    return [linear(model.head, t, representation(t)).squeeze(-1) for t in range(len(before))]


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(
    ("chain", "tasks", "before"),
    [
        ("auto", 1, [-1]),
        ("auto", 4, [-1, 0, 1, -1]),
        ("auto", 7, [-1, 0, 1, -1, -1, -1, 0]),  # the last is given the first as well
        ("order", 4, [-1, 0, 1, 2]),
    ],
)
def test_it_equals_its_equations(norm, chain, tasks, before):
    model, batch = build(AITM, tasks=tasks, chain=chain, norm=norm), rows(tasks)
    assert_logits(model, batch, expected(model, batch, before))


def test_tasks_without_given_follow_one_another(monkeypatch):
    free = [task.model_copy(update={"given": None}) for task in TASKS]
    monkeypatch.setattr("tests.plugins.mtbench_models.slow_forms.TASKS", free)
    model, batch = build(AITM), rows()
    assert_logits(model, batch, expected(model, batch, [-1, 0, 1, 2]))


def calibration(model, logits, batch):
    return model.loss(logits, batch) - build(AITM, calibrator=0).loss(logits, batch)


def test_the_calibrator_penalises_what_is_likelier_than_the_task_before_it():
    model, batch = build(AITM, calibrator=0.6), rows()
    logits = torch.zeros(len(batch), 4)
    logits[:, 1] = 1.0  # cart above click
    logits[: len(batch) // 2, 2] = 2.0  # buy above cart in half of the rows
    logits[len(batch) // 2 :, 2] = -2.0
    p = torch.tensor([0.0, 1.0, 2.0]).sigmoid()
    penalty = torch.stack([torch.tensor(0.0), p[1] - p[0], (p[2] - p[1]) / 2, torch.tensor(0.0)])
    torch.testing.assert_close(calibration(model, logits, batch), 0.6 * penalty, rtol=1e-4, atol=1e-6)


def test_the_calibrator_leaves_a_funnel_that_narrows_alone():
    model, batch = build(AITM), rows()
    logits = torch.tensor([1.0, 0.0, -1.0, 50.0]).expand(len(batch), -1)
    assert not calibration(model, logits, batch).any()


def test_the_calibrator_is_on_unless_it_is_switched_off():
    assert build(AITM).calibrator == 0.6


def test_tasks_learn_at_all_impressions_and_predict_where_the_given_is_positive():
    model, batch = build(AITM, calibrator=0), rows()
    logits = torch.tensor([1.0, -0.5, -1.0, 0.3]).expand(len(batch), -1)
    p = logits[0].double().sigmoid()
    conditional = torch.stack([p[0], p[1] / p[0], p[2] / p[1]])
    predictions, fit = model.predict(logits), model.data.targets[3]
    torch.testing.assert_close(predictions[0, :3], conditional, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(predictions[:, 3], logits[:, 3].double() * fit["scale"] + fit["centre"])
    same = build(ESMM)
    products = torch.cat([conditional.logit(), torch.tensor([0.3])]).float().expand(len(batch), -1)
    torch.testing.assert_close(model.loss(logits, batch), same.loss(products, batch), rtol=1e-4, atol=1e-5)


def test_conditional_probabilities_that_are_1_to_the_last_digit_are_ranked():
    """Also those above 1, of a funnel in the wrong order: there p(click) alone tells rows apart."""
    model = build(AITM)
    rise = torch.linspace(30, 290, 100)
    same = torch.full_like(rise, 300.0)
    for click, cart in ((same, rise), (rise.flip(0), same)):
        logits = torch.stack([click, cart, cart, same], 1)
        scores = model.score(logits)
        assert (scores[:, 1].diff() > 0).all()
        assert torch.equal(scores[:, 0], click.double())
        predictions = model.predict(logits)[:, 1]
        assert (predictions.diff() >= 0).all()
        assert (predictions == 1).sum() > 10


def test_predictions_of_a_funnel_in_the_wrong_order_stay_probabilities():
    model = build(AITM)
    predictions = model.predict(torch.tensor([[-3.0, 2.0, 2.5, 0.0]]))
    assert predictions[0, 1] == 1
    assert 0 <= predictions[0, 2] <= 1


def test_information_flows_down_the_funnel_alone():
    model, batch = build(AITM), rows()
    for task, reached in ((0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (3, [3])):
        model.zero_grad()
        model(batch)[:, task].sum().backward()
        weights = model.networks.linears[0].weight.grad
        assert [t for t in range(4) if weights[t].any()] == reached


def test_labels_of_rows_without_a_click_count_as_no_purchase():
    model, batch = build(AITM, calibrator=0), rows()
    without = replace(
        batch, labels=torch.zeros_like(batch.labels), mask=torch.tensor([1.0, 0, 0, 0]).expand_as(batch.mask)
    )
    logits = torch.zeros(len(batch), 4)
    torch.testing.assert_close(model.loss(logits, without)[:3], torch.full((3,), 2.0).log())
