"""First-party loss balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from mtbench.hookspecs import Register
    from mtbench.training.balancing import Balancer


@hookimpl
def mtbench_balancers(register: Register[Balancer]) -> None:
    """Register the balancers of this package."""
    register("equal", "mtbench_balancers.fixed:Equal")
    register("weighted", "mtbench_balancers.fixed:Weighted")
