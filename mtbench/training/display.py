"""What is seen while it runs: bars in a terminal, lines elsewhere; always on the error stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

    from mtbench.record.form import SeedRun
    from mtbench.schema import Task


class RunDisplay:
    """Shows the trainings of an experiment, one after the other."""

    def __init__(self, trainings: int) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._all = self._progress.add_task("trainings", total=trainings)
        self._one: TaskID | None = None
        self._name = ""

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, traceback)

    def say(self, text: str | Text) -> None:
        """Print a line above the bars, as it is."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning above the bars."""
        self.say(Text.assemble(("warning", "yellow"), ": ", text))

    def begin(self, name: str, steps: int) -> None:
        """Show a new bar for one training of at most this many steps."""
        self._name = name
        self._one = self._progress.add_task(name, total=steps)

    def advance(self, steps: int, epoch: int) -> None:
        """Move the bar on."""
        if self._one is not None:
            self._progress.update(self._one, advance=steps, description=f"{self._name}, epoch {epoch + 1}")

    def end(self, run: SeedRun, tasks: tuple[Task, ...]) -> None:
        """Close the bar and print what the training reached on validation."""
        if self._one is not None:
            self._progress.remove_task(self._one)
        self._progress.advance(self._all)
        values = ", ".join(f"{task.name} {run.valid[task.name][run.chosen[task.name]]:.4f}" for task in tasks)
        epochs = sorted({epoch + 1 for epoch in run.chosen.values()})
        which = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {', '.join(map(str, epochs))}"
        which = f"{which} of {len(run.seconds)}, " if run.loss else ""
        self.say(f"{self._name}: validation {values} ({which}{sum(run.seconds):.1f} s)")


class StepProgress(pl.Callback):
    """Moves the display on, ten times a second at most in effect, since rich redraws no faster."""

    def __init__(self, display: RunDisplay | None) -> None:
        self.display = display

    def __getstate__(self) -> dict[str, Any]:
        return {"display": None}  # spawned processes share no terminal

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Count a step."""
        if self.display is not None:
            self.display.advance(1, trainer.current_epoch)
