"""The pictures of a sweep's report, as SVG that is readable on light and on dark ground."""

from __future__ import annotations

import json
import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import vl_convert

from mtbench.tuning.history import ranks, undominated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtbench.tuning.history import History

GREY = "#7d8590"
PALETTE = ("#3b82f6", "#e8590c", "#2f9e44", "#ae3ec9", "#e03131", "#0c8599", "#f08c00", "#6741d9", "#868e96", "#d6336c")
MOST_TASKS = 4
CONFIG = {
    "background": "transparent",
    "padding": {"left": 5, "top": 5, "right": 24, "bottom": 5},  # a browser's letters may be wider
    "font": "system-ui, sans-serif",
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": GREY, "titleColor": GREY, "domainColor": GREY, "tickColor": GREY, "gridColor": GREY,
        "gridOpacity": 0.25, "titleFontWeight": "normal",
    },
    "legend": {"labelColor": GREY, "titleColor": GREY, "titleFontWeight": "normal", "symbolOpacity": 1},
    "title": {"color": GREY, "fontWeight": "normal", "fontSize": 12},
    "header": {"labelColor": GREY, "titleColor": GREY},
}  # fmt: skip


def svg(chart: alt.TopLevelMixin) -> str:
    """Return a chart as SVG."""
    spec = chart.to_dict() | {"config": CONFIG}
    return vl_convert.vegalite_to_svg(json.dumps(spec))


def data(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Return rows as the data of a chart."""
    return alt.InlineData(values=[dict(row) for row in rows])


def by_model(histories: Sequence[History]) -> alt.Color:
    """Return one colour per model."""
    labels = [each.label for each in histories]
    return alt.Color("model:N", title=None, scale=alt.Scale(domain=labels, range=list(PALETTE)), sort=labels)


def best_so_far(histories: Sequence[History]) -> str:
    """Draw the best score against the slots that were used; small dots are trials, of which bad ones lie below."""
    lines = [
        {"model": each.label, "slots": at + 1, "score": value}
        for each in histories
        for at, value in enumerate(each.best_so_far())
        if value is not None
    ]
    dots = [
        {"model": each.label, "slots": one.slot + 1, "score": one.score} for each in histories for one in each.finished
    ]
    values = [value for each in histories for value in each.best_so_far() if value is not None]
    margin = max(0.1 * (max(values) - min(values)), 0.002)
    x = alt.X("slots:Q", title="trials", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(domainMin=0))
    y = alt.Y(
        "score:Q",
        title="score on validation",
        scale=alt.Scale(zero=False, nice=False, domain=[min(values) - margin, max(values) + margin]),
    )
    curve = alt.Chart(data(lines)).mark_line(interpolate="step-after", strokeWidth=2.5, point=True)
    points = alt.Chart(data(dots)).mark_circle(opacity=0.55, size=28, clip=True)
    color = by_model(histories)
    return svg((points.encode(x, y, color) + curve.encode(x, y, color)).properties(width=560, height=300))


def rank_by_budget(histories: Sequence[History]) -> str:
    """Draw the rank of each model by the best score among its first trials."""
    rows = [
        {"model": label, "slots": at + 1, "rank": rank}
        for label, curve in ranks(histories).items()
        for at, rank in enumerate(curve)
        if rank is not None
    ]
    chart = alt.Chart(data(rows)).mark_line(point=alt.OverlayMarkDef(size=45), strokeWidth=2.5)
    return svg(
        chart.encode(
            alt.X("slots:Q", title="trials", axis=alt.Axis(tickMinStep=1, format="d")),
            alt.Y(
                "rank:Q", title="rank", axis=alt.Axis(tickMinStep=1, format="d"),
                scale=alt.Scale(reverse=True, domain=[1, max(2, len(histories))]),
            ),
            by_model(histories),
        ).properties(width=560, height=max(90, 34 * len(histories)))
    )  # fmt: skip


def importance(importances: Mapping[str, float]) -> str:
    """Draw how much each setting decides the score."""
    rows = [{"setting": name, "importance": value} for name, value in importances.items()]
    chart = alt.Chart(data(rows)).mark_bar(color=PALETTE[0])
    return svg(
        chart.encode(
            alt.X("importance:Q", title="importance", axis=alt.Axis(format="%")),
            alt.Y("setting:N", title=None, sort="-x", axis=alt.Axis(labelLimit=240)),
        ).properties(width=360, height=20 * len(rows))
    )


def slices(history: History) -> str:
    """Draw the score against each setting."""
    finished = history.finished
    found = []
    for name, described in history.space.items():
        rows = [{"value": (each.params or {}).get(name), "score": each.score} for each in finished]
        if isinstance(described, dict):
            kind = alt.Scale(type="log" if described["log"] else "linear", domain=[described["low"], described["high"]])
            axis = alt.Axis(format="~g", tickCount=4, labelOverlap=True, grid=not described["log"])
            x = alt.X("value:Q", title=name, scale=kind, axis=axis)
        else:
            rows = [row | {"value": text(row["value"])} for row in rows]
            every = alt.Scale(domain=[text(each) for each in described])
            x = alt.X("value:N", title=name, scale=every, axis=alt.Axis(labelAngle=-30))
        y = alt.Y("score:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4))
        chart = alt.Chart(data(rows)).mark_circle(size=40, opacity=0.75, color=PALETTE[0])
        found.append(chart.encode(x, y).properties(width=150, height=120))
    return svg(alt.concat(*found, columns=4))


def text(value: Any) -> str:
    """Return a choice as it is written."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def place(value: Any, described: Any) -> float:
    """Return where a value lies in its range, from 0 to 1."""
    if isinstance(described, dict):
        low, high = described["low"], described["high"]
        if described["log"]:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return float((value - low) / (high - low))
    texts = [text(each) for each in described]
    return texts.index(text(value)) / max(1, len(texts) - 1)


def ends(described: Any) -> tuple[str, str]:
    """Return the texts at the two ends of a setting's axis."""
    if isinstance(described, dict):
        return f"{described['low']:g}", f"{described['high']:g}"
    return text(described[0]), text(described[-1])


def parallel(history: History) -> str:
    """Draw each finished trial as a line through its settings, by score."""
    names = list(history.space)
    rows = [
        {"trial": each.slot, "score": each.score, "setting": name, "place": place((each.params or {})[name], described)}
        for each in history.finished
        for name, described in history.space.items()
    ]
    marks = [
        {"setting": name, "place": at, "text": end}
        for name, described in history.space.items()
        for at, end in zip((-0.07, 1.07), ends(described), strict=True)
    ]
    x = alt.X(
        "setting:N", sort=names, title=None, axis=alt.Axis(labelAngle=-30, grid=True, labelLimit=200, domain=False)
    )
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.1, 1.1]))
    color = alt.Color("score:Q", scale=alt.Scale(scheme="viridis"), title="score")
    lines = alt.Chart(data(rows)).mark_line(opacity=0.7, strokeWidth=1.6).encode(x, y, color, alt.Detail("trial:N"))
    texts = alt.Chart(data(marks)).mark_text(color=GREY, fontSize=10).encode(x, y, alt.Text("text:N"))
    return svg((lines + texts).properties(width=max(360, 85 * len(names)), height=240))


def pareto_of_tasks(histories: Sequence[History], tasks: Sequence[str]) -> str:
    """Draw the tasks against each other, two at a time; full dots are trials that no other beats in all tasks."""
    known = [(each.label, one.tasks or {}) for each in histories for one in each.finished]
    points = np.array([[values[task] for task in tasks] for _, values in known]).reshape(-1, len(tasks))
    rows = [
        {"model": label, "undominated": bool(free)} | {_field(task): value for task, value in values.items()}
        for (label, values), free in zip(known, undominated(points), strict=True)
    ]
    found = []
    for across, up in combinations(tasks[:MOST_TASKS], 2):
        chart = alt.Chart(data(rows)).mark_point(size=55, strokeWidth=1.5)
        found.append(
            chart.encode(
                alt.X(f"{_field(across)}:Q", title=across, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
                alt.Y(f"{_field(up)}:Q", title=up, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
                by_model(histories),
                fill=alt.condition("datum.undominated", by_model(histories), alt.value("transparent")),
                opacity=alt.condition("datum.undominated", alt.value(1), alt.value(0.45)),
            ).properties(width=240, height=200)
        )
    return svg(alt.concat(*found, columns=3))


def pareto_of_cost(histories: Sequence[History]) -> str:
    """Draw the score against what a model costs; full dots are what nothing beats in both."""
    found = []
    for title, name in (
        ("parameters", "parameters"),
        ("operations per row", "flops"),
        ("seconds of training", "seconds"),
    ):
        known = [
            (each.label, one.score, cost)
            for each in histories
            for one in each.finished
            if (cost := getattr(one, name)) is not None
        ]
        points = np.array([[score, -cost] for _, score, cost in known]).reshape(-1, 2)
        rows = [
            {"model": label, "score": score, "cost": cost, "undominated": bool(free)}
            for (label, score, cost), free in zip(known, undominated(points), strict=True)
        ]
        axis = alt.Axis(format="~s", tickCount=5, grid=False)
        x = alt.X("cost:Q", title=title, scale=alt.Scale(type="log"), axis=axis)
        y = alt.Y("score:Q", title="score", scale=alt.Scale(zero=False))
        base = alt.Chart(data(rows))
        dots = base.mark_point(size=55, strokeWidth=1.5).encode(
            x, y, by_model(histories),
            fill=alt.condition("datum.undominated", by_model(histories), alt.value("transparent")),
            opacity=alt.condition("datum.undominated", alt.value(1), alt.value(0.45)),
        )  # fmt: skip
        edge = base.transform_filter("datum.undominated").mark_line(
            interpolate="step-after", color=GREY, strokeDash=[4, 3], strokeWidth=1.2
        )
        found.append((edge.encode(x, y) + dots).properties(width=240, height=200))
    return svg(alt.hconcat(*found))


def _field(task: str) -> str:
    """Return a task's name as the name of a field, where dots and brackets mean something."""
    return "task " + "".join(each if each.isalnum() or each in "_- " else "_" for each in task)
