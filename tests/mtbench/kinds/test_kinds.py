"""Every kind of task against plain calculations, and what all of them must keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import poisson

from mtbench.errors import MTBenchError
from mtbench.kinds import find_kind, list_kinds, register_kind
from mtbench.kinds.ordinal import Ordinal
from mtbench.kinds.targets import Targets
from mtbench.schema import DataSpec, Schema, Task

KINDS = ("binary", "regression", "ordinal", "count")
LABELS = {
    "binary": np.array([0.0, 1, 1, 0, 0]),
    "regression": np.array([-2.5, 0, 7.5, 1, 3]),
    "ordinal": np.array([1.0, 2, 2, 4, 5, 1, 4]),
    "count": np.array([0.0, 0, 1, 7, 3, 2]),
}
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=20)


def targets(*kinds: str, labels=LABELS) -> Targets:
    tasks = tuple(Task(name=f"{kind} {at}", kind=kind) for at, kind in enumerate(kinds))
    return Targets(DataSpec(tasks=tasks, targets=tuple(find_kind(kind).fit(labels[kind]) for kind in kinds)))


def losses(kind: str, logits, labels) -> torch.Tensor:
    return targets(kind).loss(torch.as_tensor(logits).float()[:, None], torch.as_tensor(labels).float()[:, None])[:, 0]


def predictions(kind: str, logits) -> torch.Tensor:
    return targets(kind).predict(torch.as_tensor(logits).float()[:, None])[:, 0]


def grade_chances(logit: float, labels: np.ndarray) -> dict[float, float]:
    """Return the probability of each grade by the definition, with the initial cut points."""
    grades = np.unique(labels)
    below = [np.mean(labels <= grade) for grade in grades[:-1]]
    up_to = [0.0, *(expit(math.log(share / (1 - share)) - logit) for share in below), 1.0]
    return dict(zip(grades, np.diff(up_to), strict=True))


def test_these_kinds_are_known_by_name():
    assert set(KINDS) <= set(list_kinds())
    assert [find_kind(kind).name for kind in KINDS] == list(KINDS)
    assert [find_kind(kind).metric for kind in KINDS] == ["auc", "rmse", "qwk", "poisson_deviance"]
    assert [Task(name="y", kind=kind).probability for kind in KINDS] == [True, False, False, False]


def test_an_unknown_kind_is_refused_in_a_schema_and_readable_in_a_task():
    with pytest.raises(
        MTBenchError, match=r"no kind of task 'ordnal' \(did you mean 'ordinal'\?\); known kinds: binary"
    ):
        find_kind("ordnal")
    task = Task(name="y", kind="of another plugin", metric="its-own")
    assert task.primary == "its-own"
    with pytest.raises(ValueError, match="task 'y': there is no kind of task 'of another plugin'"):
        Schema(tasks=(task,))


def test_a_name_means_one_kind():
    register_kind("count", "mtbench.kinds.count:Count")
    with pytest.raises(MTBenchError, match="there is a kind of task 'count' already"):
        register_kind("count", Ordinal)


@pytest.mark.parametrize(
    ("kind", "possible", "impossible"),
    [
        ("binary", [0, 1], [2, -1, 0.5, math.inf]),
        ("regression", [0.5, -3e9], [math.inf, -math.inf]),
        ("ordinal", [0, 5, -2], [2.5, math.inf]),
        ("count", [0, 5, 1e6], [-1, 2.5, math.inf]),
    ],
)
def test_labels_are_what_a_kind_allows(kind, possible, impossible):
    assert find_kind(kind).allows(np.array(possible, float)).all()
    assert not find_kind(kind).allows(np.array(impossible, float)).any()


@given(LOGITS)
def test_an_ordinal_loss_is_the_logarithm_of_the_grades_probability(logits):
    for grade in (1, 2, 4, 5):
        expected = [-math.log(grade_chances(logit, LABELS["ordinal"])[grade]) for logit in logits]
        found = losses("ordinal", logits, np.full(len(logits), grade))
        np.testing.assert_allclose(found.detach(), expected, rtol=1e-3, atol=1e-4)


@given(LOGITS)
def test_an_ordinal_prediction_is_the_expected_grade(logits):
    expected = [
        sum(grade * chance for grade, chance in grade_chances(logit, LABELS["ordinal"]).items()) for logit in logits
    ]
    np.testing.assert_allclose(predictions("ordinal", logits).detach(), expected, rtol=1e-4)


@given(LOGITS, st.integers(0, 20))
def test_a_count_loss_is_that_of_the_poisson_likelihood_over_the_dispersion(logits, label):
    labels = LABELS["count"]
    rates = labels.mean() * np.exp(logits)
    lacking = poisson.logpmf(label, max(label, 1e-300)) - poisson.logpmf(label, rates)
    found = losses("count", logits, np.full(len(logits), label))
    np.testing.assert_allclose(found, lacking / (labels.var() / labels.mean()), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(predictions("count", logits), rates, rtol=1e-5)


def test_counts_that_vary_less_than_poissons_keep_its_likelihood():
    assert find_kind("count").fit(np.array([2.0, 2, 3]))["dispersion"] == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "binary"])
def test_a_logit_of_zero_predicts_the_mean_of_the_training_labels(kind):
    labels = LABELS[kind]
    assert predictions(kind, [0.0]).item() == pytest.approx(labels.mean(), rel=1e-6)
    assert find_kind(kind).constant(labels) == pytest.approx(labels.mean())


def test_without_labels_there_is_a_constant_and_a_fit():
    nothing = np.zeros(0)
    assert [find_kind(kind).constant(nothing) for kind in KINDS] == [0.5, 0, 0, 0]
    tasks = tuple(Task(name=kind, kind=kind) for kind in KINDS)
    unfitted = Targets(DataSpec(tasks=tasks))
    assert unfitted.predict(torch.zeros(1, 4)).tolist() == [[0.5, 0, 0.5, 1]]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_finite_and_not_negative_whatever_the_label_and_so_are_their_gradients(kind):
    for size in (0.0, 30.0, 80.0):
        logits = torch.tensor([[size], [-size]]).repeat(4, 1).requires_grad_()
        labels = torch.tensor([0.0, -3, 5, 99]).repeat_interleave(2)[:, None]
        found = targets(kind).loss(logits, labels)
        found.sum().backward()
        assert found.isfinite().all()
        assert logits.grad.isfinite().all()
    known = torch.tensor(LABELS[kind]).float()[:, None]
    assert (targets(kind).loss(torch.randn(len(known), 1), known) >= -1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_rises_with_the_logit_and_stays_possible(kind):
    found = predictions(kind, torch.linspace(-100, 100, 201)).detach()
    assert found.isfinite().all()
    assert (found.diff() >= 0).all()
    if kind != "regression":
        lowest = {"binary": 0, "ordinal": 1, "count": 0}[kind]
        assert found.min() >= lowest
        assert found.max() <= {"binary": 1, "ordinal": 5, "count": math.inf}[kind]


def test_predictions_of_references_are_moved_to_what_is_possible():
    values = np.array([-4.0, 0.4, 3, 9])
    admitted = {kind: find_kind(kind).admit(values, find_kind(kind).fit(LABELS[kind])) for kind in KINDS}
    assert admitted["binary"].tolist() == [0, 0.4, 1, 1]
    assert admitted["regression"].tolist() == values.tolist()
    assert admitted["ordinal"].tolist() == [1, 1, 3, 5]
    assert admitted["count"][1:].tolist() == [0.4, 3, 9]
    assert 0 < admitted["count"][0] < 0.1


def test_a_grade_that_training_lacks_counts_as_the_nearest():
    logits = [0.3, 0.3, 0.3]
    assert torch.equal(losses("ordinal", logits, [0, 3.4, 11]), losses("ordinal", logits, [1, 4, 5]))


def test_too_many_grades_are_no_grades():
    assert len(Ordinal("ordinal").fit(np.arange(100.0))["grades"]) == 100
    with pytest.raises(MTBenchError, match="has 101 grades, and an ordinal task at most 100"):
        Ordinal("ordinal").fit(np.arange(101.0))


def test_cut_points_are_learned_and_stay_in_order():
    """Grades 2 and 3 are never told apart by what is trained on; the loss goes to that of the shares."""
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.choice([1.0, 2, 3, 4], 4000, p=[0.1, 0.2, 0.3, 0.4]))[:, None].float()
    begun = targets("ordinal", labels={"ordinal": np.array([1.0, 2, 3, 4])})
    optimizer = torch.optim.Adam(begun.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = begun.loss(torch.zeros_like(labels), labels).mean()
        loss.backward()
        optimizer.step()
    shares = labels.unique(return_counts=True)[1] / len(labels)
    assert loss.item() == pytest.approx(-(shares * shares.log()).sum().item(), abs=1e-3)
    assert begun.predict(torch.zeros(1, 1)).item() == pytest.approx(labels.mean().item(), abs=1e-2)


def test_tasks_of_all_kinds_together_are_what_each_is_alone():
    """Tasks of a kind go together where their fits have one shape: ordinal tasks of other grades do not."""
    labels = LABELS | {"ordinal": np.array([0.0, 1, 1])}
    kinds = ("ordinal", "binary", "count", "binary", "regression", "ordinal", "count")
    tasks = tuple(Task(name=f"{at}", kind=kind) for at, kind in enumerate(kinds))
    fits = [find_kind(kind).fit((labels if at == 5 else LABELS)[kind]) for at, kind in enumerate(kinds)]
    together = Targets(DataSpec(tasks=tasks, targets=tuple(fits)))
    assert len(together.groups) == 5
    assert together.probability.tolist() == [kind == "binary" for kind in kinds]
    torch.manual_seed(0)
    logits, known = torch.randn(9, 7), torch.randint(0, 2, (9, 7)).float()
    for at, (task, fit) in enumerate(zip(tasks, fits, strict=True)):
        alone = Targets(DataSpec(tasks=(task,), targets=(fit,)))
        own = logits[:, at : at + 1]
        torch.testing.assert_close(together.loss(logits, known)[:, [at]], alone.loss(own, known[:, [at]]))
        torch.testing.assert_close(together.predict(logits)[:, [at]], alone.predict(own))


def test_logits_of_half_precision_are_computed_with_in_single():
    logits = torch.tensor([[0.1], [2.7]], dtype=torch.bfloat16)
    labels = torch.ones(2, 1)
    for kind in KINDS:
        assert targets(kind).loss(logits, labels).dtype == torch.float32
        assert torch.equal(targets(kind).predict(logits), targets(kind).predict(logits.float()))


def test_what_is_learned_is_in_the_state_and_what_is_fitted_is_not():
    assert list(targets(*KINDS).state_dict()) == ["groups.2.steps"]


def test_large_labels_are_learned_as_small_ones_are():
    """Near numbers far from 0 are centred in double precision: losses and gradients stay what they were."""
    for kind, base in (("regression", 1.6e9), ("ordinal", 10_000_000)):
        small = np.array([1.0, 2, 2, 4, 5, 1, 4])
        near, far = targets(kind, labels={kind: small}), targets(kind, labels={kind: base + small})
        found = []
        for learner, shift in ((near, 0), (far, base)):
            logits = torch.linspace(-2, 2, len(small)).unsqueeze(1).requires_grad_()
            loss = learner.loss(logits, torch.from_numpy(shift + small).unsqueeze(1))
            loss.sum().backward()
            assert loss.dtype == torch.float32
            found.append((loss, logits.grad, learner.predict(logits) - shift))
        for of_near, of_far in zip(*found, strict=True):
            torch.testing.assert_close(of_far, of_near, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mean", [10.0, 2.0**24, 2.0**31])
def test_the_deviance_of_large_counts_keeps_its_digits(mean):
    labels = np.random.default_rng(0).poisson(mean, 200).astype(float)
    learner = targets("count", labels={"count": labels})
    logits = np.float32(np.log(labels / labels.mean() + 1e-9)) + np.float32(1e-4)
    rates = np.exp(logits.astype(float)) * labels.mean()
    expected = poisson.logpmf(labels, labels) - poisson.logpmf(labels, rates)
    dispersion = max(labels.var() / labels.mean(), 1.0)
    found = learner.loss(torch.from_numpy(logits)[:, None], torch.from_numpy(labels)[:, None])[:, 0]
    torch.testing.assert_close(found.double(), torch.from_numpy(expected / dispersion), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(learner.predict(torch.from_numpy(logits)[:, None])[:, 0], rates, rtol=1e-12)


@given(LOGITS)
def test_scores_are_the_logits(logits):
    logits = torch.tensor(logits)[:, None].expand(-1, 4)
    assert torch.equal(targets(*KINDS).score(logits), logits.double())
