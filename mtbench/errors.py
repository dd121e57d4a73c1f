"""What went wrong on the user's side, said without a traceback."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class MTBenchError(Exception):
    """A mistake that the user can mend: what was found, where, and what to do about it.

    Since 0.1, stable.
    """


class BusyError(MTBenchError):
    """Another process is at the same work."""


def suggest(wrong: object, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest known name in any case of letters, or an empty string.

    Since 0.1, provisional.
    """
    names = {name.casefold(): name for name in known}
    near = get_close_matches(str(wrong).casefold(), names, n=1)
    return f" (did you mean '{names[near[0]]}'?)" if near else ""
