"""Pictures of results as SVG files, readable on light and on dark ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.charts.pages import open_templates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtbench.charts.plots import Plot

HEADING = 40
TEMPLATE = """\
{% from "plot.html.j2" import drawing %}
<svg xmlns="http://www.w3.org/2000/svg" width="{{ width }}" height="{{ height }}"
 viewBox="0 0 {{ width }} {{ height }}">
<title>{{ heading }}</title>
<style>
{% include "colours.css.j2" %}
{% include "plot.css.j2" %}
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.heading { font-size: 15px; font-weight: 600; fill: var(--text); }
.ground { fill: var(--panel); }
</style>
<rect class="ground" width="{{ width }}" height="{{ height }}"/>
<text class="heading" x="14" y="25">{{ heading }}</text>
{% for x, y, plot in placed %}
<g class="plot" transform="translate({{ x }} {{ y }})">
{{ drawing(plot) -}}
</g>
{% endfor %}
</svg>
"""


def write_picture(plots: Sequence[Plot], path: Path, heading: str, *, columns: int = 1) -> None:
    """Write plots into one SVG file, so many beside each other, in cells as large as the largest of them."""
    wide, high = max(plot.frame.width for plot in plots), max(plot.frame.height for plot in plots)
    rows = -(-len(plots) // columns)
    placed = [(wide * (index % columns), HEADING + high * (index // columns), plot) for index, plot in enumerate(plots)]
    text = (
        open_templates()
        .from_string(TEMPLATE)
        .render(heading=heading, width=wide * min(columns, len(plots)), height=HEADING + high * rows, placed=placed)
    )
    path.write_text(text, encoding="utf-8", newline="\n")
