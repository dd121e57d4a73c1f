"""Experiment in, records out. The one place that opens the test split."""

from __future__ import annotations

import datetime as dt
import shutil
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import torch
from filelock import FileLock, Timeout

from mtbench import __version__
from mtbench import experiment as experiments
from mtbench import record as records_
from mtbench.data.prepare import prepare
from mtbench.errors import BusyError, MTBenchError
from mtbench.evaluation import evaluate, predictions
from mtbench.inputs.attach import attached
from mtbench.model import Reference
from mtbench.record import (
    BenchmarkPart,
    Budget,
    DatasetPart,
    InputPart,
    InputsPart,
    Measured,
    MetricPart,
    PluginPart,
    Predictions,
    Recipe,
    Record,
    SeedRun,
    SplitPart,
    Tuning,
    Written,
)
from mtbench.registry import Kind, Registry
from mtbench.training import efficiency
from mtbench.training.networks import Networks
from mtbench.training.progress import Display
from mtbench.training.references import References
from mtbench.training.selection import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytorch_lightning import Callback

    from mtbench.data.batches import Batch
    from mtbench.data.columns import Columns
    from mtbench.experiment import Experiment, Plan, PlannedInput, PlannedModel
    from mtbench.model import ModelConfig
    from mtbench.training.efficiency import Cost

DEFAULT = Budget()
WORK = ".work"


def run(
    source: str | Path | Mapping[str, Any] | Experiment,
    *,
    records: str | Path = "records",
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    resume: bool = False,
    progress: bool = False,
    on_record: Callable[[Written], None] = lambda _: None,
    budget: Budget = DEFAULT,
    tuning: Tuning | None = None,
    benchmark: BenchmarkPart | None = None,
) -> list[Written]:
    """Run an experiment and write one record per model into the folder ``records``.

    ``source`` is an experiment file, a mapping or an experiment; ``overrides`` are ``a.b=value`` strings and
    ``plugins`` single plugin files. With ``resume``, records that are there are kept and interrupted trainings go on
    from their last epoch, with the bits of the uninterrupted run. ``on_record`` is called after each record. ``budget``
    says how the settings were chosen, and ``tuning`` what came of that; ``benchmark`` is the one that the experiment is
    part of. Raises MTBenchError for a user's mistake, BusyError if another process is at the same work.
    """
    registry = Registry.load([Path(file) for file in plugins])
    experiment = experiments.load(source, overrides)
    plan = experiments.plan(experiment, registry, experiments.place_of(source))
    folder = Path(records)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise MTBenchError(f"{folder} is a file; name a folder for the records") from error
    with Display(len(plan.models) * len(experiment.seeds)) if progress else nullcontext() as display:
        columns = prepare_data(plan)
        plan = sized(plan, columns)
        if display is not None:
            counts = ", ".join(f"{count:,} {part}" for part, count in columns.counts.items() if count)
            display.say(f"{experiment.dataset.name}: {counts} rows")
            for finding in columns.findings:
                display.warn(finding.message)
        scorer = Scorer(columns, plan.metrics)
        # all recipes first: they hash the code that was loaded, which may change on disk while it runs
        runners = [
            _Runner(plan, with_inputs(plan, columns, model), scorer, model, folder, display, budget, tuning, benchmark)
            for model in plan.models
        ]
        written = []
        for runner in runners:
            done = records_.find(folder, runner.recipe.key) if resume else None
            if done is None:
                done = runner.run_alone(resume=resume)
                registry.record_written(*done)
            elif display is not None:
                display.say(f"{runner.model.name}: its record is there: {done.path}")
            written.append(done)
            on_record(done)
    return written


def prepare_data(plan: Plan) -> Columns:
    """Return the prepared columns of a plan's dataset."""
    experiment = plan.experiment
    provenance = plan.registry.provenance("dataset", experiment.dataset.name)
    return prepare(
        experiment.dataset.name, plan.dataset, plan.split, source=provenance.sha256, warmup=experiment.inputs.warmup
    )


def sized(plan: Plan, columns: Columns) -> Plan:
    """Return the plan with the batch size that it means for these rows."""
    training = plan.experiment.training.for_rows(columns.counts["train"])
    return replace(plan, experiment=plan.experiment.model_copy(update={"training": training}))


def with_inputs(plan: Plan, columns: Columns, model: PlannedModel) -> Columns:
    """Return the columns with what the model asks for and what the experiment gives to all."""

    def of(planned: Sequence[PlannedInput]) -> list[tuple[PlannedInput, str]]:
        return [(one, plan.registry.provenance("input", one.name).sha256) for one in planned]

    return attached(columns, of(model.inputs), of(plan.given))


def recipe_of(
    plan: Plan, columns: Columns, model: PlannedModel, budget: Budget = DEFAULT, benchmark: BenchmarkPart | None = None
) -> Recipe:
    """Return everything that goes into a record."""
    experiment, registry = plan.experiment, plan.registry
    network = not issubclass(model.cls, Reference)

    def part(kind: Kind, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "settings": settings, "provenance": registry.provenance(kind, name)}

    def inputs(planned: Sequence[PlannedInput]) -> list[InputPart]:
        return [
            InputPart(
                **part("input", one.name, one.input.config.model_dump(mode="json")),
                version=one.input.version,
                transductive=one.input.transductive,
            )
            for one in planned
        ]

    return Recipe(
        mtbench=__version__,
        dataset=DatasetPart(
            **part("dataset", experiment.dataset.name, columns.meta["settings"]),
            version=columns.meta["version"],
            files=columns.meta["files"],
        ),
        split=SplitPart(settings=columns.meta["split"], rows=columns.counts, fingerprints=columns.meta["fingerprints"]),
        tasks=list(plan.schema.tasks),
        metrics={
            name: MetricPart(
                version=evaluate.version(metric),
                higher_is_better=bool(metric.higher_is_better),
                best=evaluate.best(metric),
                provenance=registry.provenance("metric", name),
            )
            for name, metric in plan.metrics.items()
        },
        inputs=InputsPart(warmup=experiment.inputs.warmup, asked=inputs(model.inputs), given=inputs(plan.given)),
        model=PluginPart(**part("model", model.name, model.config.model_dump(mode="json"))),
        balancer=PluginPart(**part("balancer", experiment.balancer.name, plan.balancer.config.model_dump(mode="json")))
        if network
        else None,
        training=experiment.training.model_dump(mode="json", exclude=experiments.PLACEMENT) if network else {},
        seeds=list(experiment.seeds),
        budget=budget,
        benchmark=benchmark,
    )


class Trained(Protocol):
    """A model after the training with one seed."""

    def summary(self) -> SeedRun:
        """Return how it went."""

    def predict(self, rows: Batch) -> np.ndarray:
        """Return the predictions of a split, (rows, tasks)."""


class Trainer(Protocol):
    """One model of an experiment, however it is trained."""

    def build(self, seed: int) -> object:
        """Return the model before its training. Raises MTBenchError for a dataset that it cannot do with."""

    def fit(self, seed: int, display: Display | None) -> Trained:
        """Train it with one seed."""

    def cost(self, trained: Any, batch: Batch) -> Cost:
        """Return what it costs, measured on a batch."""


def trainer_of(
    plan: Plan,
    columns: Columns,
    scorer: Scorer,
    model: PlannedModel,
    folder: Path,
    observers: Sequence[Callback] = (),
) -> Trainer:
    """Return what trains a model of a plan; ``observers`` see every epoch of a network."""
    name, cls, config = model.name, model.cls, model.config
    if issubclass(cls, Reference):
        return References(name, cls, config, columns, scorer)
    return Networks(name, cls, cast("ModelConfig", config), plan, columns, scorer, folder, observers)


@dataclass
class _Runner:
    """One model of the experiment, from its first seed to its record."""

    plan: Plan
    columns: Columns
    scorer: Scorer
    model: PlannedModel
    folder: Path
    display: Display | None
    budget: Budget
    tuning: Tuning | None
    benchmark: BenchmarkPart | None

    def __post_init__(self) -> None:
        self.recipe = recipe_of(self.plan, self.columns, self.model, self.budget, self.benchmark)
        self.work = self.folder / WORK / self.recipe.key[: records_.NAME_DIGITS]
        self.trainer = trainer_of(self.plan, self.columns, self.scorer, self.model, self.work)

    def run_alone(self, *, resume: bool) -> Written:
        """Run unless another process does; its lock ends with it, however it ends."""
        self.work.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = self.work.with_suffix(".lock")
            with FileLock(lock, timeout=0):
                written = self.run(resume=resume)
                lock.unlink()
            with suppress(OSError):  # others may be at work there
                lock.parent.rmdir()
        except Timeout as error:
            raise BusyError(
                f"{self.model.name}: another process is running the same thing into {self.folder}; wait for it, "
                "or give this run another --records folder"
            ) from error
        return written

    def run(self, *, resume: bool) -> Written:
        """Train every seed, then open the test split, predict, judge and write the record."""
        if not resume:
            shutil.rmtree(self.work, ignore_errors=True)
        opened = self.columns.test_opened
        trained = {seed: self.trainer.fit(seed, self.display) for seed in self.recipe.seeds}
        test = self.columns.open_test()
        evaluation = evaluate.Evaluation(self.plan.schema.tasks, self.plan.metrics)
        tables = (
            self._table(seed, split, rows, one.predict(rows))
            for seed, one in trained.items()
            for split, rows in (("valid", self.columns.valid), ("test", test))
        )
        written = self._write_predictions(map(evaluation.add, tables))
        results = evaluation.results()
        record = Record(
            key=self.recipe.key,
            recipe=self.recipe,
            results=results.values,
            undefined=results.undefined,
            bounds=self._bounds(test),
            measured=self._measured(trained, test_opened=self.columns.test_opened - opened),
            predictions=written,
        )
        stem = record.file_stem
        (self.work / "predictions.parquet").replace(self.folder / f"{stem}.parquet")
        path = records_.write(record, self.folder)
        shutil.rmtree(self.work, ignore_errors=True)
        return Written(record, path)

    def _table(
        self, seed: int, split: str, rows: Batch, values: np.ndarray, known: np.ndarray | None = None
    ) -> pa.Table:
        return predictions.table(
            seed,
            split,
            [task.name for task in self.plan.schema.tasks],
            self.columns.row_ids(rows),
            probability=values,
            label=rows.labels.numpy(),
            mask=(rows.mask.numpy() > 0) & (True if known is None else known),
            group=self.columns.users(rows),
        )

    def _evaluate(self, table: pa.Table) -> evaluate.Results:
        return evaluate.evaluate(table, self.plan.schema.tasks, self.plan.metrics)

    def _bounds(self, test: Batch) -> dict[str, Any]:
        """Judge the constant predictor and, where the truth is known, the best possible ones."""
        valid, train = self.columns.valid, self.columns.train
        count = train.mask.double().sum(0)
        mean = ((train.labels * train.mask).double().sum(0) / count).float().numpy()
        bounds = {}
        for kind in ("constant", "optimum", "reachable"):
            tables = []
            for split, rows in (("valid", valid), ("test", test)):
                values = np.tile(mean, (len(rows), 1)) if kind == "constant" else self.columns.bound(kind, rows)
                if values is not None:
                    tables.append(self._table(0, split, rows, np.nan_to_num(values), ~np.isnan(values)))
            if tables:
                bounds[kind] = self._evaluate(pa.concat_tables(tables)).values
        return bounds

    def _measured(self, trained: dict[int, Trained], *, test_opened: int) -> Measured:
        valid = self.columns.valid
        batch = valid.take(torch.arange(min(self.plan.experiment.training.rows_per_step, len(valid))))
        runs = {str(seed): one.summary() for seed, one in trained.items()}
        return Measured(
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            environment=efficiency.environment(
                (*self.model.cls.packages, *(self.plan.balancer.packages if self.recipe.balancer else ()))
            ),
            **self.trainer.cost(trained[self.recipe.seeds[0]], batch)._asdict(),
            seconds=sum(sum(run.seconds) for run in runs.values()),
            seeds=runs,
            test_opened=test_opened,
            warnings=[finding.message for finding in self.columns.findings],
            tuning=self.tuning,
        )

    def _write_predictions(self, tables: Iterable[pa.Table]) -> Predictions:
        path = self.work / "predictions.parquet"
        lines = predictions.write(tables, path)
        return Predictions(sha256=predictions.digest(path), rows=lines)
