"""What a model costs, and on what it ran."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtbench.data.batches import Batch
    from mtbench.model import MultiTaskModel

PASSES = 5
LONG = 2.0
"""Seconds after which no further pass is timed."""


class Cost(NamedTuple):
    """What a record says of a model's cost, beside the time that it took."""

    device: str
    processes: int
    parameters: int | None
    flops_per_row: float | None
    step_seconds: float | None
    latency_seconds: float
    peak_memory_bytes: int


def count_parameters(model: MultiTaskModel) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_flops_per_row(model: MultiTaskModel, batch: Batch) -> float:
    """Return the floating-point operations of matrix products in a forward pass, per row, all tasks."""
    model.eval()
    # without gradients the counter stumbles over a module that gives out a view of a parameter
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        model(batch)
    return float(counter.get_total_flops() / len(batch))


@torch.inference_mode()
def measure_latency(model: MultiTaskModel, batch: Batch, passes: int = PASSES) -> float:
    """Return the median seconds of a forward pass of the batch, after one to warm up."""
    model.eval()
    return measure_seconds(lambda: model(batch), batch, passes)


def measure_step(model: MultiTaskModel, batch: Batch, passes: int = PASSES) -> float:
    """Return the median seconds of a training step on the batch with Adam, after one to warm up; the model changes."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters())

    def once() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(model.loss(model(batch), batch).sum())
        optimizer.step()

    return measure_seconds(once, batch, passes)


def measure_seconds(work: Callable[[], object], batch: Batch, passes: int = PASSES) -> float:
    """Return the median seconds of some work on the batch, after one time to warm up; fewer passes if they are long."""
    seconds: list[float] = []
    while len(seconds) <= passes and sum(seconds[1:]) < LONG:
        started = time.perf_counter()
        work()
        if batch.rows.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def peak_memory(device: torch.device) -> int:
    """Return the highest memory use in bytes: of the device since its counter was reset, or of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe_environment(packages: Sequence[str] = ()) -> dict[str, str]:
    """Return what the numbers depend on beside the recipe; ``packages`` are what the model needs."""
    packages = ("torch", "pytorch-lightning", "torchmetrics", "dgl", "numpy", "pandas", "pyarrow", "scipy", *packages)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        **{package: version(package) for package in packages},
    }


def device_name(device: torch.device) -> str:
    """Return what the model ran on."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
