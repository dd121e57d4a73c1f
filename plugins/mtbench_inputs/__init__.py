"""First-party inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtbench import hookimpl

if TYPE_CHECKING:
    from mtbench import Input, Register


@hookimpl
def mtbench_inputs(register: Register[Input[Any]]) -> None:
    """Register the inputs of this package."""
    register("recent", "mtbench_inputs.recent:Recent")
    register("rates", "mtbench_inputs.rates:Rates")
    register("macro-graph", "mtbench_inputs.macro_graph:MacroGraph")
    register("full-graph", "mtbench_inputs.full_graph:FullGraph")
    register("text", "mtbench_inputs.text:Text")
