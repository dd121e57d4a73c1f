from __future__ import annotations

import pickle

import pytest

from mtbench.record.form import SeedRun
from mtbench.schema import Task
from mtbench.training.display import RunDisplay, StepProgress

TASKS = (Task(name="click"), Task(name="buy"))


def ended(chosen, *, loss=True):
    valid = {"click": [0.5, 0.6251, 0.6], "buy": [0.7, 0.71, 0.72499]}
    losses = {"click": [1.0, 0.9, 0.8], "buy": [1.0, 0.9, 0.8]} if loss else {}
    run = SeedRun(chosen=chosen, valid=valid, loss=losses, seconds=[1.0, 2.0, 0.5])
    with RunDisplay(trainings=2) as display:
        display.begin("mmoe, seed 3", steps=30)
        display.advance(10, epoch=0)
        display.end(run, TASKS)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"click": 1, "buy": 1}, "click 0.6251, buy 0.7100 (epoch 2 of 3, 3.5 s)"),
        ({"click": 1, "buy": 2}, "click 0.6251, buy 0.7250 (epochs 2, 3 of 3, 3.5 s)"),
    ],
)
def test_the_line_of_a_training_has_what_the_chosen_epochs_reached(capsys, chosen, said):
    ended(chosen)
    assert capsys.readouterr() == ("", f"mmoe, seed 3: validation {said}\n")


def test_a_fit_without_losses_has_no_epochs(capsys):
    ended({"click": 0, "buy": 0}, loss=False)
    assert capsys.readouterr().err == "mmoe, seed 3: validation click 0.5000, buy 0.7000 (3.5 s)\n"


def test_what_is_said_is_printed_as_it_is(capsys):
    with RunDisplay(trainings=1) as display:
        display.say("[red]wrote[/red] " + "long " * 60)
        display.warn("plugin [bold]")
    said, warned = capsys.readouterr().err.splitlines()
    assert said.startswith("[red]wrote[/red] long")
    assert warned == "warning: plugin [bold]"


def test_steps_are_counted_here_and_not_in_spawned_processes():
    class Counting:
        steps = 0

        def advance(self, steps, epoch):
            assert epoch == 4
            self.steps += steps

    class Trainer:
        current_epoch = 4

    progress = StepProgress(Counting())
    for _ in range(3):
        progress.on_train_batch_end(Trainer())
    assert progress.display.steps == 3
    spawned = pickle.loads(pickle.dumps(progress))  # noqa: S301 - our own
    assert spawned.display is None
    spawned.on_train_batch_end(Trainer())
