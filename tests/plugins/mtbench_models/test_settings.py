from __future__ import annotations

import pickle

import pytest
import torch

from mtbench.registry import Registry
from mtbench.schema import Choice, FloatRange, IntRange
from tests.plugins.mtbench_models.slow_forms import columns, rows

NAMES = ("omoe", "cgc", "cross-stitch", "snr-trans", "esmm", "aitm", "adatt", "stem", "pepnet", "home")
NEVER_SEARCHED = {"pepnet": {"domain", "personal"}}


@pytest.fixture(params=NAMES)
def model(request):
    return request.param, Registry.load().resolve("model", request.param)


def test_defaults_lie_in_their_search_ranges(model):
    name, cls = model
    config, ranged = cls.Config(), set()
    for field, info in cls.Config.model_fields.items():
        assert info.description, field
        for limits in info.metadata:
            value = getattr(config, field)
            if isinstance(limits, IntRange | FloatRange):
                assert limits.low <= value <= limits.high, field
                cls.Config(**{field: limits.low})
                cls.Config(**{field: limits.high})
                ranged.add(field)
            elif isinstance(limits, Choice):
                assert value in limits.values, field
                for choice in limits.values:
                    assert getattr(cls.Config(**{field: choice}), field) == choice
                ranged.add(field)
    assert ranged == set(cls.Config.model_fields) - NEVER_SEARCHED.get(name, set())


def test_a_model_can_be_sent_to_another_process(model):
    _, cls = model
    built = cls(cls.Config(), columns().spec).eval()
    sent = pickle.loads(pickle.dumps(built))  # noqa: S301 - made in this line
    assert torch.equal(sent(rows()), built(rows()))
