from __future__ import annotations

from typing import ClassVar

from mtbench.testing.models import ModelSuite
from mtbench_models.mmoe import MMoE
from mtbench_models.ple import PLE
from mtbench_models.shared_bottom import SharedBottom
from mtbench_models.single_task import SingleTask


class TestSingleTask(ModelSuite):
    model = SingleTask


class TestSharedBottom(ModelSuite):
    model = SharedBottom


class TestMMoE(ModelSuite):
    model = MMoE


class TestPLE(ModelSuite):
    model = PLE


class TestPLEOfOneLevel(ModelSuite):
    model = PLE
    settings: ClassVar = {"levels": 1, "task_experts": 1, "shared_experts": 3}
