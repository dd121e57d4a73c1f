from __future__ import annotations

import itertools
from importlib import metadata

import pytest
import torch
from torch import nn

from mtbench.data.batches import Batch
from mtbench.training import efficiency

ROWS = 8


class Two(nn.Module):
    """Two linear maps, of 3 to 5 and 5 to 2, and a value that is not trained; it counts its passes."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 2))
        self.fixed = nn.Parameter(torch.zeros(7), requires_grad=False)
        self.passes = []

    def forward(self, batch):
        self.passes.append(self.training)
        return self.maps(batch.numeric)

    def loss(self, logits, batch):
        return (logits - batch.labels).square().mean(0)


@pytest.fixture
def batch():
    numeric = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0))
    return Batch(torch.arange(ROWS), torch.zeros(ROWS, 0), numeric, torch.zeros(ROWS, 2), torch.ones(ROWS, 2))


@pytest.fixture
def clock(monkeypatch):
    """Return a function that sets how long one piece of work after the other takes, the last one for ever."""

    def set_(*durations):
        at = itertools.chain(durations, itertools.repeat(durations[-1]))
        ticks = itertools.chain.from_iterable((0.0, duration) for duration in at)
        monkeypatch.setattr(efficiency.time, "perf_counter", lambda: next(ticks))

    return set_


def test_what_is_trained_is_counted(batch):
    assert efficiency.count_parameters(Two()) == 3 * 5 + 5 + 5 * 2 + 2
    assert efficiency.count_flops_per_row(Two(), batch) == 2 * (3 * 5 + 5 * 2)


def test_a_module_may_give_out_a_view_of_a_parameter(batch):
    class Nothing(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(1, 3))

        def forward(self, rows):
            return self.nothing.expand(len(rows), -1)

    class Known(Two):
        def __init__(self):
            super().__init__()
            self.history = Nothing()

        def forward(self, batch):
            return self.maps(self.history(batch.numeric))

    assert efficiency.count_flops_per_row(Known(), batch) == 2 * (3 * 5 + 5 * 2)


def test_the_median_is_taken_without_the_first_time(batch, clock):
    clock(100.0, 0.1, 0.3, 0.2, 0.5, 0.4)
    done = []
    assert efficiency.measure_seconds(lambda: done.append(1), batch) == 0.3
    assert len(done) == 1 + efficiency.PASSES


@pytest.mark.parametrize(("seconds", "times"), [(0.5, 5), (1.5, 3), (60.0, 2)])
def test_long_work_is_repeated_less_often(batch, clock, seconds, times):
    clock(seconds)
    done = []
    assert efficiency.measure_seconds(lambda: done.append(1), batch) == seconds
    assert len(done) == times


def test_latency_is_of_a_model_in_use_and_a_step_of_one_in_training(batch, clock):
    model = Two()
    before = [parameter.clone() for parameter in model.parameters()]
    clock(0.25)
    assert efficiency.measure_latency(model, batch, passes=2) == 0.25
    assert model.passes == [False] * 3
    assert all(map(torch.equal, before, model.parameters()))
    assert efficiency.measure_step(model, batch, passes=2) == 0.25
    assert model.passes[3:] == [True] * 3
    assert not any(map(torch.equal, before[1:], list(model.parameters())[1:]))
    assert torch.equal(before[0], model.fixed)


def test_the_environment_names_versions_and_what_a_model_needs():
    environment = efficiency.describe_environment(["rich"])
    assert environment["torch"] == metadata.version("torch")
    assert environment["rich"] == metadata.version("rich")
    assert environment["threads"] == str(torch.get_num_threads())
    with pytest.raises(metadata.PackageNotFoundError):
        efficiency.describe_environment(["no-such-package"])
