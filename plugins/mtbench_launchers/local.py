"""Workers as processes of this machine."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import torch

from mtbench import Launcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mtbench import Job

STOP_SECONDS = 60


class Local(Launcher):
    """One process per group of cores, with as many threads, or per GPU where there are some."""

    def start(self, job: Job) -> Process:
        """Start a process on the cores, and with the GPU, of its number."""
        cores = share(find_cores(), job.number, job.of)
        environment = dict(job.environment) | limit_threads(len(cores))
        if gpus := find_gpus():
            environment["CUDA_VISIBLE_DEVICES"] = gpus[job.number % len(gpus)]
        process = begin(job.command, environment, job.log)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, cores)
        return Process(process)


class Process(NamedTuple):
    """A worker that is a process."""

    process: subprocess.Popen[bytes]

    def ended(self) -> str | None:
        """Return its exit status, None while it is alive."""
        status = self.process.poll()
        return None if status is None else f"exit status {status}"

    def stop(self) -> None:
        """Close its standard input, and kill it if it does not end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def begin(
    command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a worker whose standard input is a pipe, in a session of its own that no Ctrl-C reaches."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - mtbench itself
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=os.environ | environment, cwd=folder,
            start_new_session=True,
        )  # fmt: skip


def limit_threads(count: int) -> dict[str, str]:
    """Return the environment that keeps a process to so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))


def find_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share(cores: list[int], number: int, of: int) -> list[int]:
    """Return the cores of one of several workers: neighbours, as many for each; one in turn if there are too few."""
    if of > len(cores):
        return [cores[number % len(cores)]]
    return cores[number * len(cores) // of : (number + 1) * len(cores) // of]


def find_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]
