"""Experiment in, records out. The one place that opens the test split."""

from __future__ import annotations

import datetime as dt
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from mtbench.errors import MTBenchError, StorageError
from mtbench.evaluation import evaluate, predictions
from mtbench.experiment import load_experiment, name_source
from mtbench.files import hash_file
from mtbench.plan import label_models, make_plan
from mtbench.provenance import CORE, find_versions
from mtbench.record import store
from mtbench.record.form import Measured, Predictions, Record
from mtbench.record.store import Written
from mtbench.registry import Registry
from mtbench.training import efficiency
from mtbench.training.display import RunDisplay
from mtbench.training.failures import Failures
from mtbench.training.prepare import add_inputs, prepare_data, set_batch_size
from mtbench.training.recipe import DEFAULT, find_other_code, make_recipe
from mtbench.training.scoring import Scorer
from mtbench.training.trainers import make_trainer
from mtbench.training.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytorch_lightning import Callback

    from mtbench.data.columns import Columns
    from mtbench.data.rows import SplitRows
    from mtbench.experiment import Experiment
    from mtbench.plan import Plan, PlannedModel
    from mtbench.record.form import BenchmarkPart, Budget, Tuning
    from mtbench.training.trainers import Trained


def run(
    source: str | Path | Mapping[str, Any] | Experiment,
    *,
    records: str | Path = "records",
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    resume: bool = True,
    progress: bool = False,
    on_record: Callable[[Written], None] = lambda _: None,
    budget: Budget = DEFAULT,
    tuning: Tuning | None = None,
    benchmark: BenchmarkPart | None = None,
) -> list[Written]:
    """Run an experiment and write one record per model into the folder ``records``.

    ``source`` is an experiment file, a mapping or an experiment; ``overrides`` are ``a.b=value`` strings and
    ``plugins`` single plugin files. Records that are there are kept, and interrupted trainings go on from their last
    epoch, with the bits of the uninterrupted run; without ``resume`` everything is trained again. ``on_record`` is
    called after each record. ``budget`` says how the settings were chosen, and ``tuning`` holds the trials;
    ``benchmark`` is the one that the experiment is part of.

    Raises MTBenchError for a user's mistake, and, once the records of all others are written, ModelsError for models
    that failed, or BusyError if all that is wrong is that another process is at the same work.

    Since 0.1, stable.
    """
    registry = Registry.load([Path(file) for file in plugins])
    experiment = load_experiment(source, overrides)
    plan = make_plan(experiment, registry, name_source(source))
    folder = Path(records)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise MTBenchError(f"{folder} is a file; name a folder for the records") from error
    with RunDisplay(len(plan.models) * len(experiment.seeds)) if progress else nullcontext() as display:
        columns = prepare_data(plan)
        plan = set_batch_size(plan, columns)
        if display is not None:
            counts = ", ".join(f"{count:,} {part}" for part, count in columns.counts.items() if count)
            display.say(f"{experiment.dataset.name}: {counts} rows")
            for finding in columns.findings:
                display.warn(finding.message)
        scorer = Scorer(columns, plan.metrics)

        def make_callbacks() -> Sequence[Callback]:
            return registry.callbacks(experiment)

        failures = Failures(display.warn if display is not None and len(plan.models) > 1 else lambda _: None)
        model_runs = []
        # all recipes first: they hash the code that was loaded, which may change on disk while it runs
        for label, model in zip(label_models(experiment.models), plan.models, strict=True):
            with failures.collect(label):
                model_runs.append(
                    _ModelRun(
                        label, plan, add_inputs(plan, columns, model), scorer, model, folder, make_callbacks, display,
                        budget, tuning, benchmark,
                    )
                )  # fmt: skip
        written = []
        for model_run in model_runs:
            with failures.collect(model_run.label):
                done, new = model_run.find_or_make(resume=resume)
                if new:
                    registry.record_written(*done)
                written.append(done)
                on_record(done)
    failures.report()
    return written


@dataclass
class _ModelRun:
    """One model of the experiment, from its first seed to its record."""

    label: str
    plan: Plan
    columns: Columns
    scorer: Scorer
    model: PlannedModel
    folder: Path
    make_callbacks: Callable[[], Sequence[Callback]]
    display: RunDisplay | None
    budget: Budget
    tuning: Tuning | None
    benchmark: BenchmarkPart | None

    def __post_init__(self) -> None:
        self.recipe = make_recipe(self.plan, self.columns, self.model, self.budget, self.benchmark)
        self.work = Work(self.folder, self.recipe.key)
        self.trainer = make_trainer(
            self.plan, self.columns, self.scorer, self.model, self.work.folder, self.make_callbacks
        )

    def find_or_make(self, *, resume: bool) -> tuple[Written, bool]:
        """Return the record and whether it is new; say which code has changed since the nearest one was written.

        Raises BusyError if another process is at the same work.
        """
        done = store.find(self.folder, self.recipe) if resume else None
        if done is None or self.work.list_remains():
            with self.work.hold():
                done = store.find(self.folder, self.recipe) if resume else None  # another process may have written it
                if done is None:
                    self._say_other_code()
                    return self._make(resume=resume), True
        if self.display is not None:
            self.display.say(f"{self.label}: its record is there: {done.path}; --again makes another")
        return done, False

    def _say_other_code(self) -> None:
        if self.display is not None and (changed := find_other_code(self.folder, self.recipe)):
            path, names = changed
            self.display.say(
                f"{self.label}: trained again, for {path.name} was made by other code of {', '.join(names)}"
            )

    def _make(self, *, resume: bool) -> Written:
        """Train every seed, then open the test split, predict, judge and write the record."""
        if not resume:
            shutil.rmtree(self.work.folder, ignore_errors=True)
        opened = self.columns.test_opened
        trained = {seed: self._fit(seed) for seed in self.recipe.seeds}
        test = self.columns.open_test()
        evaluation = evaluate.Evaluation(self.plan.schema.tasks, self.plan.metrics)
        tables = (
            self._make_table(
                seed, split, rows, predicted.values, predicted.scores, unlabelled=self.columns.unlabelled(rows)
            )
            for seed, one in trained.items()
            for split, rows in (("valid", self.columns.valid), ("test", test))
            for predicted in (one.predict(rows),)
        )
        written = self._write_predictions(map(evaluation.add, tables))
        results = evaluation.results()
        record = Record(
            key=self.recipe.key,
            recipe=self.recipe,
            results=results.values,
            undefined=results.undefined,
            bounds=self._judge_bounds(test),
            measured=self._measure(trained, test_opened=self.columns.test_opened - opened),
            predictions=written,
            baseline=self.plan.experiment.baseline,
        )
        (self.work.folder / "predictions.parquet").replace(self.folder / f"{record.file_stem}.parquet")
        return Written(record, store.write(record, self.folder))

    def _fit(self, seed: int) -> Trained:
        try:
            return self.trainer.fit(seed, self.display)
        except StorageError:
            raise
        except MTBenchError as error:
            raise MTBenchError(f"seed {seed}: {error}") from error

    def _make_table(
        self,
        seed: int,
        split: str,
        rows: SplitRows,
        values: np.ndarray,
        scores: np.ndarray | None = None,
        known: np.ndarray | None = None,
        unlabelled: np.ndarray | None = None,
    ) -> pa.Table:
        label, mask = rows.labels.numpy(), (rows.mask.numpy() > 0) & (True if known is None else known)
        if unlabelled is not None:
            label, mask = np.where(unlabelled, np.float32(np.nan), label), mask | unlabelled
        return predictions.make_table(
            seed,
            split,
            [task.name for task in self.plan.schema.tasks],
            self.columns.row_ids(rows),
            prediction=values,
            score=scores,
            label=label,
            mask=mask,
            user=self.columns.users(rows),
            domain=self.columns.domains(rows),
        )

    def _evaluate(self, table: pa.Table) -> evaluate.Results:
        return evaluate.evaluate(table, self.plan.schema.tasks, self.plan.metrics)

    def _judge_bounds(self, test: SplitRows) -> dict[str, Any]:
        """Judge the constant predictor and, where the truth is known, the best possible ones."""
        valid, bounds = self.columns.valid, {}
        constants = np.array(self.columns.constants())
        for kind in ("constant", "optimum", "reachable"):
            tables = []
            for split, rows in (("valid", valid), ("test", test)):
                values = np.tile(constants, (len(rows), 1)) if kind == "constant" else self.columns.bound(kind, rows)
                if values is not None:
                    tables.append(self._make_table(0, split, rows, np.nan_to_num(values), known=~np.isnan(values)))
            if tables:
                bounds[kind] = self._evaluate(pa.concat_tables(tables)).values
        return bounds

    def _measure(self, trained: dict[int, Trained], *, test_opened: int) -> Measured:
        valid = self.columns.valid
        batch = valid.take(torch.arange(min(self.plan.experiment.training.rows_per_step, len(valid))))
        runs = {str(seed): one.summary() for seed, one in trained.items()}
        return Measured(
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            environment=efficiency.describe_environment(
                (*self.model.cls.packages, *(self.plan.balancer.balancer.packages if self.recipe.balancer else ()))
            ),
            versions=find_versions((CORE, *(provenance.distribution for _, _, provenance in self.recipe.code))),
            **self.trainer.measure_cost(trained[self.recipe.seeds[0]], batch)._asdict(),
            seconds=sum(sum(run.seconds) for run in runs.values()),
            seeds=runs,
            test_opened=test_opened,
            warnings=[finding.message for finding in self.columns.findings],
            tuning=self.tuning,
        )

    def _write_predictions(self, tables: Iterable[pa.Table]) -> Predictions:
        path = self.work.folder / "predictions.parquet"
        lines = predictions.write(tables, path)
        return Predictions(sha256=hash_file(path), rows=lines)
