"""Bars: shares of several names, one below another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtbench.charts.plots import WIDE_LETTER, Bar, Plot, PlotText, framed
from mtbench.charts.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW, THICKNESS = 24, 13
WIDTH = 540
ROOM = 44
"""Pixels at the right of the longest bar, for its number."""
HEADED = 30
"""Pixels above the first bar where there is a heading."""


def draw_bars(
    shares: Mapping[str, float | None],
    *,
    heading: str = "",
    longest: float | None = None,
    told: str | None = None,
    width: int = WIDTH,
) -> Plot:
    """Draw shares (0 to 1) as bars with their per cents, in their order; None is "not available".

    A bar of the share ``longest``, the largest unless given, is as long as there is room. If a name is ``told`` from
    the others, they are grey.
    """
    left = round(WIDE_LETTER * max(map(len, shares))) + 14
    top = HEADED if heading else 8
    frame = framed(max(width, 2 * left), ROW * len(shares) + top + 8, left=left, right=ROOM, top=top, bottom=8)
    known = [share for share in shares.values() if share is not None]
    x = Scale(0.0, longest or max(known, default=0.0) or 1.0, frame.left, frame.right)
    bars, texts = [], []
    if heading:
        texts.append(PlotText(frame.left, 18, heading, "start"))
    for index, (name, share) in enumerate(shares.items()):
        middle = frame.top + ROW * (index + 0.5)
        texts.append(PlotText(frame.left - 8, middle + 4, name, "end"))
        if share is None:
            texts.append(PlotText(frame.left + 6, middle + 4, "not available", "start"))
            continue
        end = x.at(share)
        hue = "quiet" if told not in {None, name} else ""
        bars.append(Bar(middle, round(end - frame.left, 1), THICKNESS, f"{name}: {100 * share:.1f} %", hue))
        texts.append(PlotText(end + 6, middle + 4, f"{100 * share:.0f} %", "start"))
    return Plot("", "", bars=bars, texts=texts, frame=frame)
