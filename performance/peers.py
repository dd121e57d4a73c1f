"""mtbench beside other frameworks: the same rows, architecture, batch size and optimiser, each in its own environment.

    python performance/peers.py

makes an environment for each peer from ``peers/*.txt``, runs mtbench and the peers in turn, round by round so that a
busy machine slows all of them alike, and writes ``results/peers.{json,md,svg}`` after each model; what stands there of
other models, from the same machine, is kept. Ratios are the result: rates and times are the best of the rounds. Shares
are of the machine's matrix products as they were measured beside each model. Test AUC, computed here for all, shows
that nobody is fast by being wrong.

Everyone starts from the same CSV of values as a dataset has them: without multi-valued features, which no two peers
take alike, its numbers without gaps and heavy tails made logarithms. Time counts from the start of the process to the
test predictions, imports and encoding included: mtbench prepares into an empty cache, and ``warm`` is its time without
that; the peers' users read with pandas and encode with scikit-learn. Memory is the highest of the main process.

Architecture: embeddings side by side with the numbers, one network (shared-bottom) or experts with a softmax gate for
each task, towers that end in a logit; batch norm and dropout after every hidden layer, for one peer cannot do without
batch norm. PLE has one level, with as many shared experts as experts of each task, for another peer fails otherwise.
What else the peers do that cannot be switched off stands in their scripts, ``peers/run_*.py``. mtbench's weights and
FuxiCTR's are those of the best epoch, the other peers' those of the last.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.compute as pc
import torch
import typer
from peers_tables import draw_rates, show, write_markdown
from pictures import write_picture
from pyarrow import csv
from rich.console import Console
from rich.progress import track
from torchmetrics.functional.classification import binary_auroc

from mtbench.data import splits
from mtbench.data.sources import locate
from mtbench.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "peers"
FRAMEWORKS = ["mtbench", "torch-rechub", "fuxictr", "deepctr-torch"]
DATASETS = ["census-income", "kuairand-pure"]
MODELS = ["shared-bottom", "mmoe", "ple"]
EXPERTS = 8
TOWERS = (64, 32)
SETTINGS = {"experts": EXPERTS, "towers": TOWERS, "dropout": 0.2, "batch": 2048, "learning_rate": 1e-3}
ENVIRONMENTS = platformdirs.user_cache_path("mtbench") / "peers"


class Size(NamedTuple):
    """Layers of an expert, width of an embedding, and how long that is trained; ``rows`` of a dataset, or all."""

    layers: tuple[int, ...]
    embedding: int
    epochs: int
    rows: int | None


SIZES = {"narrow": Size((128, 64), 16, 5, None), "wide": Size((512, 256), 128, 2, 30_000)}


class Case(NamedTuple):
    """What is run, once a round."""

    dataset: str
    size: str
    model: str
    framework: str


class Rows(NamedTuple):
    """A CSV file with a column ``split``, and what its other columns are."""

    path: Path
    categorical: list[str]
    numeric: list[str]
    tasks: list[str]


def read_table(dataset: str, rows: int | None) -> tuple[pa.Table, list[str], list[str], list[str]]:
    """Return a registered dataset's values with their split, and its categorical, numeric and task columns.

    With ``rows``, so many are drawn from all parts, in their order.
    """
    cls = Registry.load().resolve("dataset", dataset)
    plugin = cls(cls.Config())
    schema = plugin.schema()
    loaded = plugin.load({source.name: locate(source) for source in plugin.sources()})
    assert isinstance(loaded, pa.Table)
    official = splits.parse_official(loaded["split"].to_numpy())
    parts = splits.assign(plugin.split, len(loaded), None, official)
    sources = {feature.name: feature.source for feature in schema.features if feature.kind == "categorical"}
    sources |= {column: column for column in (schema.user, schema.item) if column}
    columns = {name: loaded[source].cast(pa.string()) for name, source in sources.items()}
    numbers = [feature for feature in schema.features if feature.kind == "numeric"]
    for feature in numbers:
        values = loaded[feature.source].cast(pa.float64())
        values = pc.fill_null(values, pc.mean(values))
        columns[feature.name] = pc.log1p(pc.max_element_wise(values, 0.0)) if feature.log else values
    columns |= {task.name: loaded[task.label].cast(pa.int8()) for task in schema.tasks}
    columns["split"] = pa.array(np.array(splits.NAMES)[parts])
    table = pa.table(columns)
    if rows is not None and rows < len(table):
        table = table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:rows]))
    return table, list(sources), [feature.name for feature in numbers], [task.name for task in schema.tasks]


def count_level_experts(tasks: int) -> int:
    """Return how many experts each task has in PLE, and the tasks together: the whole is as near to EXPERTS as can."""
    return max(1, round(EXPERTS / (tasks + 1)))


def count_flops(model: str, inputs: int, tasks: int, layers: Sequence[int]) -> float:
    """Return the floating-point operations of matrix products in a forward pass of one row; a training step has thrice.

    ``inputs`` is the width of what enters the experts. A task's own experts in PLE are weighed without a product.
    """

    def network(*sizes: int) -> float:
        return 2 * sum(a * b for a, b in pairwise(sizes))

    expert, towers = network(inputs, *layers), tasks * network(layers[-1], *TOWERS, 1)
    if model == "shared-bottom":
        return expert + towers
    own = count_level_experts(tasks)
    experts, seen, mixed = (EXPERTS, EXPERTS, EXPERTS) if model == "mmoe" else (own * (tasks + 1), 2 * own, own)
    return experts * expert + tasks * (network(inputs, seen) + network(mixed, layers[-1])) + towers


def measure_product_rate(size: int = 2048, times: int = 5) -> float:
    """Return the floating-point operations per second of this machine's products of fp32 matrices."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    seconds = []
    for _ in range(times + 1):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[1:])


def find_python(framework: str, folder: Path) -> Path | str:
    """Return the interpreter of a framework's environment, or why there is none.

    The environment is made if it is not there, or its requirements have changed.
    """
    if framework == "mtbench":
        return Path(sys.executable)
    asked = SCRIPTS / f"{framework}.txt"
    home = folder.absolute() / framework
    made, python = home / "requirements.txt", home / "bin" / "python"
    if not made.is_file() or made.read_text() != asked.read_text():
        shutil.rmtree(home, ignore_errors=True)
        for command in ([sys.executable, "-m", "venv", home], [python, "-m", "pip", "install", "-q", "-r", asked]):
            try:
                subprocess.run(list(map(str, command)), check=True)  # noqa: S603 - commands of our own
            except subprocess.CalledProcessError as error:
                return f"its environment could not be made: {error}"
        shutil.copy(asked, made)
    return python


def run(python: Path | str, job: dict[str, Any], truth: np.ndarray) -> dict[str, Any]:
    """Run a job and return what was measured, with the AUC of each task, or the error; ``truth`` are the test labels.

    A text in place of the interpreter is the error that kept it from being there.
    """
    if isinstance(python, str):
        return {"error": python}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        given = {name: value for name, value in job.items() if name != "script"}
        (work / "job.json").write_text(json.dumps({**given, "folder": folder, "started": time.time()}))
        done = subprocess.run(  # noqa: S603 - a script of our own
            [str(python), str(SCRIPTS / job["script"]), str(work / "job.json")],
            cwd=work,
            env=os.environ | {"MTBENCH_CACHE": str(work / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        result: dict[str, Any] = json.loads((work / "result.json").read_text())
        predictions = np.load(work / "predictions.npy")
    result["aucs"] = {
        task: float(binary_auroc(torch.from_numpy(predictions[:, at]), torch.from_numpy(truth[:, at])))
        for at, task in enumerate(job["tasks"])
    }
    return result | {"auc": statistics.mean(result["aucs"].values())}


def take_best(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rounds of one case as one: the best rates and times, the highest memory, the mean AUC."""
    good = [one for one in rounds if "error" not in one]
    if not good:
        return dict(rounds[-1])
    choose: dict[str, Callable[..., float]] = {
        "training": max, "evaluation": max, "memory": max, "seconds": min, "warm": min, "auc": statistics.mean,
    }  # fmt: skip
    measures = {name: of(one[name] for one in good) for name, of in choose.items() if name in good[0]}
    aucs = {task: statistics.mean(one["aucs"][task] for one in good) for task in good[0]["aucs"]}
    return measures | {"aucs": aucs}


def add_shares(result: dict[str, Any], of_a_row: float, rate: float) -> dict[str, Any]:
    """Add the shares of what the machine's matrix products allow, of which a training step has thrice a row's."""
    if "error" in result:
        return result
    needs = {"training": 3 * of_a_row, "evaluation": of_a_row}
    return result | {"products": rate, "share": {name: result[name] * needed / rate for name, needed in needs.items()}}


def main(
    framework: Annotated[list[str], typer.Option(help="Frameworks.")] = FRAMEWORKS,
    dataset: Annotated[list[str], typer.Option(help="Registered datasets.")] = DATASETS,
    size: Annotated[list[str], typer.Option(help="Sizes of the models.")] = list(SIZES),  # noqa: B006 - only read
    model: Annotated[list[str], typer.Option(help="Models.")] = MODELS,
    rows: Annotated[int | None, typer.Option(help="Rows of a dataset, at random; a size's own unless given.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs; a size's own unless given.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the best of them counts.")] = 2,
    environments: Annotated[Path, typer.Option(help="Folder for the peers' environments.")] = ENVIRONMENTS,
    results: Annotated[Path, typer.Option(help="Folder for the tables and the plot.")] = HERE / "results",
) -> None:
    """Measure mtbench and the peers."""
    for name, known in ((framework, FRAMEWORKS), (dataset, DATASETS), (size, list(SIZES)), (model, MODELS)):
        if unknown := set(name) - set(known):
            raise typer.BadParameter(f"{', '.join(unknown)}; choose from {', '.join(known)}")
    console = Console()
    sizes = {
        name: SIZES[name]._replace(rows=rows or SIZES[name].rows, epochs=epochs or SIZES[name].epochs) for name in size
    }
    pythons = {name: find_python(name, environments) for name in framework}
    cases = [Case(*case) for case in product(dataset, size, model, framework)]
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            (name, of): write_table(read_table(name, sizes[of].rows), Path(folder) / f"{name}-{of}.csv")
            for name, of in product(dataset, size)
        }
        rates: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        collected: dict[Case, list[dict[str, Any]]] = {}
        for number in range(rounds):
            for case in track(cases, f"round {number + 1}", console=console):
                rates[case[:3]].append(measure_product_rate())
                given, truth = tables[case[:2]]
                job = make_job(given, case, sizes[case.size], seed=number)
                collected.setdefault(case, []).append(run(pythons[case.framework], job, truth))
                if case.framework == framework[-1]:
                    measured = [
                        done._asdict()
                        | list_conditions(sizes[done.size], len(several))
                        | add_shares(
                            take_best(several), count_operations(done, tables[done[:2]][0]), max(rates[done[:3]])
                        )
                        for done, several in collected.items()
                    ]
                    write({"machine": describe_machine(), "results": measured}, results)
    show(measured, console)


def list_conditions(size: Size, rounds: int) -> dict[str, Any]:
    """Return what a case's numbers depend on, beside the machine."""
    return {"rounds": rounds, "epochs": size.epochs, "rows": size.rows}


def describe_machine() -> dict[str, Any]:
    """Return what all numbers depend on."""
    return {
        "CPUs": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def merge_reports(report: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return a report with what an earlier one has of other cases on the same machine, in the usual order."""
    now = {tuple(one[name] for name in Case._fields): one for one in report["results"]}
    then = {tuple(one[name] for name in Case._fields): one for one in before["results"]}
    known = (then if before["machine"] == report["machine"] else {}) | now
    order = [case for case in product(DATASETS, SIZES, MODELS, FRAMEWORKS) if case in known]
    return report | {"results": [known[case] for case in order]}


def write_table(table: tuple[pa.Table, list[str], list[str], list[str]], path: Path) -> tuple[Rows, np.ndarray]:
    """Write a table as CSV; return what it holds, and its test labels (rows, tasks)."""
    values, categorical, numeric, tasks = table
    csv.write_csv(values, path)
    test = values.filter(pc.equal(values["split"], "test"))
    return Rows(path, categorical, numeric, tasks), np.column_stack([test[task].to_numpy() for task in tasks])


def make_job(rows: Rows, case: Case, size: Size, seed: int) -> dict[str, Any]:
    """Return what ``peers/job.py`` reads, and the framework's script."""
    return {
        "script": f"run_{case.framework.replace('-', '_')}.py",
        "rows": str(rows.path), "categorical": rows.categorical, "numeric": rows.numeric, "tasks": rows.tasks,
        "model": case.model, "layers": size.layers, "embedding": size.embedding, "epochs": size.epochs,
        "level_experts": count_level_experts(len(rows.tasks)), "seed": seed, **SETTINGS,
    }  # fmt: skip


def count_operations(case: Case, rows: Rows) -> float:
    """Return the floating-point operations of a case's model per row."""
    size = SIZES[case.size]
    inputs = len(rows.categorical) * size.embedding + len(rows.numeric)
    return count_flops(case.model, inputs, len(rows.tasks), size.layers)


def write(report: dict[str, Any], folder: Path) -> None:
    """Write all results, their tables and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "peers.json").is_file():
        report = merge_reports(report, json.loads((folder / "peers.json").read_text()))
    (folder / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "peers.md").write_text(write_markdown(report))
    heading = "Training rate, as a share of what matrix products allow"
    write_picture(draw_rates(report["results"]), folder / "peers.svg", heading, columns=len(MODELS))


if __name__ == "__main__":
    typer.run(main)
