from __future__ import annotations

import pytest

from mtbench.tuning.display import SweepDisplay, describe_duration, describe_outcome
from mtbench.tuning.history import History, Outcome

FINISHED = Outcome(0, "finished", score=0.51237, tasks={"click": 0.7, "buy": 0.81234}, epochs=1)
PRUNED = Outcome(1, "pruned", tasks={"click": 0.6}, epochs=3)
FAILED = Outcome(2, "failed", reason="out of memory: 8 GiB")
LINES = {
    "finished": "score 0.5124 (click 0.7000, buy 0.8123; 1 epoch)",
    "pruned": "pruned after 3 epochs (click 0.6000)",
    "failed": "failed: out of memory: 8 GiB",
}


@pytest.mark.parametrize("outcome", [FINISHED, PRUNED, FAILED], ids=lambda outcome: outcome.state)
def test_an_outcome_is_said_in_words(outcome):
    assert describe_outcome(outcome) == LINES[outcome.state]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3599.9, "1 h 0 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_a_duration_has_two_units(seconds, said):
    assert describe_duration(seconds) == said


def test_every_slot_is_said_once_and_the_table_stands_at_the_end(capsys):
    with SweepDisplay(wanted=True) as display:
        display.begin([], [History("mmoe", 3, {}, [PRUNED], 1)])
        display.update([History("mmoe", 3, {}, [FINISHED, PRUNED], 1)])
        display.update([History("mmoe", 3, {}, [FINISHED, PRUNED, FAILED], 0)])
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line.rstrip() for line in err.splitlines()]
    assert lines[:3] == ["1 trials were done before", f"mmoe #1: {LINES['finished']}", f"mmoe #3: {LINES['failed']}"]
    (row,) = (line.split() for line in lines[3:] if line.startswith("mmoe"))
    assert row[:6] == ["mmoe", "3/3", "1", "1", "#1", "0.5124"]


def test_who_does_not_want_to_see_it_sees_nothing(capsys):
    with SweepDisplay(wanted=False) as display:
        display.update([History("mmoe", 3, {}, [FINISHED], 1)])
    assert capsys.readouterr() == ("", "")
