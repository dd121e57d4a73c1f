"""First-party models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import hookimpl

if TYPE_CHECKING:
    from mtbench import MultiTaskModel, Reference, Register


@hookimpl
def mtbench_models(register: Register[MultiTaskModel | Reference]) -> None:
    """Register the models of this package."""
    register("single-task", "mtbench_models.single_task:SingleTask")
    register("shared-bottom", "mtbench_models.shared_bottom:SharedBottom")
    register("mmoe", "mtbench_models.mmoe:MMoE")
    register("ple", "mtbench_models.ple:PLE")
    register("mgoe", "mtbench_models.mgoe:MGOE")
    register("macgnn", "mtbench_models.macgnn:MacGNN")
    register("lightgcn", "mtbench_models.lightgcn:LightGCN")
    register("grec", "mtbench_models.grec:GRec")
    register("omoe", "mtbench_models.omoe:OMoE")
    register("cgc", "mtbench_models.cgc:CGC")
    register("cross-stitch", "mtbench_models.cross_stitch:CrossStitch")
    register("snr-trans", "mtbench_models.snr_trans:SNRTrans")
    register("esmm", "mtbench_models.esmm:ESMM")
    register("aitm", "mtbench_models.aitm:AITM")
    register("adatt", "mtbench_models.adatt:AdaTT")
    register("stem", "mtbench_models.stem:STEM")
    register("pepnet", "mtbench_models.pepnet:PEPNet")
    register("home", "mtbench_models.home:HoME")
    register("constant", "mtbench_models.constant:Constant")
    register("means", "mtbench_models.means:Means")
    register("logistic-regression", "mtbench_models.logistic_regression:LogisticRegression")
    register("lightgbm", "mtbench_models.boosted_trees:LightGBM")
