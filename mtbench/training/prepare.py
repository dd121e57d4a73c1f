"""From a plan to the columns that its models are trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mtbench.data.prepare import prepare
from mtbench.inputs.attach import attach_inputs
from mtbench.inputs.input import SourcedInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.data.columns import Columns
    from mtbench.plan import Plan, PlannedInput, PlannedModel


def prepare_data(plan: Plan) -> Columns:
    """Return the prepared columns of a plan's dataset."""
    name = plan.experiment.dataset.name
    return prepare(
        name, plan.dataset, plan.split,
        source=plan.provenances["dataset", name].sha256, warmup=plan.experiment.inputs.warmup,
    )  # fmt: skip


def set_batch_size(plan: Plan, columns: Columns) -> Plan:
    """Return the plan with the batch size that it means for these rows."""
    training = plan.experiment.training.for_rows(columns.counts["train"])
    return replace(plan, experiment=plan.experiment.model_copy(update={"training": training}))


def add_inputs(plan: Plan, columns: Columns, model: PlannedModel) -> Columns:
    """Return the columns with what the model asks for and what the experiment pools for all."""

    def with_source(planned: Sequence[PlannedInput]) -> dict[str, SourcedInput]:
        return {one.name: SourcedInput(one.input, plan.provenances["input", one.name].sha256) for one in planned}

    return attach_inputs(columns, with_source(model.inputs), with_source(plan.pooled))
