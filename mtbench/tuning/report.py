"""The report of a sweep: one HTML page that needs neither network nor JavaScript."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from mtbench.charts.bars import draw_bars
from mtbench.charts.pages import open_templates
from mtbench.files import write_atomically
from mtbench.tuning import figures
from mtbench.tuning.history import ENOUGH, measure_importances, read_history
from mtbench.tuning.studies import ModelStudy
from mtbench.tuning.worker import join_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtbench.experiment import Experiment

SLICES_FROM = 3
"""Finished trials from which on settings are drawn."""


def report(name: str, storage: str, out: Path) -> Path:
    """Write the page of a sweep, however far it is, into a file; return its path.

    Raises MTBenchError if there is no such sweep, or the page cannot be written.
    """
    place, experiment = join_sweep(name, storage)
    with place.reach():
        studies = [ModelStudy(place, study, experiment.sweep) for study in place.names(name)]
        page = render(name, experiment, studies)
    write_atomically(out, lambda part: part.write_text(page, encoding="utf-8", newline="\n"))
    return out


def render(name: str, experiment: Experiment, studies: Sequence[ModelStudy]) -> str:
    """Return the page as HTML."""
    histories = [read_history(study) for study in studies]
    environment = open_templates("mtbench.tuning", "mtbench.board")  # the board's style serves here too
    finished = list(chain.from_iterable(history.finished for history in histories))
    tasks = list(finished[0].tasks or ()) if finished else []
    return environment.get_template("report.html.j2").render(
        name=name,
        experiment=experiment,
        rows=studies[0].made_of["split"]["rows"],
        importances={study.label: draw_bars(shares) for study in studies if (shares := measure_importances(study))},
        histories=sorted(histories, key=lambda history: -(history.best.score or 0.0) if history.best else float("inf")),
        finished=finished,
        tasks=tasks,
        figures=figures,
        drawn=histories,
        slices_from=SLICES_FROM,
        enough=ENOUGH,
    )
