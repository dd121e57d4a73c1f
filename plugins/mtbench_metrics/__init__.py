"""First-party metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from torchmetrics import Metric

    from mtbench.hookspecs import Register


@hookimpl
def mtbench_metrics(register: Register[Metric]) -> None:
    """Register the metrics of this package."""
    register("auc", "mtbench_metrics.ranking:AUC")
    register("pr_auc", "mtbench_metrics.ranking:PRAUC")
    register("logloss", "mtbench_metrics.probability:LogLoss")
    register("normalized_entropy", "mtbench_metrics.probability:NormalizedEntropy")
    register("calibration_error", "mtbench_metrics.probability:CalibrationError")
    register("gauc", "mtbench_metrics.grouped:GAUC")
    register("ndcg@k", "mtbench_metrics.grouped:NDCG")
    register("hr@k", "mtbench_metrics.grouped:HitRate")
    register("rmse", "mtbench_metrics.regression:RMSE")
    register("mae", "mtbench_metrics.regression:MAE")
