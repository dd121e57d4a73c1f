"""``mtbench schema``: the JSON Schema of an experiment file."""

from __future__ import annotations

from mtbench.cli.options import PluginOption, print_json, use_plugins


def schema(*, plugin: PluginOption = None) -> None:
    """Print the JSON Schema of experiment files, for editors and checks, with all known kinds of tasks."""
    from mtbench.experiment import Experiment  # noqa: PLC0415 - nothing else of it is needed here
    from mtbench.registry import Registry  # noqa: PLC0415

    use_plugins(plugin)
    Registry.load()
    print_json(Experiment.model_json_schema())
