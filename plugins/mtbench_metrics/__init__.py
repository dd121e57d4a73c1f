"""First-party metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench import hookimpl

if TYPE_CHECKING:
    from torchmetrics import Metric

    from mtbench import Register


@hookimpl
def mtbench_metrics(register: Register[Metric]) -> None:
    """Register the metrics of this package."""
    register("auc", "mtbench_metrics.ranking:AUC", default=True)
    register("gauc", "mtbench_metrics.grouped:GAUC", default=True)
    register("pr_auc", "mtbench_metrics.ranking:PRAUC", default=True)
    register("logloss", "mtbench_metrics.probability:LogLoss", default=True)
    register("normalized_entropy", "mtbench_metrics.probability:NormalizedEntropy", default=True)
    register("calibration_error", "mtbench_metrics.probability:CalibrationError", default=True)
    register("ndcg@k", "mtbench_metrics.grouped:NDCG", default="ndcg@10")
    register("hr@k", "mtbench_metrics.grouped:HitRate", default="hr@10")
    register("rmse", "mtbench_metrics.regression:RMSE", default=True)
    register("mae", "mtbench_metrics.regression:MAE", default=True)
    register("qwk", "mtbench_metrics.ordinal:QuadraticWeightedKappa", default=True)
    register("poisson_deviance", "mtbench_metrics.count:PoissonDeviance", default=True)
