from __future__ import annotations

import math
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import linear_model

from mtbench.data.batches import Ragged
from mtbench.errors import MTBenchError
from mtbench.testing.examples import TASKS, examples
from mtbench_models.boosted_trees import LightGBM
from mtbench_models.constant import Constant
from mtbench_models.encodings import LabelMeans
from mtbench_models.logistic_regression import LogisticRegression
from mtbench_models.means import Means

COLUMNS = examples((TASKS[0], TASKS[1], TASKS[3]))  # click, cart given click, watch (a regression)
DATA = COLUMNS.spec
TRAIN, VALID = COLUMNS.train.whole(), COLUMNS.valid.whole()


def fitted(model, train=TRAIN, seed=0, **settings):
    built = model(model.Config(**settings), DATA, COLUMNS.schema, seed)
    built.fit(train, VALID)
    return built


def dense(batch):
    """One-hot codes, multi-hot lists and numbers of each row, by plain loops."""
    rows = []
    for row in range(len(batch)):
        values = []
        for column, size in enumerate(DATA.categorical.values()):
            code = int(batch.categorical[row, column])
            values += [float(code == number) for number in range(1, size)]
        for name, size in DATA.multi.items():
            lists = batch.multi[name]
            codes = lists.values[lists.offsets[row] : lists.offsets[row + 1]].tolist()
            values += [float(number in codes) for number in range(1, size)]
        rows.append(values + batch.numeric[row].tolist())
    return np.array(rows)


def known(batch, task):
    keep = batch.mask[:, task].numpy() > 0
    return keep, batch.labels[:, task].numpy()[keep].astype(np.float64)


def test_the_constant_is_the_mean_of_the_rows_that_count():
    means = [known(TRAIN, task)[1].mean() for task in range(3)]
    np.testing.assert_allclose(fitted(Constant).predict(VALID), np.tile(means, (len(VALID), 1)), rtol=1e-6)
    assert fitted(Constant).parameters == 3


@pytest.mark.parametrize("of", ["both", "user", "item"])
def test_means_equal_a_plain_computation(of):
    predicted = fitted(Means, of=of, shrinkage=7.0).predict(VALID)
    names = list(DATA.categorical)
    columns = [names.index(name) for name in (("user", "item") if of == "both" else (of,))]
    some = range(0, len(VALID), 7)
    assert any((VALID.categorical[row, columns] == 0).any() for row in some)
    for task in range(3):
        keep, labels = known(TRAIN, task)
        codes = TRAIN.categorical.numpy()[keep]
        mean = labels.mean()
        for row in some:
            deviations = 0.0
            for column in columns:
                code = int(VALID.categorical[row, column])
                own = labels[codes[:, column] == code] if code else labels[:0]
                shrunk = (own.sum() + 7.0 * mean) / (len(own) + 7.0)
                if task == 2:
                    deviations += shrunk - mean
                else:
                    deviations += math.log(shrunk / (1 - shrunk)) - math.log(mean / (1 - mean))
            expected = mean + deviations
            if task < 2:
                expected = 1 / (1 + math.exp(-math.log(mean / (1 - mean)) - deviations))
            assert predicted[row, task] == pytest.approx(expected, rel=1e-5)


def test_means_need_an_id():
    without = replace(DATA, categorical={"country": 6, "shelf": 5})
    with pytest.raises(MTBenchError, match="needs the id of user or item among the features"):
        Means(Means.Config(), without, COLUMNS.schema, 0)
    with pytest.raises(MTBenchError, match="needs the id of user among the features"):
        Means(Means.Config(of="user"), replace(DATA, categorical={"item": 30}), COLUMNS.schema, 0)


def test_logistic_regression_equals_scikit_learn_on_dense_columns():
    model = fitted(LogisticRegression, l2=5.0)
    predicted = model.predict(VALID)
    train, valid = dense(TRAIN), dense(VALID)
    for task in range(2):
        keep, labels = known(TRAIN, task)
        oracle = linear_model.LogisticRegression(C=0.2, max_iter=5000, tol=1e-8, solver="newton-cholesky")
        expected = oracle.fit(train[keep], labels).predict_proba(valid)[:, 1]
        np.testing.assert_allclose(predicted[:, task], expected, atol=1e-4)
    weights = sum(size for size in (*DATA.categorical.values(), *DATA.multi.values())) + len(DATA.numeric) + 1
    assert model.parameters == 3 * weights


def test_ridge_equals_the_closed_form():
    predicted = fitted(LogisticRegression, l2=5.0).predict(VALID)[:, 2]
    keep, labels = known(TRAIN, 2)
    x = dense(TRAIN)[keep]
    y = (labels - labels.mean()) / labels.std()
    centred = x - x.mean(0)
    weights = np.linalg.solve(centred.T @ centred + 5.0 * np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    expected = ((dense(VALID) - x.mean(0)) @ weights + y.mean()) * labels.std() + labels.mean()
    np.testing.assert_allclose(predicted, expected, rtol=1e-3, atol=1e-3)


def test_label_means_of_a_training_row_come_from_other_folds():
    rng = np.random.default_rng(0)
    codes = [rng.choice(np.arange(1, 8), size=rng.integers(0, 4), replace=False) for _ in range(80)]
    hot = sparse.csr_matrix(np.array([[float(code in own) for code in range(8)] for own in codes]))
    labels, fold = rng.normal(size=80), rng.integers(3, size=80)
    means = LabelMeans(shrinkage=2.0)
    columns = means.fit(hot, labels, fold)

    def plain(own, rows):
        overall = labels[rows].mean()
        shrunk, counts = [], []
        for code in own:
            having = [row for row in rows if code in codes[row]]
            shrunk.append((sum(labels[row] for row in having) + 2.0 * overall) / (len(having) + 2.0))
            counts.append(math.log1p(len(having)))
        return (np.mean(shrunk), np.mean(counts)) if len(own) else (overall, 0.0)

    expected = [plain(own, np.flatnonzero(fold != number)) for own, number in zip(codes, fold, strict=True)]
    np.testing.assert_allclose(columns, expected)
    np.testing.assert_allclose(means(hot), [plain(own, np.arange(80)) for own in codes])
    changed = labels.copy()
    changed[5] += 100
    np.testing.assert_array_equal(LabelMeans(2.0).fit(hot, changed, fold)[fold == fold[5]], columns[fold == fold[5]])


def test_lightgbm_has_the_columns_that_it_says():
    model = fitted(LightGBM, rounds=1, means_above=10, list_codes=3)
    table = model.table(VALID)
    small = [at for at, size in enumerate(DATA.categorical.values()) if size - 1 <= 10]
    assert model.averaged == ["user", "item", "tags"]
    lists, trained = VALID.multi["tags"], TRAIN.multi["tags"].values.tolist()
    top = sorted(set(trained) - {0}, key=lambda code: (-trained.count(code), code))[:3]
    for row in range(40):
        own = lists.values[lists.offsets[row] : lists.offsets[row + 1]].tolist()
        expected = [*VALID.categorical[row, small], *VALID.numeric[row], *(own.count(code) for code in top), len(own)]
        np.testing.assert_allclose(table.numbers[row], np.array(expected, np.float32))
    assert fitted(LightGBM, rounds=1, means_above=10, ids=False).averaged == ["tags"]
    nothing = {"tags": Ragged(TRAIN.multi["tags"].values[:0], torch.zeros_like(TRAIN.multi["tags"].offsets))}
    bare = fitted(LightGBM, replace(TRAIN, multi=nothing), rounds=2, means_above=10)
    assert np.isfinite(bare.predict(VALID)).all()


def test_lightgbm_equals_the_library_called_by_hand():
    settings = {"num_leaves": 5, "learning_rate": 0.3, "min_child_samples": 15, "subsample": 0.7, "reg_lambda": 3.0}
    model = fitted(LightGBM, seed=3, rounds=400, patience=10, means_above=1000, list_codes=0, **settings)
    keep, labels = known(TRAIN, 0)
    judged, truth = known(VALID, 0)
    x, z = (
        np.column_stack([batch.categorical, batch.numeric, np.diff(batch.multi["tags"].offsets)]).astype(np.float32)
        for batch in (TRAIN, VALID)
    )
    rows = lightgbm.Dataset(x[keep], labels, categorical_feature=list(range(len(DATA.categorical))))
    parameters = {
        **settings, "objective": "binary", "metric": "auc", "bagging_freq": 1, "feature_fraction": 0.8, "seed": 3,
        "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    stop = lightgbm.early_stopping(10, verbose=False)
    booster = lightgbm.train(
        parameters, rows, 400, valid_sets=[lightgbm.Dataset(z[judged], truth, reference=rows)], callbacks=[stop]
    )
    assert booster.best_iteration < 390
    predictions, scores = model.predict_with_scores(VALID)
    np.testing.assert_allclose(predictions[:, 0], booster.predict(z), rtol=1e-12)
    np.testing.assert_array_equal(scores[:, 0], booster.predict(z, raw_score=True))
    trees = booster.trees_to_dataframe()
    own = trees[trees.tree_index < booster.best_iteration]
    assert model.predictors[0].size == len(own)


def test_a_seed_is_a_seed():
    first, again, other = (fitted(LightGBM, seed=seed, rounds=20).predict(VALID) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
