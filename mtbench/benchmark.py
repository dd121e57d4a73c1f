"""A benchmark: frozen conditions under which records may be compared, and the models that its board begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, JsonValue

from mtbench.errors import MTBenchError, suggest
from mtbench.experiment import PLACEMENT, Experiment, Inputs, Seeds, Sweep, Training
from mtbench.files import hash_json
from mtbench.record.form import BenchmarkPart
from mtbench.schema import AnyComponent, Component, Name, Settings, Split
from mtbench.validation import parse_yaml, show_value, validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtbench.record.form import Recipe, Record
    from mtbench.registry import Registry

FOLDER = Path("configs/benchmarks")
BUDGET = ("trials", "sampler", "pruner", "seed")
"""What of a sweep is the benchmark's; the rest says how it is carried out."""

RowKind = Literal["default", "tuned"]
ROW_KINDS: tuple[RowKind, ...] = ("default", "tuned")


class Frozen(Settings):
    """A dataset as it must be, and how every model is trained on it."""

    dataset: AnyComponent = Field(description="A dataset's name, or `{name: ..., setting: ...}`.")
    version: int = Field(description="Version of the dataset plugin's values.")
    files: Mapping[str, str] = Field(description="Raw file -> sha256.")
    split: Split = Field(description="How the rows are divided.")
    fingerprints: Mapping[str, str] = Field(description="Part -> sha256 over its row numbers.")
    tasks: Mapping[str, str] = Field(min_length=1, description="Task -> primary metric.")
    metrics: Mapping[str, int] = Field(description="Primary metric -> version.")
    warmup: float = Field(0.0, ge=0, lt=1, description="First share of training time that serves as input only.")
    training: Training = Field(
        Training(), description="How every network is trained; tuned rows search what is left open."
    )
    settings: Mapping[str, JsonValue] = Field(
        {}, description="Defaults on this dataset, for every model that has such a setting; a search takes no notice."
    )
    give: tuple[AnyComponent, ...] = Field((), description="Inputs of entries with `same_inputs`.")


class BenchmarkEntry(Settings):
    """A model that the board begins with."""

    model: AnyComponent = Field(description="A model's name, or `{name: ..., setting: ...}`.")
    datasets: tuple[Name, ...] | None = Field(None, description="Datasets that it can do with; all unless given.")
    same_inputs: bool = Field(False, description="Whether it has the inputs of the models that ask for some.")
    rows: tuple[RowKind, ...] = Field(
        ("default",), description="With settings as given here, with searched ones, or both."
    )


class Benchmark(Settings):
    """A named, frozen list of datasets with their conditions. Entries, baseline and texts lie outside its hash."""

    name: Name = Field(description="Name with a version, such as mtbench-v1.")
    about: str = Field("", description="What it is for.")
    seeds: Seeds = Field((0, 1, 2, 3, 4), description="A list of seeds, or how many: 5 stands for [0, 1, 2, 3, 4].")
    sweep: Sweep = Field(Sweep(), description="The budget of tuned rows: trials, sampler, pruner and seed.")
    datasets: tuple[Frozen, ...] = Field(min_length=1, description="What models are judged on.")
    balancer: Name | None = Field(None, description="How default rows make one loss of those of the tasks.")
    baseline: Name | None = Field(None, description="Model that delta-m is measured against.")
    entries: tuple[BenchmarkEntry, ...] = Field((), description="Models whose records `mtbench bench run` makes.")

    @property
    def part(self) -> BenchmarkPart:
        """What records say of it: its name, and the sha256 of its conditions."""
        content = self.model_dump(  # as written: a setting that a later mtbench adds must not change the hash
            mode="json", include={"name", "seeds", "datasets"}, exclude_unset=True
        )
        content["budget"] = self.sweep.model_dump(mode="json", include=set(BUDGET))
        return BenchmarkPart(name=self.name, sha256=hash_json(content))

    def find_frozen(self, dataset: str) -> Frozen | None:
        """Return the conditions on a dataset, None if it is none of the benchmark's."""
        return next((frozen for frozen in self.datasets if frozen.dataset.name == dataset), None)

    def rows(self, datasets: Sequence[str] = (), models: Sequence[str] = ()) -> list[BenchmarkRow]:
        """Return the rows that the board begins with, tuned ones last; only of the datasets and models that are named.

        Raises MTBenchError for a name that is not there.
        """
        for what, asked, known in (
            ("dataset", datasets, [frozen.dataset.name for frozen in self.datasets]),
            ("model", models, [entry.model.name for entry in self.entries]),
        ):
            for name in asked:
                if name not in known:
                    raise MTBenchError(
                        f"--{what} {name}: benchmark '{self.name}' has no such {what}{suggest(name, known)}"
                    )
        return [
            BenchmarkRow(frozen, entry, kind)
            for kind in ROW_KINDS
            for frozen in self.datasets
            if not datasets or frozen.dataset.name in datasets
            for entry in self.entries
            if (not models or entry.model.name in models)
            and (entry.datasets is None or frozen.dataset.name in entry.datasets)
            if kind in entry.rows
        ]

    def experiment(self, row: BenchmarkRow, registry: Registry) -> Experiment:
        """Return what makes the record of a row."""
        frozen, entry = row.frozen, row.entry
        settings = dict(entry.model.settings)
        if row.kind == "default":
            known = registry.resolve("model", entry.model.name).Config.model_fields
            settings = {name: value for name, value in frozen.settings.items() if name in known} | settings
        return Experiment(
            dataset=frozen.dataset,
            models=(Component(name=entry.model.name, **settings),),
            seeds=self.seeds,
            split=frozen.split,
            training=frozen.training,
            inputs=Inputs(warmup=frozen.warmup, give=frozen.give if entry.same_inputs else ()),
            sweep=self.sweep,
            baseline=self.baseline,
            **({"balancer": self.balancer} if self.balancer and row.kind == "default" else {}),
        )

    def settings(self, row: BenchmarkRow, registry: Registry) -> dict[str, JsonValue]:
        """Return the complete settings of a row's model, defaults included; of a tuned one, before the search."""
        [model] = self.experiment(row, registry).models
        config = validate(registry.resolve("model", model.name).Config, model.settings, self.name, ("model",))
        return config.model_dump(mode="json")

    def list_allowed(self, dataset: str, model: str, kind: RowKind, registry: Registry) -> list[dict[str, JsonValue]]:
        """Return the settings that a model may have, searched ones aside: the defaults, and those of entries."""
        frozen = self.find_frozen(dataset)
        if frozen is None:
            return []
        rows = [row for row in self.rows([dataset]) if row.entry.model.name == model and row.kind == kind]
        plain = BenchmarkRow(frozen, BenchmarkEntry(model=Component(name=model)), kind)
        return [self.settings(row, registry) for row in (plain, *rows)]

    def list_violations(self, recipe: Recipe) -> list[str]:
        """Return in what a record's recipe departs from the conditions, each with its place."""
        frozen = self.find_frozen(recipe.dataset.name)
        if frozen is None:
            return [f"dataset: '{recipe.dataset.name}' is none of the benchmark's"]
        budget = recipe.budget
        searched = {name.removeprefix("training.") for name in budget.space if name.startswith("training.")}
        searched -= frozen.training.model_fields_set
        asked = frozen.training.for_rows(recipe.split.rows.get("train", 0)).model_dump(mode="json", exclude=PLACEMENT)
        kept = {
            name: value
            for name, value in asked.items()  # a setting that its code did not have yet is as today's default
            if name not in searched and (name in recipe.training or value != Training.model_fields[name].default)
        }
        pairs: list[tuple[str, object, object]] = [
            ("benchmark", self.part.model_dump(), recipe.benchmark and recipe.benchmark.model_dump()),
            ("dataset.version", frozen.version, recipe.dataset.version),
            *_pair_values("dataset.settings", frozen.dataset.settings, recipe.dataset.settings),
            *_pair_values("dataset.files", frozen.files, recipe.dataset.files, exact=True),
            *_pair_values("split.settings", frozen.split.model_dump(mode="json"), recipe.split.settings, exact=True),
            *_pair_values("split.fingerprints", frozen.fingerprints, recipe.split.fingerprints),
            *_pair_values("tasks", frozen.tasks, {task.name: task.primary for task in recipe.tasks}, exact=True),
            *_pair_values("metrics", frozen.metrics, {name: metric.version for name, metric in recipe.metrics.items()}),
            ("inputs.warmup", frozen.warmup, recipe.inputs.warmup),
            ("seeds", list(self.seeds), recipe.seeds),
            *_pair_values("training", kept if recipe.training else {}, recipe.training),
        ]
        if self.balancer and recipe.balancer and "balancer" not in budget.space:
            pairs.append(("balancer", self.balancer, recipe.balancer.name))
        if budget.kind == "tuned":
            pairs += _pair_values("budget", self.sweep.model_dump(include=set(BUDGET)), budget.model_dump())
        return [
            f"{place}: the benchmark has {show_value(wanted)}, the record {show_value(recorded)}"
            for place, wanted, recorded in pairs
            if wanted != recorded
        ]


class BenchmarkRow(NamedTuple):
    """A row that the board of a benchmark begins with."""

    frozen: Frozen
    entry: BenchmarkEntry
    kind: RowKind

    @property
    def label(self) -> str:
        """What tells the row apart from others on the same dataset."""
        settings = [f"{name} {show_value(value)}" for name, value in self.entry.model.settings.items()]
        same = ["same inputs"] if self.entry.same_inputs else []
        return ", ".join([self.entry.model.name, *settings, *same, *([self.kind] if self.kind == "tuned" else [])])

    def find(self, records: Iterable[Record], part: BenchmarkPart, settings: Mapping[str, JsonValue]) -> Record | None:
        """Return a record of this row, whoever's code made it; ``settings`` are the model's complete ones."""
        pooled = [one.name for one in self.frozen.give] if self.entry.same_inputs else []
        for record in records:
            recipe = record.recipe
            if (
                recipe.benchmark == part
                and recipe.dataset.name == self.frozen.dataset.name
                and recipe.model.name == self.entry.model.name
                and recipe.budget.kind == self.kind
                and [one.name for one in recipe.inputs.pooled] == pooled
                and all(
                    recipe.model.settings.get(name, value) == value
                    for name, value in settings.items()
                    if f"model.{name}" not in recipe.budget.space
                )
            ):
                return record
        return None


def _pair_values(
    place: str, wanted: Mapping[str, object], recorded: Mapping[str, object], *, exact: bool = False
) -> list[tuple[str, object, object]]:
    """Return what is wanted beside what was recorded, key by key; what is not wanted counts where it must be exact."""
    names = [*wanted, *(name for name in recorded if name not in wanted)] if exact else wanted
    return [(f"{place}.{name}", wanted.get(name), recorded.get(name)) for name in names]


def load(name: str) -> Benchmark:
    """Return the benchmark of a file, or of the name of one in ``configs/benchmarks``. Raises MTBenchError."""
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = FOLDER / f"{name}.yaml"
    try:
        content = path.read_bytes()
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml"))) or "none"
        raise MTBenchError(
            f"{path}: cannot be read: {error.strerror or error}; name a file, or a benchmark in {FOLDER} ({known})"
        ) from error
    return validate(Benchmark, parse_yaml(content, str(path)), str(path))
