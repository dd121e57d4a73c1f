"""First-party models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from mtbench.hookspecs import Register
    from mtbench.model import MultiTaskModel


@hookimpl
def mtbench_models(register: Register[MultiTaskModel]) -> None:
    """Register the models of this package."""
    register("single-task", "mtbench_models.single_task:SingleTask")
    register("shared-bottom", "mtbench_models.shared_bottom:SharedBottom")
    register("mmoe", "mtbench_models.mmoe:MMoE")
    register("ple", "mtbench_models.ple:PLE")
