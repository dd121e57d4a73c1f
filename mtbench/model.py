"""What a model plugin is."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mtbench.errors import MTBenchError
from mtbench.kinds.targets import Targets
from mtbench.nn.loss import masked_mean
from mtbench.nn.sharing import find_shared
from mtbench.nn.wide import Wide
from mtbench.schema import Choice, FloatRange, IntRange, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.data.batches import Batch
    from mtbench.schema import Component, DataSpec, ModelCard, Schema


class ModelConfig(Settings):
    """Settings of a model; plugins add fields, with the search range of each beside it.

    Since 0.1, stable.
    """

    embedding_dim: Annotated[int, IntRange(4, 64, log=True)] = Field(
        16, gt=0, description="Width of a feature's embedding."
    )
    embedding_dropout: Annotated[float, FloatRange(0.0, 0.7)] = Field(
        0.3, ge=0, lt=1, description="Dropout on embedded features; ids are overfitted without."
    )
    wide: Annotated[bool, Choice((True, False))] = Field(
        True, description="Add a linear model of the features to the logits, in which papers differ."
    )


class MultiTaskModel(nn.Module):
    """Base class of every model that is a network.

    A subclass names its settings in an inner class ``Config``, builds its layers in ``__init__`` and returns logits
    from ``forward``. To these, ``wide`` adds a linear model; ``targets`` makes losses and predictions of them, by the
    kind of each task. ``packages`` are the distributions that it needs beyond mtbench's own: an experiment is refused
    where one is missing.

    Since 0.1, stable.
    """

    plugin_kind: ClassVar[str] = "model"
    Config: ClassVar[type[ModelConfig]] = ModelConfig
    card: ClassVar[ModelCard | None] = None
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ModelConfig, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data = data
        self.targets = Targets(data)
        if config.wide and (data.categorical or data.multi or data.numeric):
            self.wide = Wide(data)
            self.register_forward_hook(_add_wide)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "predict" in vars(cls) and "score" not in vars(cls):
            cls.score = _give_no_score  # type: ignore[assignment,method-assign] # its predictions may be in another order

    @classmethod
    def inputs(cls, config: ModelConfig, schema: Schema) -> Sequence[Component]:  # noqa: ARG003
        """Return what the model needs beyond features: ``[Component(name="recent", length=20)]``.

        It is in ``data.inputs`` and, for each batch, in ``batch.inputs``, by the input's name.
        """
        return ()

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (batch, tasks)."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return each task's loss over the rows that count, shape (tasks,), by its kind."""
        return masked_mean(self.targets.loss(outputs, batch.labels), batch.mask)

    def predict(self, outputs: Tensor) -> Tensor:
        """Turn logits into predictions, shape (batch, tasks): probabilities, or values in the unit of the label.

        In double precision, for a probability near 1 has few digits otherwise.
        """
        return self.targets.predict(outputs)

    def score(self, outputs: Tensor) -> Tensor:
        """Return what metrics that rank go by, float64 of shape (batch, tasks): logits, for predictions saturate.

        NaN where the predictions themselves rank: in all tasks of a subclass that overrides :meth:`predict` alone.
        """
        return self.targets.score(outputs)

    def statistics(self) -> Mapping[str, float]:
        """Return what the last forward was like inside, such as how a router divided its rows; finite numbers.

        The record keeps their means over the validation rows of every epoch. A name ``use/click/0`` is the entry of a
        table ``use`` in row ``click`` and column ``0``.
        """
        return {}

    def shared_parameters(self, batch: Batch) -> Sequence[nn.Parameter]:
        """Return the parameters at which balancers combine the gradients of the tasks; all others belong to one task.

        By default those that two tasks or more are found to learn from some training rows: that have a gradient of both
        in one and the same value. A stack of towers is not shared, then; a stack of which some networks are shared and
        some are a task's own is, as a whole.
        """
        probe = copy.deepcopy(self, {id(self.data): self.data}).train()
        shared = set(find_shared(probe, lambda: probe.loss(probe(batch), batch)))
        return [parameter for name, parameter in self.named_parameters() if name in shared]


def _give_no_score(model: MultiTaskModel, outputs: Tensor) -> Tensor:  # noqa: ARG001
    return torch.full_like(outputs, torch.nan)


def _add_wide(model: MultiTaskModel, inputs: tuple[Batch], logits: Tensor) -> Tensor:
    wide: Tensor = model.wide(*inputs)
    if logits.shape != wide.shape:
        name = type(model).__name__
        raise MTBenchError(f"{name}: logits must have shape {tuple(wide.shape)}, not {tuple(logits.shape)}")
    return logits + wide


class Reference(ABC):
    """Base class of a model that is no network: fitted as a whole, without epochs, balancer and device.

    A subclass names its settings in an inner class ``Config``. ``data`` describes the encoded columns and ``schema``
    what they mean; all randomness comes from ``seed``. Rows come as a batch in memory that holds a whole split, with
    what the model asked for in ``inputs`` and what the experiment gives to all models among the features. ``packages``
    are the distributions that it needs beyond mtbench's own: an experiment is refused where one is missing, and their
    versions stand in the record. A model that is not ``seeded`` draws no random numbers, and is fitted once for all
    seeds.

    Since 0.1, stable.
    """

    plugin_kind: ClassVar[str] = "model"
    Config: ClassVar[type[Settings]] = Settings
    card: ClassVar[ModelCard | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    seeded: ClassVar[bool] = True

    def __init__(self, config: Settings, data: DataSpec, schema: Schema, seed: int) -> None:
        self.config = config
        self.data = data
        self.schema = schema
        self.seed = seed

    @classmethod
    def inputs(cls, config: Settings, schema: Schema) -> Sequence[Component]:  # noqa: ARG003
        """Return what the model needs beyond features, as :meth:`MultiTaskModel.inputs` does."""
        return ()

    @abstractmethod
    def fit(self, train: Batch, valid: Batch) -> None:
        """Learn from the training rows where ``mask`` is 1; the validation rows may choose among what was learned."""

    @abstractmethod
    def predict(self, rows: Batch) -> np.ndarray:
        """Return predictions, finite, of shape (rows, tasks): probabilities, or values in the unit of the label.

        What a task's kind cannot predict, such as a count below 0, is moved to the nearest that it can.
        """

    def predict_with_scores(self, rows: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and what metrics that rank go by, both (rows, tasks): log-odds, which do not saturate.

        Such scores have the order of the predictions. They are NaN, as all are by default, where predictions rank.
        """
        predictions = np.asarray(self.predict(rows))
        return predictions, np.full(predictions.shape, np.nan)

    @property
    def parameters(self) -> int | None:
        """Number of fitted values, None where that has no meaning."""
        return None
