"""The figures of one run, with their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tracking.reporting.account import RunAccount
from tracking.reporting.axes import AXES
from tracking.reporting.busy_grid import Lanes, lanes_of
from tracking.reporting.charts import (
    HEAT_LEVELS,
    Line,
    clock_unit,
    failures_chart,
    lines_chart,
    time_split_chart,
    workers_chart,
    workers_height,
)
from tracking.reporting.legend import LegendEntry, line_entry, patch_entry
from tracking.reporting.metric_columns import MetricColumns
from tracking.reporting.palette import MUTED, Stroke, stroke
from tracking.reporting.svg import WIDE, SvgMaker
from tracking.reporting.time_split import time_split
from tracking.reporting.units import percent

MOST_LINES = 6


class Plot(NamedTuple):
    """A drawing, and for which choice of the horizontal axis it is; empty: for any."""

    axis: str
    drawing: str


class FigureParts(NamedTuple):
    """A figure of the page.

    Attributes:
        title, caption: above it and under it.
        legend: samples of its lines.
        plots: one, or one for each horizontal axis.
    """

    title: str
    caption: str
    legend: list[LegendEntry]
    plots: list[Plot]


def figures_of_run(account: RunAccount, make: SvgMaker) -> Iterator[FigureParts]:
    """What can be drawn of the run, most telling first."""
    yield from _fitness(account, make)
    yield from _terms(account, make)
    yield from _measure(
        account, make, "episode/distance_m", "Distance", "metres", "how far forward each goes"
    )
    yield from _measure(
        account,
        make,
        "episode/length_mean",
        "Length of episodes",
        "simulator steps",
        "their length",
    )
    yield from _time(account, make)
    yield from _workers(account, make)
    yield from _failures(account, make)


class Curved(NamedTuple):
    """A metric as a line, its label and looks, and the metric that is its standard error."""

    metric: str
    label: str
    look: Stroke
    error: str = ""


def _over_axes(
    metrics: MetricColumns, make: SvgMaker, curves: Sequence[Curved], y_label: str, says: str
) -> list[Plot]:
    """The same curves over each axis on which they have a place."""
    plots = []
    for axis in AXES:
        lines = []
        for curve in curves:
            column = metrics[curve.metric]
            error = metrics[curve.error].at(column.numbers) if metrics[curve.error] else None
            x = axis.places(metrics, column.numbers)
            lines.append(Line(curve.look, x, column.values, error))
        largest = max(float(np.nanmax(line.x, initial=-1.0)) for line in lines)
        if largest < 0:
            continue
        divisor, label = axis.unit(largest)
        draw = lines_chart(lines, x_label=label, y_label=y_label, divisor=divisor)
        plots.append(Plot(axis.name, make.both(draw, says=f"{says}, by {axis.title}")))
    return plots


def _thinning_words(num_points: int) -> str:
    """A sentence where a point of the figure stands for several values."""
    every = -(-num_points // WIDE.max_points)
    if every < 2:
        return ""
    return (
        f" Each point is the mean of up to {every:,} generations; the light shade is their range."
    )


def _fitness(account: RunAccount, make: SvgMaker) -> Iterator[FigureParts]:
    metrics = account.metrics
    looks = {
        "fitness/current": ("theta, validated", stroke(0).of_width(2.2)),
        "fitness/mean": ("mean of the candidates", stroke(1).of_width(1.4)),
        "fitness/best": ("best candidate of each generation", Stroke(MUTED, (1, 1.5), "", 1.1)),
    }
    shown = {name: look for name, look in looks.items() if metrics[name]}
    if not shown:
        return
    curves = [
        Curved(name, label, look, error=f"{name}_se" if name == "fitness/current" else "")
        for name, (label, look) in shown.items()
    ]
    has_band = "fitness/current" in shown and bool(metrics["fitness/current_se"].best)
    caption = "Fitness: the sum of rewards in an episode."
    if has_band:
        caption += " The band is one standard error over the validation episodes to each side."
    if account.config.get("asynchronous"):
        caption += " Asynchronous: each generation is one candidate."
    longest = max(len(metrics[name].numbers) for name in shown)
    yield FigureParts(
        "Learning curve",
        caption + _thinning_words(longest),
        [line_entry(look, label) for label, look in shown.values()],
        _over_axes(metrics, make, curves, "fitness (reward)", "Fitness of the run"),
    )


def _terms(account: RunAccount, make: SvgMaker) -> Iterator[FigureParts]:
    metrics = account.metrics
    names = [name for name in metrics.terms() if metrics[f"reward/{name}"]]
    if not names:
        return
    names.sort(key=lambda name: -abs(metrics[f"reward/{name}"].last or 0.0))
    shown = names[:MOST_LINES]
    curves = [Curved(f"reward/{name}", name, stroke(index)) for index, name in enumerate(shown)]
    caption = "Sum of each term over an episode, mean over the candidates' episodes."
    if len(names) > len(shown):
        caption += f" The {len(shown)} largest at the end of {len(names)}; the table has all."
    longest = max(len(metrics[f"reward/{name}"].numbers) for name in shown)
    yield FigureParts(
        "The reward's terms",
        caption + _thinning_words(longest),
        [line_entry(stroke(index), name) for index, name in enumerate(shown)],
        _over_axes(metrics, make, curves, "reward per episode", "Terms of the reward"),
    )


def _measure(
    account: RunAccount, make: SvgMaker, name: str, title: str, unit: str, what: str
) -> Iterator[FigureParts]:
    column = account.metrics[name]
    if not column:
        return
    yield FigureParts(
        title,
        f"Mean over the candidates' episodes of {what}." + _thinning_words(len(column.numbers)),
        [],
        _over_axes(account.metrics, make, [Curved(name, title, stroke(0))], unit, title),
    )


def _time(account: RunAccount, make: SvgMaker) -> Iterator[FigureParts]:
    split = time_split(account.metrics, WIDE.max_columns // 2)
    if split is None:
        return
    divisor, unit = clock_unit(float(split.total_b.max()))
    if split.total_b.max() < 1:
        divisor, unit = 1e-3, "milliseconds"
    shares = split.shares()
    words = {
        "compute": ("--compute", "computing: in rollouts, mean of the workers"),
        "wait": ("--wait", "waiting: for tasks, for the slowest, on the way"),
        "update": ("--update", "updating: the search learns"),
    }
    caption = "Wall time of a generation, from one update to the next."
    if split.every > 1:
        caption += f" Each bar is the mean of {split.every:,} generations."
    yield FigureParts(
        "Time per generation",
        caption,
        [
            patch_entry(f"var({words[name][0]})", f"{words[name][1]}, {percent(share)}")
            for name, share in shares.items()
        ],
        [
            Plot(
                "",
                make.both(
                    time_split_chart(split, divisor=divisor, unit=unit),
                    says="Time per generation: computing, waiting, updating",
                ),
            )
        ],
    )


def _workers(account: RunAccount, make: SvgMaker) -> Iterator[FigureParts]:
    times = account.times
    if times is None or not times.workers:
        return
    lanes = lanes_of(times)
    step = 100 // HEAT_LEVELS
    yield FigureParts(
        f"Timeline by {lanes.kind}",
        "The stronger the colour, the more of its time went into rollouts." + _lanes_words(lanes),
        [
            patch_entry("var(--heat)", f"to {level * step} %", opacity=level / HEAT_LEVELS)
            for level in range(1, HEAT_LEVELS + 1)
        ],
        [
            Plot(
                "",
                make.both(
                    workers_chart(times, lanes),
                    says=f"How busy each {lanes.kind} was over the run",
                    height=workers_height(lanes),
                ),
            )
        ],
    )


def _lanes_words(lanes: Lanes) -> str:
    if not lanes.left_out:
        return ""
    half = len(lanes.lanes) // 2
    return (
        f" Of {len(lanes.lanes) + lanes.left_out:,} {lanes.kind}s, the {half} that had least to "
        f"do and the {half} that had most."
    )


def _failures(account: RunAccount, make: SvgMaker) -> Iterator[FigureParts]:
    column = account.metrics["failures/failed"]
    if not column.best:
        return
    yield FigureParts(
        "Failed rollouts",
        "Rollouts without a result after every attempt; the table names their kinds.",
        [],
        [Plot("", make.both(failures_chart(column), says="Failed rollouts by generation"))],
    )
