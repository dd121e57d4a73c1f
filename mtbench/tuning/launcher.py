"""What a launcher plugin is: it starts the workers of a sweep and says how they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from mtbench.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Job(NamedTuple):
    """A worker to start: number ``number`` (from 0) of ``of``, by a command.

    The command must be run with a pipe as its standard input, and ends by itself when the pipe is closed.

    Since 0.1, provisional.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    """What it needs beside the environment that it finds: the storage, whose password no list of processes may show."""
    number: int
    of: int
    log: Path
    """File for what it prints."""


class Worker(Protocol):
    """A worker that was started.

    Since 0.1, provisional.
    """

    def ended(self) -> str | None:
        """Return how it ended, None while it is alive or waits for its turn."""

    def stop(self) -> None:
        """Close its standard input, and return when it has ended."""


class Launcher(ABC):
    """Starts workers somewhere. A subclass names its settings in an inner class ``Config``.

    Raises MTBenchError where it cannot.

    Since 0.1, provisional.
    """

    plugin_kind: ClassVar[str] = "launcher"
    Config: ClassVar[type[Settings]] = Settings
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Settings) -> None:
        self.config = config

    @abstractmethod
    def start(self, job: Job) -> Worker:
        """Start a worker."""

    def close(self) -> None:  # noqa: B027 - not everyone holds something
        """Let go of what the launcher holds, once all workers have ended."""
