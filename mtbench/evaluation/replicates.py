"""Values of metrics under resamples, as they are kept."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mtbench.record.form import Part


class TaskReplicates(Part):
    """A metric under each resample, the mean over the seeds; null where any seed has no value."""

    metric: str
    values: list[float | None]


class Replicates(Part):
    """The primary metrics on test under resamples, by task."""

    clusters: Literal["users", "rows"]
    number: int = Field(ge=1, description="Clusters there are, and clusters drawn in a resample.")
    draws: str = Field(description="sha256 of the clusters' ids and a resample: equal where resamples are joint.")
    count: int = Field(description="Resamples.")
    tasks: dict[str, TaskReplicates]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, task in self.tasks.items():
            if len(task.values) != self.count:
                raise ValueError(f"task '{name}' has {len(task.values)} values of {self.count} resamples")
        return self
