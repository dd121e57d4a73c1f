"""``mtbench schema``: the JSON Schema of an experiment file."""

from __future__ import annotations

from mtbench.cli.options import print_json


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors and checks."""
    from mtbench.experiment import Experiment  # noqa: PLC0415 - nothing else of it is needed here

    print_json(Experiment.model_json_schema())
