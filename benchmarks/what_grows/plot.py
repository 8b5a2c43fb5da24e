"""docs/growth.png: what grows with what, on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from what_grows.figures import Growth, Head

_STEPS: Mapping[str, tuple[str, str]] = {
    "ask": ("ask", "#4e79a7"),
    "publish": ("publish", "#76b7b2"),
    "collect": ("collect", "#f28e2b"),
    "tell": ("tell", "#e15759"),
    "journal": ("journal", "#b07aa1"),
    "snapshot": ("snapshot, every 30 s", "#9c9c9c"),
    "rest": ("metrics and all else", "#59a14f"),
}
_BLACK = "#222222"


def draw(growth: Growth, path: Path) -> None:
    """Draw all panels into ``path``; what has not been measured stays empty."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), dpi=130, facecolor="white", layout="constrained")
    (first, second, third), (fourth, fifth, sixth) = figure.subplots(2, 3)
    _workers(first, growth)
    _seconds(second, growth.dimensions, _size, "parameters D (population 100)")
    _seconds(third, growth.populations, _count, "population (D = 10,000, a task for each)")
    _memory(fourth, growth)
    _bytes(fifth, growth.dimensions, _size, "parameters D (population 100)")
    _bytes(sixth, growth.populations, _count, "population (D = 10,000, a task for each)")
    figure.savefig(path)


def _size(head: Head) -> int:
    return head.num_parameters


def _count(head: Head) -> int:
    return head.pop_size


def _workers(axes: Any, growth: Growth) -> None:
    counts = [one.num_workers for one in growth.steps]
    medians = [one.median / 1000 for one in growth.steps]
    lows = [(one.median - min(one.steps_per_s)) / 1000 for one in growth.steps]
    highs = [(max(one.steps_per_s) - one.median) / 1000 for one in growth.steps]
    axes.errorbar(counts, medians, [lows, highs], color=_BLACK, marker="o", capsize=3)
    axes.set_ylim(bottom=0)
    _dress(axes, "Whole run, lander, two cores", "workers", "thousand simulator steps a second")


def _seconds(axes: Any, heads: Sequence[Head], along: Callable[[Head], int], label: str) -> None:
    if not heads:
        axes.set_axis_off()
        return
    numbers = [along(one) for one in heads]
    for step, (name, colour) in _STEPS.items():
        style = "--" if step == "snapshot" else "-"
        seconds = [max(one.cpu_s[step], 1e-6) for one in heads]
        axes.plot(numbers, seconds, style, color=colour, marker=".", label=name)
    whole = [one.busy_s for one in heads]
    axes.plot(numbers, whole, color=_BLACK, linewidth=2, label="all but snapshots")
    _logarithmic(axes)
    axes.legend(frameon=False, fontsize=7.5)
    _dress(axes, "Head, a generation", label, "seconds of processor")


def _bytes(axes: Any, heads: Sequence[Head], along: Callable[[Head], int], label: str) -> None:
    if not heads:
        axes.set_axis_off()
        return
    numbers = [along(one) for one in heads]
    ways: dict[str, tuple[Sequence[float], str]] = {
        "head to Redis": ([one.traffic.from_head for one in heads], "#4e79a7"),
        "Redis to workers, each": (
            [one.traffic.to_others / one.num_workers for one in heads],
            "#76b7b2",
        ),
        "workers to Redis": ([one.traffic.from_others for one in heads], "#f28e2b"),
        "Redis to head": ([one.traffic.to_head for one in heads], "#e15759"),
        "journal's log": ([one.journal_bytes for one in heads], "#b07aa1"),
        "a snapshot": ([one.snapshot_bytes for one in heads], "#9c9c9c"),
    }
    for name, (found, colour) in ways.items():
        axes.plot(numbers, [max(one, 1) for one in found], color=colour, marker=".", label=name)
    _logarithmic(axes)
    axes.legend(frameon=False, fontsize=7.5)
    _dress(axes, "Bytes, a generation", label, "bytes")


def _memory(axes: Any, growth: Growth) -> None:
    roles = [one.role for one in reversed(growth.memory)]
    own = [one.uss_mb for one in reversed(growth.memory)]
    shared = [max(0.0, one.pss_mb - one.uss_mb) for one in reversed(growth.memory)]
    axes.barh(roles, own, color="#4e79a7", label="its own (USS)")
    axes.barh(roles, shared, left=own, color="#c9d8e8", label="its part of what is shared (PSS)")
    for place, (value, more) in enumerate(zip(own, shared, strict=True)):
        axes.text(value + more, place, f" {value:.0f}", va="center", fontsize=8)
    axes.legend(frameon=False, fontsize=7.5)
    _dress(axes, "Memory of each role", "MB", "")


def _logarithmic(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")


def _dress(axes: Any, title: str, along: str, up: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(along, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
