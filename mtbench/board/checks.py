"""Checks: how a record was verified and with what result, as files beside the records."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mtbench import __version__
from mtbench.files import hash_json, write_atomically
from mtbench.record.form import NAME_DIGITS, Part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtbench.record.form import Record

FOLDER = "checks"

Badge = Literal["claimed", "checked", "re-run"]


class Check(Part):
    """One verification of a record: metrics computed again from its predictions, or a seed of it trained again."""

    schema_version: Literal[1] = 1
    record: str = Field(description="KEY-CONTENT of the record.")
    level: Literal["checked", "re-run"]
    created: str = Field(description="UTC, ISO 8601.")
    mtbench: str = Field(description="Version that verified it.")
    environment: dict[str, str]
    seeds: list[int] = Field(description="Seeds that were trained again; none if the metrics alone were.")
    difference: float = Field(description="Largest difference of a test value from the record's.")
    tolerance: float = Field(description="What was allowed.")

    @property
    def file_stem(self) -> str:
        """The record's name and the beginning of this content's hash."""
        return f"{self.record}.{hash_json(self.model_dump(mode='json'))[:NAME_DIGITS]}"


def make(
    record: Record, level: Literal["checked", "re-run"], environment: dict[str, str], seeds: list[int],
    *, difference: float, tolerance: float,
) -> Check:  # fmt: skip
    """Return a check of now, by this version of mtbench."""
    return Check(
        record=record.file_stem, level=level, created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        mtbench=__version__, environment=environment, seeds=seeds, difference=difference, tolerance=tolerance,
    )  # fmt: skip


def write(check: Check, records: Path) -> Path:
    """Write a check beside the records under its name, whole or not at all; return its path."""
    path = records / FOLDER / f"{check.file_stem}.json"
    content = json.dumps(check.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda part: part.write_text(content, encoding="utf-8"))
    return path


def read_all(records: Path) -> tuple[dict[str, list[Check]], list[str]]:
    """Return the checks by record, and what is wrong with the files that are none."""
    by_record: dict[str, list[Check]] = {}
    problems = []
    for path in sorted((records / FOLDER).glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            check = Check.model_validate(content)
            name = f"{check.record}.{hash_json(content)[:NAME_DIGITS]}"  # as written, whatever later versions add
        except (OSError, ValueError, RecursionError):
            problems.append(f"{path}: not a check")
            continue
        if path.stem != name:
            problems.append(f"{path}: its name is not the hash of its content: it was changed or renamed")
            continue
        by_record.setdefault(check.record, []).append(check)
    return by_record, problems


def find_badge(checks: Sequence[Check]) -> Badge:
    """Return how far a record with these checks was verified."""
    levels = {check.level for check in checks}
    return "re-run" if "re-run" in levels else "checked" if levels else "claimed"
