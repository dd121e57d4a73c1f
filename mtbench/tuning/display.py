"""What is seen of a sweep while it runs: a table in a terminal, a line per trial elsewhere; on the error stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from mtbench.tuning.history import History, Outcome
    from mtbench.tuning.trials import Candidate


def make_table(histories: Sequence[History]) -> Table:
    """Return the table of a sweep: a line per model."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    made.add_column("model", no_wrap=True)
    for head in ("trials", "running", "pruned", "failed", "best", "score"):
        made.add_column(head, justify="right", no_wrap=True)
    made.add_column("validation", overflow="fold")
    for history in histories:
        best = history.best
        made.add_row(
            history.label,
            f"{len(history.outcomes)}/{history.slots}",
            str(history.running or ""),
            str(history.count("pruned") or ""),
            Text(str(history.count("failed") or ""), style="red"),
            "" if best is None else f"#{best.slot + 1}",
            "" if best is None else f"{best.score:.4f}",
            "" if best is None else _list_values(best),
        )
    return made


class SweepDisplay:
    """Shows a sweep."""

    def __init__(self, wanted: bool) -> None:  # noqa: FBT001
        self.console = Console(stderr=True, quiet=not wanted)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._seen: set[tuple[str, int]] = set()
        self._began = time.monotonic()
        self._used_before = 0
        self._last: Sequence[History] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, candidates: Sequence[Candidate], histories: Sequence[History]) -> None:
        """Say what is searched, and where an earlier call has left it."""
        for candidate in candidates:
            settings = ", ".join(dimension.name for dimension in candidate.space.dimensions)
            self.say(f"{candidate.label}: {len(candidate.space.dimensions)} settings are searched: {settings}")
            for value in candidate.space.left_out:
                self.say(f"{candidate.label}: left out: {value}")
        self._seen = {(history.label, outcome.slot) for history in histories for outcome in history.outcomes}
        self._used_before = len(self._seen)
        self._last = histories
        if self._seen:
            self.say(f"{len(self._seen)} trials were done before")
        if self.console.is_terminal:
            self._live.start()

    def update(self, histories: Sequence[History]) -> None:
        """Show how it stands now."""
        self._last = histories
        for history in histories:
            for outcome in history.outcomes:
                if (history.label, outcome.slot) not in self._seen:
                    self._seen.add((history.label, outcome.slot))
                    if outcome.state == "failed" or not self._live.is_started:
                        self.say(f"{history.label} #{outcome.slot + 1}: {describe_outcome(outcome)}")
        if self._live.is_started:
            self._live.update(Group(make_table(histories), Text(self._estimate_left(), style="dim")), refresh=True)

    def close(self) -> None:
        """Print the table as it is in the end."""
        self._live.stop()
        if self._last:
            self.console.print(make_table(self._last))
            self.console.print()
        self._last = ()

    def _estimate_left(self) -> str:
        used = sum(len(history.outcomes) for history in self._last)
        slots = sum(history.slots for history in self._last)
        new = used - self._used_before
        known = (
            f", about {describe_duration((time.monotonic() - self._began) / new * (slots - used))} left" if new else ""
        )
        return f"\n{used} of {slots} trials{known}"


def describe_outcome(outcome: Outcome) -> str:
    """Return in words how a slot was used."""
    if outcome.state == "failed":
        return f"failed: {outcome.reason}"
    epochs = f"{outcome.epochs} epoch{'s' if outcome.epochs > 1 else ''}"
    if outcome.state == "pruned":
        return f"pruned after {epochs} ({_list_values(outcome)})"
    return f"score {outcome.score:.4f} ({_list_values(outcome)}; {epochs})"


def _list_values(outcome: Outcome) -> str:
    return ", ".join(f"{task} {value:.4f}" for task, value in (outcome.tasks or {}).items())


def describe_duration(seconds: float) -> str:
    """Return a time in two units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
