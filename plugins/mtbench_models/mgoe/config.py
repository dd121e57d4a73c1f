"""Settings of MGOE."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from mtbench import Choice, FloatRange, IntRange
from mtbench_models.config import TowerConfig


class MGOEConfig(TowerConfig):
    """Settings of MGOE: the macro graph, the parts that can be switched off, and what the paper leaves open."""

    embedding_dropout: Annotated[float, FloatRange(0.0, 0.7)] = Field(
        0.5, ge=0, lt=1, description="Dropout on embedded features and on what macro nodes and micro neighbours say."
    )
    user_clusters: Annotated[int, IntRange(5, 100, log=True)] = Field(10, gt=0, description="Macro nodes of users.")
    item_clusters: Annotated[int, IntRange(5, 100, log=True)] = Field(10, gt=0, description="Macro nodes of items.")
    neighbors: int = Field(20, gt=0, description="Latest micro neighbours of the user.")
    scores: Literal["additive", "lexicographic", "binary"] = Field(
        "additive", description="How the tasks that a user did with an item are merged; `binary` does not merge them."
    )
    counts: Literal["raw", "scaled"] = Field(
        "raw", description="Whether edge weights grow as the graph does: raw ones say how much is known of a node."
    )
    graph: dict[str, Any] = Field(
        default_factory=dict, description="Further settings of the input macro-graph, such as {beta: 0.5}."
    )
    expert_layers: Annotated[tuple[PositiveInt, ...], Choice(((64, 32), (128, 64), (256, 128)))] = Field(
        (128, 64), min_length=1, description="Layer sizes of a task's Macro Graph Expert."
    )
    temperature: Annotated[float, FloatRange(0.3, 2.0, log=True)] = Field(
        1.0, gt=0, description="Divides the logarithms of edge weights: lower ones let the strongest edges stand out."
    )
    macro_graph: bool = Field(True, description="Off: experts see features alone, and there is no task table.")
    gates: bool = Field(True, description="Off: each task has the output of its own expert alone.")
    micro: bool = Field(True, description="Off: no micro neighbours.")
    task_table: bool = Field(True, description="Off: towers are not given the macro node that stands for their task.")
    info: bool = Field(True, description="Off: no tower takes what the one before it knows.")
    chain: Literal["auto", "order"] = Field(
        "auto",
        description="Whose tower comes before a task's: 'order' is the task's listed before it; 'auto' is the task's "
        "that it is given, or the one's listed before it where no task is given another.",
    )
    attention: Literal["none", "neighbors"] = Field(
        "none", description="Whether neighbours are also weighed by their likeness to the target, as MacGNN means to."
    )
    neighbor_dropout: Annotated[float, FloatRange(0.0, 0.8)] = Field(
        0.5, ge=0, lt=1, description="Share of the micro neighbours that a row goes without in training."
    )
    fusion: Literal["linear", "gate"] = Field(
        "linear", description="Macro and micro are mapped together, or mixed by a sigmoid gate."
    )
    detach_gates: bool = Field(False, description="Let gates train no embedding.")
