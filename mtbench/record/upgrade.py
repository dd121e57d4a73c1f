"""What later versions of the record know, told to records of earlier ones: in memory alone, never on disk.

Each function takes the JSON of a record of one version and returns that of the next. What a version did not know yet
is null, or what was true of every record then; nothing is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JSON = dict[str, Any]
LIMITS = {
    **dict.fromkeys(("auc", "gauc", "pr_auc", "ndcg", "hr", "calibration_error"), (0.0, 1.0)),
    **dict.fromkeys(("logloss", "normalized_entropy", "rmse", "mae"), (0.0, None)),
}


def upgrade(content: JSON, version: int) -> JSON:
    """Return the JSON of a record of ``version`` as the newest version would have it; ``content`` may be changed.

    Raises LookupError, TypeError or AttributeError where it is no record.
    """
    for step in STEPS[version - 1 :]:
        content = step(content)
    return content


def _from_1(content: JSON) -> JSON:
    """Version 2: code by module and engine, versions beside the environment, tasks and metrics that say all.

    Version 1 hashed the whole package behind a name; it measured delta-m against the model ``single-task`` and counted
    AUC and GAUC from one half, both by name. By name it is known, too, between which limits its metrics lie.
    """
    recipe, measured = content["recipe"], content["measured"]
    versions = {"mtbench": recipe.pop("mtbench")}
    for provenance in _provenances(recipe):
        version = provenance.pop("version")
        if version is not None:
            versions.setdefault(provenance["distribution"], version)
    recipe["engine"] = None
    for task in recipe["tasks"]:
        task["metric"] = task.get("metric") or {"binary": "auc", "regression": "rmse"}[task["kind"]]
    for name, metric in recipe["metrics"].items():
        metric["chance"] = 0.5 if name.startswith(("auc", "gauc")) else None
        metric["limits"] = list(LIMITS.get(name.partition("@")[0], (None, None)))
    recipe["inputs"]["pooled"] = recipe["inputs"].pop("given")
    measured["versions"] = versions
    return {**content, "schema_version": 2, "baseline": "single-task"}


def _provenances(recipe: JSON) -> Iterator[JSON]:
    parts = [recipe["dataset"], recipe["model"], *recipe["metrics"].values()]
    parts += [*recipe["inputs"]["asked"], *recipe["inputs"]["given"]]
    if recipe["balancer"] is not None:
        parts.append(recipe["balancer"])
    for part in parts:
        yield part["provenance"]


STEPS: tuple[Callable[[JSON], JSON], ...] = (_from_1,)
NEWEST = len(STEPS) + 1
