"""First-party launchers of sweep workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import hookimpl

if TYPE_CHECKING:
    from mtbench import Launcher, Register


@hookimpl
def mtbench_launchers(register: Register[Launcher]) -> None:
    """Register the launchers of this package."""
    register("local", "mtbench_launchers.local:Local", default=True)
    register("ray", "mtbench_launchers.ray:Ray")
