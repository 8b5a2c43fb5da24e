"""What the runs of a comparison came to: a table in Markdown, and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from comparison.runs import core_s
from comparison.tasks import SEARCHES, TASKS, Task
from numpy.typing import NDArray

from errors import ConfigError
from tracking.store import StoredRun

_COLOURS = ("#0b6e4f", "#c1440e", "#3d6fb4", "#8a6d3b", "#7b3fa0", "#555555")
_UNITS = ((1e6, " (millions)"), (1e3, " (thousands)"), (1.0, ""))
_POINTS = 400
_QUARTILES = (25, 50, 75)


class Learnt(NamedTuple):
    """One complete run.

    Attributes:
        steps_t: ``(T,)`` float64, simulator steps spent when the theta of a generation was there;
            the first is 0.
        fitness_t: ``(T,)`` float64, its fitness over the validation episodes.
        final: fitness of the last theta over the final episodes, of which there were
            ``num_final``.
        wall_s: seconds in the loop; core_s: processor seconds of all its processes.
        config: every setting.
    """

    steps_t: NDArray[np.float64]
    fitness_t: NDArray[np.float64]
    final: float
    num_final: int
    wall_s: float
    core_s: float
    config: Mapping[str, Any]

    def steps_to(self, threshold: float) -> float:
        """Steps spent when validation first said so much; infinite where it never did."""
        reached = np.flatnonzero(self.fitness_t >= threshold)
        return float(self.steps_t[reached[0]]) if len(reached) else math.inf


def learnt(run: StoredRun) -> Learnt:
    """What a complete run came to."""
    metrics, result = run.metrics(), run.result
    assert result is not None
    numbers, fitness_t = metrics["fitness/current"]
    all_numbers, total = metrics["work/env_steps_total"]
    # What validation said in a generation is of the theta that the one before ended with.
    before = total - metrics["work/env_steps"][1]
    return Learnt(
        before[np.searchsorted(all_numbers, numbers)],
        fitness_t,
        float(result["fitness_current"]),
        int(result["fitness_current_episodes"]),
        float(result["wall_s"]),
        core_s(run),
        run.config,
    )


def band(runs: Sequence[Learnt], steps_g: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(3, G)``: lower quartile, median and upper quartile over runs of the fitness that theta
    had, as last measured, after each number of steps.
    """
    rows = [run.fitness_t[np.searchsorted(run.steps_t, steps_g, side="right") - 1] for run in runs]
    return np.asarray(np.percentile(rows, _QUARTILES, axis=0))


def table(task: str, found: Mapping[str, Sequence[Learnt]]) -> Iterator[str]:
    """Markdown lines of one task, a row for each search that has a run."""
    about = TASKS[task]
    num_final = max(run.num_final for runs in found.values() for run in runs)
    episodes = "1 episode" if num_final == 1 else f"{num_final} episodes"
    yield (
        f"| `{task}` | settings | seeds | final fitness, {episodes}: median (quartiles) "
        f"| steps to {about.threshold:g} | wall s | core s |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for search, runs in found.items():
        low, middle, high = np.percentile([run.final for run in runs], _QUARTILES)
        yield (
            f"| {search} | {_settings(runs[0].config)} | {len(runs)} "
            f"| {_shown(middle)} ({_shown(low)} to {_shown(high)}) "
            f"| {_reached(runs, about.threshold)} "
            f"| {_median_s([run.wall_s for run in runs])} "
            f"| {_median_s([run.core_s for run in runs])} |"
        )


def _shown(fitness: float) -> str:
    return f"{fitness:.1f}" if abs(fitness) >= 1 else f"{fitness:.2g}"


def _settings(config: Mapping[str, Any]) -> str:
    """What is tuned most often."""
    words = [f"{config['pop_size']} candidates"]
    if config["num_episodes"] != 1:
        words.append(f"{config['num_episodes']} episodes each")
    words.append(f"sigma {config['sigma']:g}")
    if config["tool"] == "openai_es":
        words.append(f"lr {config['lr']:g}")
    return ", ".join(words)


def _reached(runs: Sequence[Learnt], threshold: float) -> str:
    """Median of the steps, and how many got there where not all did."""
    steps = np.array([run.steps_to(threshold) for run in runs])
    count = int(np.isfinite(steps).sum())
    # Not numpy's mean of the two in the middle, which of one infinite is no figure.
    median = float(np.sort(steps)[len(steps) // 2])
    shown = f"{median:,.0f}" if math.isfinite(median) else "never"
    return shown if count == len(runs) else f"{shown} ({count} of {len(runs)})"


def _median_s(seconds: Sequence[float]) -> str:
    median = float(np.median(seconds))
    return f"{median:.0f}" if math.isfinite(median) else "?"


def picture(
    found: Mapping[str, Mapping[str, Sequence[Learnt]]], budgets: Mapping[str, int], path: Path
) -> None:
    """Draw each task's curves side by side into ``path``.

    Raises:
        ConfigError: ``path`` cannot be written.
    """
    # Half a second that a refused command need not wait for.
    from matplotlib.figure import Figure

    size = (max(6.0, 4.6 * len(found)), 4.2)
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (task, by_search) in zip(panels, found.items(), strict=True):
        _draw(axes, TASKS[task], by_search, budgets[task])
    panels[0].set_ylabel("fitness of theta: median and quartiles over seeds")
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror}): give another --out") from None


def _draw(
    axes: Any, task: Task, by_search: Mapping[str, Sequence[Learnt]], budget_steps: int
) -> None:
    unit, name = next(pair for pair in _UNITS if budget_steps >= pair[0])
    steps_g = np.linspace(0, budget_steps, _POINTS)
    colours = dict(zip(SEARCHES, _COLOURS, strict=False))
    for search, runs in by_search.items():
        low, middle, high = band(runs, steps_g)
        colour = colours[search]
        axes.plot(steps_g / unit, middle, color=colour, linewidth=1.8, label=search)
        axes.fill_between(steps_g / unit, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.axhline(task.threshold, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_title(task.title, loc="left", fontsize=9)
    axes.set_xlabel(f"simulator steps{name}")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
