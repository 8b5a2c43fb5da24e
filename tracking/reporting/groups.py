"""Runs side by side: which are repetitions of one configuration, and in what the others differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracking.reporting.account import MEANINGS, RunAccount
from tracking.reporting.axes import Axis

Array = NDArray[np.float64]

INCIDENTAL = frozenset(
    {
        "author",
        "mongo_url",
        "noise_dir",
        "notify",
        "ray_address",
        "ray_dashboard",
        "redis_url",
        "render",
        "render_every",
        "resume",
        "runs_dir",
        "seed",
    }
)
"""Options that make no other configuration of a run: chance, places, and who is told."""

FEW_SEEDS = 4
_GRID_POINTS = 200


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, which differ by chance alone.

    Attributes:
        letter: what the page calls it.
        runs: in the order they were named.
        settings: its values of the options in which groups differ.
    """

    letter: str
    runs: tuple[RunAccount, ...]
    settings: Mapping[str, Any]

    @property
    def env_name(self) -> str:
        return str(self.runs[0].config.get("env_name", "?"))


@dataclass(frozen=True)
class Band:
    """A group's curve over one axis.

    Attributes:
        x: ``(P,)``, as far as all runs of the group got.
        median, low, high: ``(P,)`` over its runs: the quartiles of `FEW_SEEDS` or more, else the
            least and the greatest.
        seeds: of each run its own ``(x, y)``, to its own end.
    """

    x: Array
    median: Array
    low: Array
    high: Array
    seeds: tuple[tuple[Array, Array], ...]


def grouped(accounts: Sequence[RunAccount], defaults: Mapping[str, Any]) -> list[Group]:
    """``accounts`` by configuration, in the order in which each was first named.

    Args:
        accounts: the runs.
        defaults: options of this release: what runs of one that had not an option did.
    """
    found: dict[str, list[RunAccount]] = {}
    for account in accounts:
        found.setdefault(_key(account, defaults), []).append(account)
    differing = differences([runs[0] for runs in found.values()], defaults)
    return [
        Group(
            _letters(number),
            tuple(runs),
            {name: _setting(runs[0], name, defaults) for name in differing},
        )
        for number, runs in enumerate(found.values())
    ]


def differences(accounts: Sequence[RunAccount], defaults: Mapping[str, Any]) -> list[str]:
    """Options in which they do not all agree, incidental ones left out, by name."""
    names = sorted({name for account in accounts for name in account.config} - INCIDENTAL)
    return [
        name
        for name in names
        if len({_plain(_setting(account, name, defaults)) for account in accounts}) > 1
    ]


def band(group: Group, axis: Axis, metric: str) -> Band | None:
    """The group's curve of ``metric``; ``None`` where no run of it has one on this axis."""
    seeds = []
    for run in group.runs:
        column = run.metrics[metric]
        x = axis.places(run.metrics, column.numbers)
        is_known = np.isfinite(x) & np.isfinite(column.values)
        if is_known.any():
            seeds.append((x[is_known], column.values[is_known]))
    if not seeds:
        return None
    start, stop = max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds)
    if stop < start:  # one ended before another's first value
        nothing = np.empty(0)
        return Band(nothing, nothing, nothing, nothing, tuple(seeds))
    grid = np.linspace(start, stop, _GRID_POINTS) if stop > start else np.array([start])
    y_sp = np.array([np.interp(grid, x, y) for x, y in seeds])
    share = 0.25 if len(seeds) >= FEW_SEEDS else 0.0
    low, median, high = np.quantile(y_sp, [share, 0.5, 1 - share], axis=0)
    return Band(grid, median, low, high, tuple(seeds))


def final_scores(groups: Sequence[Group]) -> tuple[str, list[Array]]:
    """What final fitness means here, and that of each group's runs, all measured alike: where any
    run has come to its closing test, those that have not are left out.
    """
    finals = [run.final for group in groups for run in group.runs if run.final]
    meaning = min((final.meaning for final in finals), key=MEANINGS.index, default="")
    scores = [
        np.array([r.final.value for r in group.runs if r.final and r.final.meaning == meaning])
        for group in groups
    ]
    return meaning, scores


def value_text(value: Any) -> str:
    """A setting's value as it is written on the command line, more or less."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _setting(account: RunAccount, name: str, defaults: Mapping[str, Any]) -> Any:
    return account.config.get(name, defaults.get(name))


def _key(account: RunAccount, defaults: Mapping[str, Any]) -> str:
    names = (set(account.config) | set(defaults)) - INCIDENTAL
    return _plain({name: _setting(account, name, defaults) for name in names})


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    text = ""
    while number >= 0:
        number, place = divmod(number, 26)
        text, number = chr(ord("A") + place) + text, number - 1
    return text
