"""What went wrong with some of several models."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mtbench.errors import UNWRITABLE, BusyError, ModelsError, StorageError, shows_tracebacks
from mtbench.loading import describe_crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Failures:
    """What went wrong with some models, while others have a right to their records; ``say`` tells of each at once."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._busy: dict[str, str] = {}
        self._failed: dict[str, str] = {}

    @contextmanager
    def collect(self, model: str) -> Iterator[None]:
        """Note whatever goes wrong with a model; what would go wrong with the next one too passes."""
        try:
            yield
        except BusyError as error:
            self._busy[model] = str(error)
            self._say(f"{model} is left to another process; the others go on")
        except Exception as error:
            if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in UNWRITABLE):
                raise
            if shows_tracebacks():
                traceback.print_exception(error)
            # an experiment of this model alone need not name it
            reasons = list(error.failures.values()) if isinstance(error, ModelsError) else []
            self._failed[model] = reasons[0] if len(reasons) == 1 else describe_crash(error)
            self._say(f"{model} failed; the others go on, and in the end it is said why")

    def report(self) -> None:
        """Raise BusyError if models were left to other processes, ModelsError if any failed."""
        if self._failed:
            raise ModelsError(self._failed | self._busy)
        if self._busy:
            raise BusyError("\n".join(f"{model}: {reason}" for model, reason in self._busy.items()))
