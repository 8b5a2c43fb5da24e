"""A motion on one page: joint angles, activations, ground reactions and the reward over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from env.musculoskeletal.motion import Motion, Rows
from errors import ResourceExhausted

_RIGHT, _LEFT, _MIDDLE = "#0b6e4f", "#c8553d", "#444444"
_SIDES = {"_r": (_RIGHT, "-"), "_l": (_LEFT, "--")}
_TERMS = ("#3d6fb4", "#c8553d", "#0b6e4f", "#9a6fb0", "#b08900", "#5aa0a8", "#888888")
_ACROSS = 3
_WIDTH_INCHES, _ROW_INCHES = 10.0, 1.55
_STILL_DEG = 1e-6
_LEAST_RANGE_N = 1.0
_DIRECTIONS = ("forward", "upward", "rightward")


def write_plots(path: Path, motion: Motion, title: str) -> None:
    """Draw ``motion`` into ``path``, one page, ``.png`` or ``.pdf``.

    A pair of coordinates ``_r`` and ``_l`` shares its axes. Angles that never change are left out.

    Raises:
        ResourceExhausted: the file cannot be written.
    """
    # Imported here: half a second, and most who import this package draw nothing.
    from matplotlib.figure import Figure

    angles = _paired(_moving_angles(motion))
    rows = [math.ceil(len(angles) / _ACROSS), 2, 1 if motion.reactions else 0, 2]
    figure = Figure(
        figsize=(_WIDTH_INCHES, _ROW_INCHES * (sum(rows) + 1)),
        dpi=110,
        facecolor="white",
        layout="constrained",
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    used = [count for count in rows if count]
    parts = iter(figure.subfigures(len(used), 1, height_ratios=used, squeeze=False).ravel())
    if angles:
        _draw_angles(next(parts), motion.time_s, angles, rows[0])
    _draw_activations(next(parts), motion)
    if motion.reactions:
        _draw_reactions(next(parts), motion)
    _draw_reward(next(parts), motion)
    try:
        figure.savefig(path)
    except OSError as error:
        raise ResourceExhausted(f"cannot write {path}: {error.strerror}") from None


def _moving_angles(motion: Motion) -> dict[str, Rows]:
    degrees = {
        name: np.degrees(values)
        for name, values in motion.coordinates.items()
        if name in motion.rotations
    }
    return {name: values for name, values in degrees.items() if np.ptp(values) > _STILL_DEG}


def _paired(columns: Mapping[str, Rows]) -> dict[str, dict[str, Rows]]:
    """By name without its side, the columns of each side; ``""`` is neither."""
    pairs: dict[str, dict[str, Rows]] = {}
    for name, values in columns.items():
        side = name[-2:] if name[-2:] in _SIDES else ""
        pairs.setdefault(name.removesuffix(side), {})[side] = values
    return pairs


def _draw_angles(
    part: Any, time_s: Rows, angles: Mapping[str, Mapping[str, Rows]], rows: int
) -> None:
    grid = part.subplots(rows, _ACROSS, sharex=True, squeeze=False).ravel()
    for axes, (name, sides) in zip(grid, angles.items(), strict=False):
        for side, values in sides.items():
            colour, style = _SIDES.get(side, (_MIDDLE, "-"))
            axes.plot(time_s, values, color=colour, linestyle=style, linewidth=1.2)
        _tidy(axes, f"{name.replace('_', ' ')} (deg)")
    for axes in grid[len(angles) :]:
        axes.set_axis_off()
    # Below the last of each column, though the column may be shorter than others.
    for axes in grid[max(0, len(angles) - _ACROSS) : len(angles)]:
        axes.tick_params(labelbottom=True)
    sided = next((i for i, sides in enumerate(angles.values()) if set(sides) - {""}), None)
    if sided is not None:
        _say_sides(grid[sided])


def _draw_activations(part: Any, motion: Motion) -> None:
    axes = part.subplots()
    names = list(motion.activations)
    axes.set_yticks(range(len(names)), names, fontsize=6 if len(names) > 12 else 8)
    if names:
        half = (motion.time_s[-1] / max(1, len(motion.time_s) - 1)) / 2
        picture = axes.imshow(
            np.array(list(motion.activations.values())),
            aspect="auto",
            interpolation="nearest",
            cmap="magma",
            vmin=0,
            vmax=1,
            extent=(-half, motion.time_s[-1] + half, len(names) - 0.5, -0.5),
        )
        part.colorbar(picture, ax=axes, pad=0.01, fraction=0.03)
    axes.set_title("muscle activations", loc="left", fontsize=9)
    axes.tick_params(axis="x", labelsize=7)


def _draw_reactions(part: Any, motion: Motion) -> None:
    grid = part.subplots(1, 3, sharex=True)
    for axis, (axes, direction) in enumerate(zip(grid, _DIRECTIONS, strict=True)):
        for foot, reaction in enumerate(motion.reactions):
            colour, style = _foot_line(reaction.name, foot)
            axes.plot(
                motion.time_s,
                reaction.force_t3[:, axis],
                color=colour,
                linestyle=style,
                linewidth=1.2,
                label=reaction.name,
            )
        _tidy(axes, f"ground reaction {direction} (N)")
        low, high = axes.get_ylim()
        if high - low < _LEAST_RANGE_N:
            # What rounding leaves of a force that a model in a plane cannot have.
            axes.set_ylim(-_LEAST_RANGE_N, _LEAST_RANGE_N)
    grid[0].legend(fontsize=7, frameon=False)


def _foot_line(name: str, foot: int) -> tuple[str, str]:
    return _SIDES.get(name[-2:], (_TERMS[foot % len(_TERMS)], "-"))


def _draw_reward(part: Any, motion: Motion) -> None:
    each, summed = part.subplots(1, 2, sharex=True)
    for i, (name, values) in enumerate(motion.terms.items()):
        colour = _TERMS[i % len(_TERMS)]
        each.plot(motion.time_s[1:], values[1:], color=colour, linewidth=1.1, label=name)
        summed.plot(motion.time_s, np.cumsum(values), color=colour, linewidth=1.2, label=name)
    total = sum(motion.terms.values(), np.zeros(len(motion.time_s)))
    summed.plot(motion.time_s, np.cumsum(total), color="black", linewidth=1.8, label="reward")
    _tidy(each, "reward of each step, term by term")
    _tidy(summed, "the same, summed so far")
    summed.legend(fontsize=7, frameon=False)
    for axes in (each, summed):
        axes.set_xlabel("time (s)", fontsize=8)


def _say_sides(axes: Any) -> None:
    from matplotlib.lines import Line2D

    handles: Sequence[Any] = [
        Line2D([], [], color=_RIGHT, linestyle="-", label="right"),
        Line2D([], [], color=_LEFT, linestyle="--", label="left"),
    ]
    axes.legend(handles=handles, fontsize=7, frameon=False, loc="best")


def _tidy(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
