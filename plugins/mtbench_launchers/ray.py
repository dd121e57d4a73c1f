"""Workers on a Ray cluster (Moritz et al., OSDI 2018): one that is running, or a local one that is started."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from mtbench import Launcher, MTBenchError, Settings
from mtbench_launchers.local import STOP_SECONDS, Process, begin, limit_threads

if TYPE_CHECKING:
    from mtbench import Job

POLL_SECONDS = 0.2


class RayConfig(Settings):
    """Settings of the Ray launcher."""

    address: str | None = Field(
        None, description="Address of a running cluster, or 'auto'; a local one is started unless given."
    )
    cpus: int = Field(1, gt=0, description="Cores, and threads, of a worker.")
    gpus: float = Field(0.0, ge=0, description="GPUs of a worker; a fraction shares one.")


class Ray(Launcher):
    """One task of Ray per worker, which runs it as a process; a task whose node is lost is started on another node.

    All nodes need mtbench, the raw data, and a storage that they reach: PostgreSQL unless they share a disk.
    """

    Config = RayConfig
    packages = ("ray",)
    config: RayConfig

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        import ray  # noqa: PLC0415 - an extra, and slow to import

        self._ray = ray
        self._began = not ray.is_initialized()
        if self._began:
            try:
                ray.init(address=self.config.address, logging_level=logging.WARNING, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise MTBenchError(f"ray: no cluster at {self.config.address or 'this machine'}: {error}") from error

    def start(self, job: Job) -> RayTask:
        """Start a worker on whatever node has room."""
        task = self._ray.remote(_work).options(
            num_cpus=self.config.cpus,
            num_gpus=self.config.gpus,
            max_retries=-1,  # only what the loss of a node ends is tried again
            retry_exceptions=False,
            name=f"mtbench worker {job.number}",
        )
        environment = dict(job.environment) | limit_threads(self.config.cpus)
        return RayTask(self._ray, task.remote(list(job.command), environment, os.getcwd(), str(job.log)))  # noqa: PTH109

    def close(self) -> None:
        """Let go of the cluster."""
        if self._began:
            self._ray.shutdown()


class RayTask(NamedTuple):
    """A worker that is a task of Ray."""

    ray: Any
    handle: Any

    def ended(self) -> str | None:
        """Return how it ended; one that waits for a node has not."""
        ready, _ = self.ray.wait([self.handle], timeout=0)
        if not ready:
            return None
        try:
            return f"exit status {self.ray.get(self.handle)}"
        except self.ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[-1]

    def stop(self) -> None:
        """Cancel the task, whose process ends with it."""
        if self.ended() is None:
            self.ray.cancel(self.handle)
            self.ray.wait([self.handle], timeout=STOP_SECONDS)


def _work(command: list[str], environment: dict[str, str], folder: str, log: str) -> int:
    """Run a worker and return its exit status; it ends when this process does, which holds its standard input."""
    here = Path(folder)  # for relative paths in the experiment
    process = begin(command, environment, Path(log), here if here.is_dir() else None)
    try:
        while process.poll() is None:  # a wait would not notice that the task is cancelled
            time.sleep(POLL_SECONDS)
    except BaseException:
        Process(process).stop()
        raise
    return process.returncode
