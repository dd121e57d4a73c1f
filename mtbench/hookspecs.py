"""The plugin contract, all of it.

A plugin is a module with functions named like these, each marked with :data:`hookimpl`. It is found through the
entry-point group ``mtbench``, through ``--plugin FILE.py`` or through the variable ``MTBENCH_PLUGINS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytorch_lightning import Callback
    from torchmetrics import Metric

    from mtbench import Balancer, Dataset, Experiment, Input, Launcher, MultiTaskModel, Record, Reference

hookspec = pluggy.HookspecMarker("mtbench")
hookimpl = pluggy.HookimplMarker("mtbench")
"""Marks the functions of a plugin that are hooks. Since 0.1, stable."""

T_contra = TypeVar("T_contra", contravariant=True)


class Register(Protocol[T_contra]):
    """Registers one name; a target given as ``"package.module:Class"`` is imported only when it is used.

    Since 0.1, stable.
    """

    def __call__(self, name: str, target: str | type[T_contra], *, default: bool | str = False) -> None:
        """Register ``target`` under ``name``.

        An experiment that names no balancer, metrics or launcher takes those that are the ``default``; a metric with a
        cutoff says which: ``register("ndcg@k", ..., default="ndcg@10")``.
        """


@hookspec
def mtbench_models(register: Register[MultiTaskModel | Reference]) -> None:
    """Register models: ``register("mmoe", "my_package.mmoe:MMoE")``.

    Since 0.1, stable.
    """


@hookspec
def mtbench_datasets(register: Register[Dataset[Any]]) -> None:
    """Register datasets: ``register("my-data", "my_package.data:MyData")``.

    Since 0.1, stable.
    """


@hookspec
def mtbench_metrics(register: Register[Metric]) -> None:
    """Register metrics: ``register("auc", "my_package.auc:AUC")``; a name that ends in ``@k`` takes a cutoff.

    Since 0.1, stable.
    """


@hookspec
def mtbench_balancers(register: Register[Balancer]) -> None:
    """Register loss balancers: ``register("equal", "my_package.equal:Equal")``.

    Since 0.1, stable.
    """


@hookspec
def mtbench_inputs(register: Register[Input[Any]]) -> None:
    """Register inputs beyond plain features: ``register("recent", "my_package.recent:Recent")``.

    Since 0.1, stable.
    """


@hookspec
def mtbench_launchers(register: Register[Launcher]) -> None:
    """Register launchers of sweep workers: ``register("local", "my_package.local:Local")``.

    Since 0.1, stable.
    """


@hookspec
def mtbench_callbacks(experiment: Experiment) -> Sequence[Callback]:  # type: ignore[empty-body]
    """Return Lightning callbacks that observe every training run of the experiment.

    Since 0.1, stable.
    """


@hookspec
def mtbench_record_written(record: Record, path: Path) -> None:
    """Take note of a record; called once, after it has been written to ``path``.

    Since 0.1, stable.
    """
