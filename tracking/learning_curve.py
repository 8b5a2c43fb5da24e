"""A learning curve as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from errors import ConfigError
from tracking.store import StoredRun

_CURRENT, _MEAN, _BEST = "#0b6e4f", "#3d6fb4", "#a9a9a9"
_SIZE_INCHES = (8.0, 4.5)

_AXES = {
    "generation": "generation",
    "time": "training time (minutes)",
    "steps": "simulator steps (millions)",
}
# The metric that gives a generation its place on each axis, and the axis's unit in it.
_CLOCKS = {
    "generation": ("work/generation", 1.0),
    "time": ("time/elapsed_s", 60.0),
    "steps": ("work/env_steps_total", 1e6),
}

Series = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""By metric: places on the horizontal axis, and values."""


def learning_curve_png(
    runs: Sequence[StoredRun], path: Path, *, against: str = "generation"
) -> None:
    """Draw fitness over generations, simulator steps or minutes into ``path``.

    Theta's fitness on the validation episodes with a band of one standard error to each side,
    the mean of the candidates, and the best candidate of each generation. Several runs, each of
    which began from the one before, are drawn as one, with a line where each begins.

    Raises:
        ConfigError: a run has no metrics yet, or ``path`` cannot be written.
    """
    stages = list(_stages(runs, against))
    figure = Figure(figsize=_SIZE_INCHES, dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for metrics, start in stages:
        _draw_stage(axes, metrics, has_legend=start == 0)
        if start:
            axes.axvline(start, color="#bbbbbb", linewidth=0.8, linestyle=":")
    axes.set_xlabel(_AXES[against])
    axes.set_ylabel("fitness (sum of rewards in an episode)")
    names = "run" if len(runs) == 1 else "runs"
    ids = ", ".join(str(run.run_id) for run in runs)
    axes.set_title(f"{runs[0].config.get('env_name', 'run')}, {names} {ids}", loc="left")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot write {path} ({reason}): give a .png with --out") from None


def _stages(runs: Sequence[StoredRun], against: str) -> Iterator[tuple[Series, float]]:
    """Of each run, its metrics over the axis that is asked for, and where on it the run begins."""
    start = 0.0
    for run in runs:
        metrics = run.metrics()
        if "fitness/mean" not in metrics:
            raise ConfigError(f"run {run.run_id} has no metrics yet: wait for its first generation")
        name, unit = _CLOCKS[against]
        if name not in metrics:
            raise ConfigError(f"run {run.run_id} did not record its {against}: draw another axis")
        clock_numbers, clock = metrics[name]
        placed = {
            metric: (start + np.interp(numbers, clock_numbers, clock) / unit, values)
            for metric, (numbers, values) in metrics.items()
        }
        yield placed, start
        start += float(clock[-1]) / unit + (1 if against == "generation" else 0)


def _draw_stage(axes: Any, metrics: Series, *, has_legend: bool) -> None:
    def label(text: str) -> str:
        return text if has_legend else "_" + text

    nothing = (np.empty(0), np.empty(0))
    best, mean = metrics.get("fitness/best", nothing), metrics["fitness/mean"]
    axes.plot(*best, color=_BEST, linewidth=1, label=label("best candidate"))
    axes.plot(*mean, color=_MEAN, linewidth=1.5, label=label("mean of candidates"))
    x, current = metrics.get("fitness/current", nothing)
    if not len(x):
        return
    marker = "." if len(x) <= 60 else ""
    axes.plot(
        x, current, color=_CURRENT, linewidth=2, marker=marker, label=label("theta, validated")
    )
    error_x, error = metrics.get("fitness/current_se", nothing)
    if len(error_x) and error.any():
        band = np.interp(x, error_x, error)
        axes.fill_between(
            x,
            current - band,
            current + band,
            color=_CURRENT,
            alpha=0.2,
            linewidth=0,
            label=label("± one standard error"),
        )
