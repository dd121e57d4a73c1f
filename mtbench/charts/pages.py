"""How pages are made: templates that can draw charts."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from mtbench.charts.plots import name_series


def open_templates(*packages: str) -> Environment:
    """Return the templates of these packages and those of charts; what is missing is an error, texts are escaped."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "mtbench.charts")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["name_series"] = name_series
    return environment
