from __future__ import annotations

import pytest

from mtbench.errors import BusyError, MTBenchError, suggest

KNOWN = ("batch_size", "learning_rate", "MMoE", "select")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("batch_sise", " (did you mean 'batch_size'?)"),
        ("LEARNING_RATE", " (did you mean 'learning_rate'?)"),
        ("mmoe", " (did you mean 'MMoE'?)"),  # as it is spelt, not as it was compared
        ("temperature", ""),
        ("", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_the_nearest_name_is_suggested_in_its_own_spelling(wrong, said):
    assert suggest(wrong, KNOWN) == said


def test_nothing_is_suggested_of_nothing():
    assert suggest("batch_size", ()) == ""


def test_who_catches_users_mistakes_catches_a_busy_folder_too():
    with pytest.raises(MTBenchError, match="at work"):
        raise BusyError("another process is at work")
