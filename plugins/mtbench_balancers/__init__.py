"""First-party loss balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import hookimpl

if TYPE_CHECKING:
    from mtbench import Balancer, Register


@hookimpl
def mtbench_balancers(register: Register[Balancer]) -> None:
    """Register the balancers of this package."""
    register("equal", "mtbench_balancers.fixed:Equal", default=True)
    register("weighted", "mtbench_balancers.fixed:Weighted")
    register("uncertainty", "mtbench_balancers.losses:Uncertainty")
    register("imtl-l", "mtbench_balancers.losses:IMTLL")
    register("dwa", "mtbench_balancers.losses:DWA")
    register("famo", "mtbench_balancers.losses:FAMO")
    register("stch", "mtbench_balancers.losses:STCH")
    register("geometric-mean", "mtbench_balancers.losses:GeometricMean")
    register("random", "mtbench_balancers.losses:RandomWeights")
    register("cosmos", "mtbench_balancers.losses:COSMOS")
    register("pbi", "mtbench_balancers.losses:PBI")
    register("upgrad", "mtbench_balancers.gradients:UPGrad")
    register("dualproj", "mtbench_balancers.gradients:DualProj")
    register("pcgrad", "mtbench_balancers.gradients:PCGrad")
    register("mgda", "mtbench_balancers.gradients:MGDA")
    register("cagrad", "mtbench_balancers.gradients:CAGrad")
    register("nash-mtl", "mtbench_balancers.gradients:NashMTL")
    register("imtl-g", "mtbench_balancers.gradients:IMTLG")
    register("aligned-mtl", "mtbench_balancers.gradients:AlignedMTL")
    register("fairgrad", "mtbench_balancers.gradients:FairGrad")
    register("config", "mtbench_balancers.gradients:ConFIG")
    register("graddrop", "mtbench_balancers.gradients:GradDrop")
    register("gradnorm", "mtbench_balancers.gradnorm:GradNorm")
