"""Gradient-boosted trees per task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mtbench import FloatRange, IntRange, ModelCard, Settings
from mtbench_models.encodings import LabelMeans, hot_columns
from mtbench_models.per_task import Labelled, PerTask, find_id_features

if TYPE_CHECKING:
    from scipy import sparse

    from mtbench import Batch, DataSpec, Ragged, Schema, Task

STOP_BY = {"auc": "auc", "pr_auc": "average_precision", "rmse": "rmse", "mae": "mae"}
"""Primary metric -> LightGBM's name of it."""


TREES = {
    "num_leaves", "learning_rate", "min_child_samples", "subsample", "colsample_bytree", "reg_lambda",
    "max_cat_threshold", "min_data_per_group",
}  # fmt: skip
"""Settings that LightGBM itself is given."""


@dataclass
class TreeTable:
    """Numbers (rows, columns) and, for each feature to average, its codes as a matrix."""

    numbers: np.ndarray
    hot: list[sparse.csr_matrix]

    def __getitem__(self, rows: np.ndarray) -> TreeTable:
        return TreeTable(self.numbers[rows], [hot[rows] for hot in self.hot])

    def join(self, columns: list[np.ndarray]) -> np.ndarray:
        """Return the numbers and further columns."""
        return np.concatenate([self.numbers, *columns], axis=1, dtype=np.float32)

    def with_means(self, means: list[LabelMeans]) -> np.ndarray:
        """Return the numbers and the label means of the codes."""
        return self.join([one(hot) for one, hot in zip(means, self.hot, strict=True)])


class TreePredictor(NamedTuple):
    """What predicts a task."""

    means: list[LabelMeans]
    booster: Any

    @property
    def size(self) -> int:
        """Number of splits, leaves and means."""
        trees = self.booster.dump_model(num_iteration=self.booster.best_iteration)["tree_info"]
        nodes: int = sum(2 * tree["num_leaves"] - 1 for tree in trees)
        means: int = sum(one.means.size - 1 for one in self.means)
        return nodes + means


class LightGBM(PerTask):
    """Gradient-boosted trees per task.

    Features of many codes, ids above all, become label means: far better here than splits by category.
    """

    class Config(Settings):
        """Settings of the trees, with LightGBM's names where it has them."""

        ids: bool = Field(True, description="Give the ids of users and items, where they are features.")
        num_leaves: Annotated[int, IntRange(7, 255, log=True)] = Field(15, gt=1, description="Leaves of a tree.")
        learning_rate: Annotated[float, FloatRange(0.01, 0.2, log=True)] = Field(
            0.03, gt=0, description="Shrinkage of each tree."
        )
        rounds: int = Field(2000, gt=0, description="Trees at most.")
        patience: int = Field(50, gt=0, description="Stop after this many trees without a better validation value.")
        min_child_samples: Annotated[int, IntRange(5, 500, log=True)] = Field(
            50, gt=0, description="Training rows of a leaf at least."
        )
        subsample: Annotated[float, FloatRange(0.5, 1.0)] = Field(
            0.8, gt=0, le=1, description="Share of the rows that each tree is grown on."
        )
        colsample_bytree: Annotated[float, FloatRange(0.3, 1.0)] = Field(
            0.8, gt=0, le=1, description="Share of the columns that each tree is grown on."
        )
        reg_lambda: Annotated[float, FloatRange(0.1, 100.0, log=True)] = Field(
            1.0, ge=0, description="L2 penalty of the leaves."
        )
        means_above: int = Field(
            100, ge=0, description="Give features of more codes than this as label means, the others as categories."
        )
        shrinkage: Annotated[float, FloatRange(1.0, 100.0, log=True)] = Field(
            10.0, gt=0, description="Rows with the mean label that each code is thought to have besides."
        )
        folds: int = Field(5, gt=1, description="Parts of the training rows that get each other's label means.")
        max_cat_threshold: Annotated[int, IntRange(8, 256, log=True)] = Field(
            32, gt=0, description="Categories on one side of a split at most."
        )
        min_data_per_group: Annotated[int, IntRange(10, 500, log=True)] = Field(
            100, gt=0, description="Training rows that joined categories must have to be split off."
        )
        list_codes: int = Field(32, ge=0, description="Most frequent codes of a multi-valued feature that are columns.")

    card = ModelCard(
        paper=(
            "Ke, Meng, Finley, Wang, Chen, Ma, Ye, Liu: LightGBM: A Highly Efficient Gradient Boosting Decision Tree. "
            "NeurIPS 2017."
        ),
        equations=(
            "y_t = sigmoid(sum over k of tree_tk(x)), or the sum itself for a number",
            "mean of a code = (s + shrinkage m) / (n + shrinkage), s the sum of its n labels, m the mean of all",
        ),
        inferred=(
            (
                "Decided here: a categorical feature is split as a category or, above `means_above` codes, given as "
                "the mean label of its code and the logarithm of the count of rows behind it, for a training row from "
                "other folds."
            ),
            (
                "Decided here: a multi-valued feature gives how often the list has each of its most frequent codes, "
                "its length and, above `means_above` codes, the average of their label means."
            ),
            (
                "Decided here: boosting stops when the validation rows no longer improve by the task's primary metric, "
                "or by the loss where LightGBM does not know that metric (it knows auc, pr_auc, rmse, mae)."
            ),
        ),
    )
    packages: ClassVar[tuple[str, ...]] = ("lightgbm",)

    def __init__(self, config: Config, data: DataSpec, schema: Schema, seed: int) -> None:
        super().__init__(config, data, schema, seed)
        self.settings = config
        left_out = () if config.ids else find_id_features(schema, schema.user, schema.item)
        sizes = {name: size for name, size in {**data.categorical, **data.multi}.items() if name not in left_out}
        self.averaged = [name for name, size in sizes.items() if size - 1 > config.means_above]
        self.categories = [
            at for at, name in enumerate(data.categorical) if name in sizes and name not in self.averaged
        ]

    def fit(self, train: Batch, valid: Batch) -> None:
        """Choose the columns of lists, then fit each task."""
        self.list_columns = {
            name: _choose_columns(train.multi[name], size, self.settings.list_codes)
            for name, size in self.data.multi.items()
        }
        super().fit(train, valid)

    def table(self, rows: Batch) -> TreeTable:
        """Return the categories first, then numbers and lists; apart from them the codes to average."""
        parts = [rows.categorical.numpy()[:, self.categories], rows.numeric.numpy()]
        parts += [_count_codes(rows.multi[name], columns) for name, columns in self.list_columns.items()]
        hot = hot_columns(rows, self.data)
        return TreeTable(np.concatenate(parts, axis=1, dtype=np.float32), [hot[name] for name in self.averaged])

    def fit_task(self, task: Task, train: Labelled, valid: Labelled) -> TreePredictor:
        """Return the label means and the booster, cut after its best round."""
        import lightgbm  # noqa: PLC0415 - an optional dependency

        rng = np.random.default_rng((self.seed, self.data.tasks.index(task)))
        fold = rng.permutation(np.arange(len(train.labels)) % self.settings.folds)
        means = [LabelMeans(self.settings.shrinkage) for _ in self.averaged]
        columns = [one.fit(hot, train.labels, fold) for one, hot in zip(means, train.table.hot, strict=True)]
        parameters = self._parameters(task)
        rows = lightgbm.Dataset(
            train.table.join(columns),
            train.labels,
            categorical_feature=list(range(len(self.categories))),
            params=parameters,
        )
        judged = lightgbm.Dataset(valid.table.with_means(means), valid.labels, reference=rows)
        booster = lightgbm.train(
            parameters,
            rows,
            self.settings.rounds,
            valid_sets=[judged] if len(valid.labels) else [],
            callbacks=[lightgbm.early_stopping(self.settings.patience, verbose=False)] if len(valid.labels) else [],
        )
        return TreePredictor(means, booster)

    def _parameters(self, task: Task) -> dict[str, Any]:
        return {
            **self.settings.model_dump(include=TREES),
            "objective": "binary" if task.probability else "regression",
            "metric": STOP_BY.get(task.primary, "binary_logloss" if task.probability else "l2"),
            "subsample_freq": 1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": torch.get_num_threads(),
            "verbosity": -1,
        }

    def score_task(self, task: Task, predictor: TreePredictor, table: TreeTable) -> np.ndarray:  # noqa: ARG002
        """Return the sums of the trees: log-odds, or values."""
        columns, threads = table.with_means(predictor.means), torch.get_num_threads()
        sums: np.ndarray = predictor.booster.predict(columns, raw_score=True, num_threads=threads)
        return sums

    @property
    def parameters(self) -> int:
        """Splits and leaves of the trees, and label means; a constant counts as one."""
        return sum(1 if one is None else one.size for one in self.predictors)


def _choose_columns(lists: Ragged, size: int, count: int) -> np.ndarray:
    """Return the column of each code, (size,): the known codes that occur most often have one, the others -1."""
    often = np.bincount(lists.values.numpy(), minlength=size)
    often[0] = 0
    codes = np.argsort(-often, kind="stable")[: min(count, np.count_nonzero(often))]
    columns = np.full(size, -1)
    columns[codes] = np.arange(len(codes))
    return columns


def _count_codes(lists: Ragged, columns: np.ndarray) -> np.ndarray:
    """Return how often each list has each of the codes with a column, and its length, (rows, columns + 1)."""
    lengths = np.diff(lists.offsets.numpy())
    row, column = np.repeat(np.arange(len(lengths)), lengths), columns[lists.values.numpy()]
    counts = np.zeros((len(lengths), columns.max() + 2), np.float32)
    np.add.at(counts, (row[column >= 0], column[column >= 0]), 1)
    counts[:, -1] = lengths
    return counts
