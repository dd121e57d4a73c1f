from __future__ import annotations

import pytest
import torch
from torch import multiprocessing

from mtbench.evaluation.metric import UndefinedMetricError
from mtbench_metrics.grouped import GAUC, NDCG, HitRate
from mtbench_metrics.ordinal import QuadraticWeightedKappa
from mtbench_metrics.probability import CalibrationError, LogLoss, NormalizedEntropy
from mtbench_metrics.ranking import AUC, PRAUC
from mtbench_metrics.regression import MAE, RMSE

ALL = {
    "auc": AUC,
    "pr_auc": PRAUC,
    "logloss": LogLoss,
    "normalized_entropy": NormalizedEntropy,
    "calibration_error": CalibrationError,
    "gauc": GAUC,
    "ndcg@2": lambda: NDCG(k=2),
    "hr@2": lambda: HitRate(k=2),
    "rmse": RMSE,
    "mae": MAE,
    "qwk": QuadraticWeightedKappa,
}


@pytest.fixture(params=ALL)
def metric(request):
    return ALL[request.param]()


def rows(count=200):
    generator = torch.Generator().manual_seed(3)
    preds = (torch.rand(count, generator=generator) * 20).round() / 20
    target = (torch.rand(count, generator=generator) < preds).float()
    return preds, target, torch.randint(0, 30, (count,), generator=generator)


def test_streamed_updates_equal_one_update(metric):
    columns = rows()
    metric.update(*columns)
    whole = metric.compute()
    assert whole.dtype == torch.float64
    assert whole.shape == ()
    metric.reset()
    for part in zip(*(column.split((1, 0, 150, 49)) for column in columns), strict=True):
        metric.update(*part)
    assert torch.equal(metric.compute(), whole)


def test_a_perfect_model_gets_the_best_value_and_a_worse_one_less(metric):
    preds, target, groups = rows()
    metric.update(target, target, groups)
    assert metric.compute().item() == pytest.approx(metric.best, abs=1e-12)
    metric.reset()
    metric.update(preds, target, groups)
    assert (metric.compute().item() < metric.best) == metric.higher_is_better


def test_no_rows_are_undefined(metric):
    metric.update(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.int64))
    with pytest.raises(UndefinedMetricError, match="there are no rows"):
        metric.compute()


def test_values_that_are_not_finite_are_refused_by_name(metric):
    name = type(metric).__name__
    with pytest.raises(ValueError, match=f"{name}: 1 of 2 predictions are NaN"):
        metric.update(torch.tensor([0.5, torch.nan]), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=f"{name}: 1 of 2 labels are NaN"):
        metric.update(torch.tensor([0.5, 0.5]), torch.tensor([torch.nan, 1.0]))


def test_shapes_that_would_broadcast_are_refused(metric):
    with pytest.raises(ValueError, match="must all have shape"):
        metric.update(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(ValueError, match="must all have shape"):
        metric.update(torch.zeros(3), torch.zeros(3), torch.zeros(2, dtype=torch.int64))


def test_binary_labels_must_be_binary(metric):
    if "binary" in metric.kinds:
        with pytest.raises(ValueError, match="must be 0 or 1"):
            metric.update(torch.zeros(2), torch.tensor([0.0, 0.5]))


def _process(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    # uneven parts, as at the end of an epoch
    part = [column[:70] if rank == 0 else column[70:] for column in rows()]
    values = []
    for make in ALL.values():
        metric = make()
        metric.update(*part)
        values.append(metric.compute())
    torch.save(torch.stack(values), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_get_the_value_of_one(tmp_path):
    expected = []
    for make in ALL.values():
        metric = make()
        metric.update(*rows())
        expected.append(metric.compute())
    multiprocessing.spawn(_process, (tmp_path,), nprocs=2)
    for rank in range(2):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), torch.stack(expected))
