"""What each figure of a report draws; who draws it decides on size, page and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.reporting.busy_grid import Lanes, busy_grid
from tracking.reporting.groups import Band
from tracking.reporting.metric_columns import Column
from tracking.reporting.palette import COMPUTE, HEAT, INK, MUTED, PAPER, UPDATE, WAIT, Stroke
from tracking.reporting.svg import Draw, Size, plain_axes
from tracking.reporting.thinning import thinned
from tracking.reporting.time_split import TimeSplit
from tracking.reporting.units import duration
from tracking.reporting.worker_times import WorkerTimes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_FEW_POINTS = 40
HEAT_LEVELS = 5


class Line(NamedTuple):
    """A curve to be drawn.

    Attributes:
        look: how.
        x, y: ``(T,)``; NaN in y is a gap.
        error: ``(T,)``, drawn as a band to each side; ``None``, no band.
    """

    look: Stroke
    x: Array
    y: Array
    error: Array | None = None


def lines_chart(lines: Sequence[Line], *, x_label: str, y_label: str, divisor: float = 1.0) -> Draw:
    """Curves over one axis, whose places are divided by ``divisor``."""

    def draw(axes: Axes, size: Size) -> None:
        plain_axes(axes, x_label=x_label, y_label=y_label)
        for line in reversed(lines):  # the first on top
            _draw_line(axes, line, divisor, size.max_points)

    return draw


def bands_chart(
    bands: Sequence[tuple[Band, Stroke]], *, x_label: str, y_label: str, divisor: float
) -> Draw:
    """Medians with the spread between seeds, and each seed as a hairline."""

    def draw(axes: Axes, size: Size) -> None:
        plain_axes(axes, x_label=x_label, y_label=y_label)
        for band, look in reversed(bands):
            for x, y in band.seeds if len(band.seeds) > 1 else ():
                curve = thinned(x, y, size.max_points)
                places = curve.x / divisor
                axes.plot(places, curve.mean, color=look.colour, linewidth=0.6, alpha=0.45)
            x = band.x / divisor
            axes.fill_between(x, band.low, band.high, color=look.colour, alpha=0.18, linewidth=0)
            _stroke_line(axes, x, band.median, look)

    return draw


def dots_chart(rows: Sequence[tuple[str, Stroke, Array]], *, x_label: str) -> Draw:
    """A dot a run and a bar at their median, a row for each name."""

    def draw(axes: Axes, size: Size) -> None:
        for row, (_, look, values) in enumerate(rows):
            axes.plot(
                values,
                np.full(len(values), row),
                linestyle="",
                marker=look.marker,
                markersize=6,
                color=look.colour,
                alpha=0.6,
                markeredgewidth=0,
            )
            if len(values) > 1:
                axes.plot([np.median(values)] * 2, [row - 0.35, row + 0.35], color=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.grid(axis="x")
        axes.set_xlabel(x_label)

    return draw


def time_split_chart(split: TimeSplit, *, divisor: float, unit: str) -> Draw:
    """Stacked bars, a stretch of the run each."""

    def draw(axes: Axes, size: Size) -> None:
        plain_axes(axes, x_label="generation", y_label=f"{unit} per generation")
        below = np.zeros_like(split.total_b)
        parts = ((split.compute_b, COMPUTE), (split.wait_b, WAIT), (split.update_b, UPDATE))
        for part, colour in parts:
            if part is not None:
                axes.bar(
                    split.number_b,
                    part / divisor,
                    width=split.every,
                    bottom=below / divisor,
                    align="edge",
                    color=colour,
                    edgecolor=PAPER,
                    linewidth=0.4,
                )
                below = below + part

    return draw


def workers_chart(times: WorkerTimes, lanes: Lanes) -> Draw:
    """A row a lane, the stronger the busier, over the run's own clock."""

    def draw(axes: Axes, size: Size) -> None:
        grid = busy_grid(times, lanes, size.max_columns)
        divisor, unit = clock_unit(times.length_s)
        column = times.length_s / size.max_columns / divisor
        _draw_levels(axes, grid, column)
        for pause in times.pauses:
            at = pause.at_s / divisor
            axes.axvline(at, color=INK, linewidth=1, linestyle=(0, (3, 2)))
            axes.annotate(
                f"paused {duration(pause.length_s)}",
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2),
                textcoords="offset points",
                color=MUTED,
            )
        axes.set_xlim(0, times.length_s / divisor)
        axes.set_ylim(len(lanes.lanes) - 0.5, -0.5)
        axes.set_yticks(range(len(lanes.lanes)), [lane.name for lane in lanes.lanes])
        axes.set_xlabel(f"run's own clock ({unit})")
        axes.spines["bottom"].set_visible(False)

    return draw


def workers_height(lanes: Lanes) -> Callable[[Size], int]:
    """Of `workers_chart`: as high as its rows need."""
    return lambda size: 64 + 15 * max(2, len(lanes.lanes))


def failures_chart(column: Column) -> Draw:
    """Failed rollouts of each generation; of each stretch, where there are many."""

    def draw(axes: Axes, size: Size) -> None:
        plain_axes(axes, x_label="generation", y_label="failed rollouts per generation")
        every = -(-len(column.numbers) // size.max_columns)
        start = np.arange(0, len(column.numbers), every)
        sums = np.add.reduceat(np.nan_to_num(column.values), start)
        counts = np.diff(start, append=len(column.numbers))
        axes.bar(column.numbers[start], sums / counts, width=every, align="edge", color=COMPUTE)

    return draw


def clock_unit(length_s: float) -> tuple[float, str]:
    """Divisor and unit for an axis of so many seconds."""
    for least_s, divisor, unit in ((2 * 86_400, 86_400, "days"), (7200, 3600, "hours")):
        if length_s >= least_s:
            return divisor, unit
    return (60, "minutes") if length_s >= 120 else (1, "seconds")


def _draw_line(axes: Any, line: Line, divisor: float, max_points: int) -> None:
    curve = thinned(line.x / divisor, line.y, max_points)
    shade = {"color": line.look.colour, "linewidth": 0}
    if line.error is not None:
        error = thinned(line.x / divisor, line.error, max_points).mean
        axes.fill_between(curve.x, curve.mean - error, curve.mean + error, alpha=0.2, **shade)
    if curve.every > 1:
        axes.fill_between(curve.x, curve.low, curve.high, alpha=0.1, **shade)
    _stroke_line(axes, curve.x, curve.mean, line.look)


def _stroke_line(axes: Any, x: Array, y: Array, look: Stroke) -> None:
    """A marker on every point where there are few, on some where there are many."""
    is_sparse = np.isfinite(y).sum() <= _FEW_POINTS
    axes.plot(
        x,
        y,
        color=look.colour,
        linewidth=look.width,
        linestyle=(0, look.dashes) if look.dashes else "-",
        marker=look.marker or None,
        markersize=4,
        markevery=1 if is_sparse else max(1, len(x) // 8),
    )


def _draw_levels(axes: Any, grid: Array, column: float) -> None:
    """The grid's cells, all of one level as one shape."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    level_lc = np.ceil(grid * HEAT_LEVELS).astype(int)
    for level in range(1, HEAT_LEVELS + 1):
        paths = []
        for lane, level_c in enumerate(level_lc):
            edges = np.flatnonzero(np.diff(level_c == level, prepend=False, append=False))
            for start, stop in edges.reshape(-1, 2):
                left, right = start * column, stop * column
                top, bottom = lane - 0.42, lane + 0.42
                corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
                paths.append(Path(corners, closed=True))
        if paths:
            shape = Path.make_compound_path(*paths)
            axes.add_patch(PathPatch(shape, facecolor=HEAT, alpha=level / HEAT_LEVELS, linewidth=0))
