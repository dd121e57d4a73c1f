"""What one more task costs: parameters, operations, training step and inference of every model for 1 to 32 tasks.

    python performance/task_scaling.py

measures all models on the same rows, round by round so that a busy machine slows all of them alike, prints a table, and
writes ``results/task_scaling.{json,md,svg}``. Ratios to one task are the result; milliseconds are of this machine.
"""

from __future__ import annotations

import math
import statistics
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from pictures import write_picture
from rich.progress import track
from sheets import Sheet, publish

from mtbench.charts.plots import LINE_HEIGHT, Line, Mark, Plot, PlotText, framed, join
from mtbench.charts.scale import fit
from mtbench.model import MultiTaskModel
from mtbench.registry import Registry
from mtbench.schema import Task
from mtbench.testing.examples import examples, schema
from mtbench.training import efficiency
from mtbench_inputs.macro.scores import MOST_TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtbench.data.rows import SplitRows

RESULTS = Path(__file__).parent / "results"
TASKS = [1, 2, 4, 8, 16, 32]
FRAME = framed(600, 440, right=60)
TOLD = "grec"
MEASURES = {
    "parameters": "trainable values",
    "flops": "operations per row",
    "step": "training step, ms",
    "inference": "inference, ms",
}


def prepare_model(cls: type[MultiTaskModel], tasks: int) -> tuple[MultiTaskModel, SplitRows, int]:
    """Return a model for so many binary tasks at its default settings, all training rows, and their number."""
    asked = [Task(name=f"task{number}") for number in range(tasks)]
    first = [task.name for task in asked[:MOST_TASKS]]  # a macro graph can be made from no more
    possible = {"encoder": "hashed", "graph": {"tasks": first}}
    config = cls.Config(**{name: value for name, value in possible.items() if name in cls.Config.model_fields})
    columns = examples(asked, cls.inputs(config, schema(asked)))
    torch.manual_seed(0)
    return cls(config, columns.spec), columns.train, len(columns.train)


def measure(
    models: dict[str, type[MultiTaskModel]], tasks: Sequence[int], rows: int, rounds: int
) -> list[dict[str, Any]]:
    """Return one entry for each model and number of tasks: the medians over rounds."""
    cases = []
    for name, cls in models.items():
        for count in tasks:
            model, train, size = prepare_model(cls, count)
            batch = train.take(torch.randperm(size, generator=torch.Generator().manual_seed(0))[:rows])
            cases.append((name, count, model, batch))
    seconds: list[list[tuple[float, float]]] = [[] for _ in cases]
    for _ in range(rounds):
        for (_, _, model, batch), times in zip(track(cases, "measuring"), seconds, strict=True):
            times.append(
                (efficiency.measure_step(model, batch, passes=3), efficiency.measure_latency(model, batch, passes=3))
            )
    return [
        {
            "model": name,
            "tasks": count,
            "parameters": efficiency.count_parameters(model),
            "flops": efficiency.count_flops_per_row(model, batch),
            "step": 1000 * statistics.median(step for step, _ in times),
            "inference": 1000 * statistics.median(inference for _, inference in times),
        }
        for (name, count, model, batch), times in zip(cases, seconds, strict=True)
    ]


def list_growth(results: Sequence[dict[str, Any]], measure: str) -> list[list[str]]:
    """Return, for each model, the value at the fewest tasks and the ratios of the others to it, least growth first."""
    lines = []
    for name in dict.fromkeys(result["model"] for result in results):
        values = [result[measure] for result in results if result["model"] == name]
        ratios = [value / values[0] for value in values[1:]]
        lines.append((ratios[-1], [name, f"{values[0]:,.4g}", *(f"{ratio:.2f}x" for ratio in ratios)]))
    return [line for _, line in sorted(lines)]


def make_sheets(results: Sequence[dict[str, Any]], tasks: Sequence[int]) -> list[Sheet]:
    """Return a table for each measure."""
    head = ["model", *map(str, tasks)]
    return [
        Sheet(head, list_growth(results, measure), f"{meaning}, and its growth with the number of tasks")
        for measure, meaning in MEASURES.items()
    ]


def draw_growth(results: Sequence[dict[str, Any]]) -> Plot:
    """Draw inference time relative to the fewest tasks; the line of the model that is told from others is on top."""
    curves = {}
    for name in sorted({result["model"] for result in results}, key=lambda name: name == TOLD):
        own = [(result["tasks"], result["inference"]) for result in results if result["model"] == name]
        curves[name] = [(tasks, value / own[0][1]) for tasks, value in own]
    growths = [growth for curve in curves.values() for _, growth in curve]
    counts = sorted({result["tasks"] for result in results})
    x = fit(counts, FRAME.left, FRAME.right, log=True)
    y = fit(growths, FRAME.bottom, FRAME.top, log=True)
    lines, marks = [], []
    for name, curve in curves.items():
        hue = "series-0" if name == TOLD else "quiet"
        places = [(x.at(tasks), y.at(growth)) for tasks, growth in curve]
        lines.append(Line(join(places), name, hue))
        marks += [
            Mark(*place, f"{name}, {tasks} tasks: {growth:.2f}", hue=hue, radius=3)
            for place, (tasks, growth) in zip(places, curve, strict=True)
        ]
    last = sorted((y.at(curve[-1][1]), name) for name, curve in curves.items())[::-1]
    heights = accumulate((height for height, _ in last), lambda below, own: min(own, below - LINE_HEIGHT))
    beside = x.at(counts[-1]) + 10
    texts = [PlotText(beside, height + 4, name, "start") for height, (_, name) in zip(heights, last, strict=True)]
    powers = [2**power for power in range(-3, 10) if y.low <= math.log10(2**power) <= y.high]
    return Plot(
        "tasks",
        "inference time, one task = 1",
        [(x.at(count), str(count)) for count in counts],
        [(y.at(power), f"{power:g}") for power in powers],
        marks,
        lines,
        texts=texts,
        frame=FRAME,
    )


def main(
    model: Annotated[list[str] | None, typer.Option(help="Models; all of them unless given.")] = None,
    tasks: Annotated[list[int] | None, typer.Option(help="Numbers of tasks.")] = None,
    rows: Annotated[int, typer.Option(help="Rows of a batch.")] = 1024,
    rounds: Annotated[int, typer.Option(help="Rounds; medians over them are taken.")] = 5,
    results: Annotated[Path, typer.Option(help="Folder for the tables and the plot.")] = RESULTS,
) -> None:
    """Measure what tasks cost."""
    registry, counts = Registry.load(), tasks or TASKS
    classes = {name: registry.resolve("model", name) for name in model or registry.names("model")}
    networks = {name: cls for name, cls in classes.items() if issubclass(cls, MultiTaskModel)}
    measurements = measure(networks, counts, rows, rounds)
    publish(
        "task_scaling",
        measurements,
        make_sheets(measurements, counts),
        results,
        f"batches of {rows:,} rows, default settings",
    )
    write_picture([draw_growth(measurements)], results / "task_scaling.svg", "One more task")


if __name__ == "__main__":
    typer.run(main)
