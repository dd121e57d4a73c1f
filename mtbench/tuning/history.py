"""What there is to read off the trials of a sweep: best so far, ranks, importances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.trial import TrialState

from mtbench.charts.best import best_so_far
from mtbench.tuning.studies import REASON
from mtbench.tuning.trials import EPOCHS, FLOPS, PARAMETERS, SECONDS, TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    from mtbench.tuning.studies import ModelStudy

ENOUGH = 4
"""Finished trials from which on importances say something."""


@dataclass(frozen=True)
class Outcome:
    """How a slot was used; ``score`` is there for a finished trial alone, ``reason`` for a failed one."""

    slot: int
    state: Literal["finished", "pruned", "failed"]
    score: float | None = None
    tasks: Mapping[str, float] | None = None
    params: Mapping[str, Any] | None = None
    epochs: int = 0
    seconds: float = 0.0
    parameters: int | None = None
    flops: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class History:
    """The used slots of a model, in their order, and how many are worked on."""

    label: str
    slots: int
    space: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    running: int

    @property
    def finished(self) -> list[Outcome]:
        """The trials that finished."""
        return [outcome for outcome in self.outcomes if outcome.score is not None]

    @property
    def best(self) -> Outcome | None:
        """The best finished trial, the first of equals."""
        return max(self.finished, key=lambda outcome: (outcome.score or 0.0, -outcome.slot), default=None)

    def count(self, state: str) -> int:
        """Return how many slots ended so: finished, pruned or failed."""
        return sum(outcome.state == state for outcome in self.outcomes)

    def best_so_far(self) -> list[float | None]:
        """Return the best score among the first slots: one, two, and so on."""
        return best_so_far(outcome.score for outcome in self.outcomes)


def read_history(study: ModelStudy) -> History:
    """Return the history of a study, as it is now."""
    slots = study.slots()
    with study.expect_untouched():
        space = study.made_of["space"]
        outcomes = [_make_outcome(slot, trial) for slot, trial in sorted(slots.used.items())]
        if space and any(outcome.score is not None and not outcome.params for outcome in outcomes):
            raise ValueError("a trial has a score and no settings")
    return History(study.label, study.sweep.trials, space, outcomes, len(slots.running))


def _make_outcome(slot: int, trial: FrozenTrial | None) -> Outcome:
    if trial is None:
        return Outcome(slot, "failed", reason="its workers died")
    known = trial.user_attrs
    if trial.state == TrialState.FAIL:
        return Outcome(slot, "failed", params=trial.params, reason=known[REASON])
    finished = trial.state == TrialState.COMPLETE
    if not isinstance(known[TASKS], dict):
        raise TypeError(f"trial {trial.number} has {known[TASKS]!r} for its tasks")
    return Outcome(
        slot,
        "finished" if finished else "pruned",
        trial.value if finished else None,
        known[TASKS],
        trial.params,
        known[EPOCHS],
        known[SECONDS],
        known.get(PARAMETERS),
        known.get(FLOPS),
    )


def measure_importances(study: ModelStudy) -> dict[str, float]:
    """Return how much each setting decides the score, empty if too few trials finished.

    By fANOVA (Hutter et al., ICML 2014), which of Optuna's ways finds what decides with the fewest trials.
    """
    finished = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(finished) < ENOUGH or len({trial.value for trial in finished}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study.study, evaluator=evaluator)


def rank_models(histories: Sequence[History]) -> dict[str, list[int | None]]:
    """Return the rank of each model by its best score among the first slots, from 1; equals share a rank.

    As far as all models have come; None where no trial of a model has finished yet.
    """
    length = min(len(history.outcomes) for history in histories)
    curves = {history.label: history.best_so_far()[:length] for history in histories}
    ranks: dict[str, list[int | None]] = {}
    for label, curve in curves.items():
        rank: list[int | None] = []
        for at, value in enumerate(curve):
            others = [score for other in curves.values() if (score := other[at]) is not None]
            rank.append(None if value is None else 1 + sum(score > value for score in others))
        ranks[label] = rank
    return ranks
