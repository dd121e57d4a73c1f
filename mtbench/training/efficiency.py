"""What a model costs, and on what it ran."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from mtbench.data.batches import Batch
    from mtbench.model import MultiTaskModel

PASSES = 5


def parameters(model: MultiTaskModel) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@torch.inference_mode()
def flops_per_row(model: MultiTaskModel, batch: Batch) -> float:
    """Return the floating-point operations of matrix products in a forward pass, per row, all tasks."""
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(batch)
    return float(counter.get_total_flops() / len(batch))


@torch.inference_mode()
def latency(model: MultiTaskModel, batch: Batch) -> float:
    """Return the median seconds of a forward pass of the batch, after one to warm up."""
    model.eval()
    seconds = []
    for _ in range(PASSES + 1):
        started = time.perf_counter()
        model(batch)
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


def environment() -> dict[str, str]:
    """Return what the numbers depend on beside the recipe."""
    packages = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "pandas", "pyarrow", "scipy")
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
