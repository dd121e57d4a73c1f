"""What went wrong on the user's side, said without a traceback."""

from __future__ import annotations

import errno
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class MTBenchError(Exception):
    """A mistake that the user can mend: what was found, where, and what to do about it.

    Since 0.1, stable.
    """


class ModelsError(MTBenchError):
    """Some models of an experiment have no record, after all others were run; ``failures`` says why, by model.

    Since 0.1, provisional.
    """

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{model}: {reason}" for model, reason in failures.items()))
        self.failures = dict(failures)


class BusyError(MTBenchError):
    """Another process is at the same work."""


class StorageError(MTBenchError):
    """A folder cannot be written to, or what was in it is gone: whatever else would be done there fails too."""


UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
"""What the system says of folders that the user must see to."""


def shows_tracebacks() -> bool:
    """Return whether the whole traceback of an error is wanted: ``--traceback``, or MTBENCH_TRACEBACK set to 1."""
    return os.environ.get("MTBENCH_TRACEBACK", "0") not in {"", "0"}


def suggest(wrong: object, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest known name in any case of letters, or an empty string.

    Since 0.1, provisional.
    """
    names = {name.casefold(): name for name in known}
    near = get_close_matches(str(wrong).casefold(), names, n=1)
    return f" (did you mean '{names[near[0]]}'?)" if near else ""
