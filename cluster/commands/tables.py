"""Clusters for people, in tables that fit 80 columns, and for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from cluster.provider import ClusterState, MachineState

_COLUMNS = (
    ("name", "left"),
    ("state", "left"),
    ("machines", "right"),
    ("workers", "right"),
    ("gen", "right"),
    ("fitness", "right"),
    ("hours", "right"),
    ("usd", "right"),
    ("usd/h", "right"),
)
_STYLES = {"running": "green", "starting": "yellow", "ending": "yellow", "half-launched": "red",
           "stopped": "red", "gone": "red"}  # fmt: skip
_WIDE = 200


def show_list(states: Sequence[ClusterState], now_s: float) -> None:
    """A line for each cluster: aligned text where nobody looks, a table on a terminal."""
    _print(_COLUMNS, [_row(state, now_s) for state in states])


def show_machines(machines: Iterable[MachineState], now_s: float) -> None:
    """A line for each machine."""
    columns = (
        ("machine", "left"),
        ("state", "left"),
        ("type", "left"),
        ("address", "left"),
        ("hours", "right"),
        ("usd/h", "right"),
    )
    rows = [
        [
            machine.name,
            machine.state,
            machine.type + (" spot" if machine.is_spot else ""),
            machine.address,
            _hours(machine.since_s, now_s),
            _usd(machine.usd_per_hour, 3),
        ]
        for machine in machines
    ]
    _print(columns, rows)


def as_plain(state: ClusterState) -> dict[str, Any]:
    """All that is known of a cluster, as JSON has it."""
    values: dict[str, Any] = msgspec.to_builtins(state)
    return {**values, "usd_per_hour": state.usd_per_hour}


def as_json(value: Any) -> str:
    """``value`` in one line."""
    return msgspec.json.encode(value).decode()


def age(seconds: float) -> str:
    """A span for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def clock(time_s: float) -> str:
    """A time for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time_s))


def _row(state: ClusterState, now_s: float) -> list[str]:
    workers = [machine for machine in state.machines if machine.role == "worker"]
    there = sum(machine.state == "running" for machine in state.machines)
    progress = state.progress
    has_moved = progress is not None and progress.generation is not None
    ended_s = now_s if state.ended is None else state.ended.time_s
    is_up = state.state in ("running", "starting")
    return [
        state.name,
        state.state,
        f"{there}/{len(workers) + 1}" if state.machines else "0",
        str(progress.num_workers) if progress is not None and is_up else "-",
        str(progress.generation) if progress is not None and has_moved else "-",
        _fitness(progress.fitness if progress is not None else None),
        _hours(state.spec.created_s, ended_s) if state.spec is not None else "-",
        _usd(state.usd, 2),
        _usd(state.usd_per_hour, 2),
    ]


def _print(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # which commands that print no table need not load
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, side in columns:
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())


def _fitness(fitness: float | None) -> str:
    return "-" if fitness is None else f"{fitness:.5g}"


def _hours(since_s: float, until_s: float) -> str:
    return f"{max(0.0, until_s - since_s) / 3600:.2f}" if since_s else "-"


def _usd(usd: float, digits: int) -> str:
    return f"{usd:.{digits}f}" if usd else "-"
