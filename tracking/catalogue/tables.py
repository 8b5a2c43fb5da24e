"""Runs for people: a table that fits their terminal, and everything about one of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracking.catalogue.summary import RunSummary
from tracking.figures import number_text, size_text

PIPE_WIDTH = 200
_ROOMY = 110
_STYLES = {
    "running": "green",
    "interrupted": "yellow",
    "killed": "red",
    "failed": "red",
    "damaged": "red",
}


class _Column(NamedTuple):
    """A column.

    Attributes:
        least: columns of the terminal that it needs at least to be shown.
        most: of its own; longer text is cut, and more of it where there is no room. None: it is
            never cut.
    """

    name: str
    is_right: bool = False
    least: int = 0
    most: int | None = None


_COLUMNS = (
    _Column("id", is_right=True),
    _Column("when", least=60),
    _Column("config", most=14),
    _Column("env", least=100, most=28),
    _Column("generations", is_right=True),
    _Column("current", is_right=True),
    _Column("best", is_right=True, least=70),
    _Column("status"),
    _Column("size", is_right=True, least=78),
    _Column("tags", most=30),
)


def print_table(summaries: Iterable[RunSummary], console: Console) -> None:
    """A line for each run, as wide as the console is."""
    gap = 2 if console.width >= _ROOMY else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    columns = [column for column in _COLUMNS if console.width >= column.least]
    summaries = list(summaries)
    if not any(summary.tags for summary in summaries):
        columns = [column for column in columns if column.name != "tags"]
    # Without room for both, the environment's name stands in for a config that was not named.
    has_env = any(column.name == "env" for column in columns)
    rows = [_cells(summary, has_env=has_env) for summary in summaries]
    for column in columns:
        head = "gens" if column.name == "generations" else column.name
        widest = max([len(head), *(len(row[column.name]) for row in rows)])
        table.add_column(
            head,
            justify="right" if column.is_right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=widest if column.most is None else len(head),
            max_width=column.most,
        )
    for row in rows:
        cells = (row[column.name] for column in columns)
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells))
    _print(table, console)


def clock(time_s: float | None) -> str:
    """A time for people, UTC."""
    return "-" if time_s is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_s))


def print_facts(facts: Sequence[tuple[str, Any]], console: Console) -> None:
    """Names and what they stand for, below each other."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, Text(str(value)))
    _print(grid, console)


def _print(table: Table, console: Console) -> None:
    """Without the spaces that rich fills lines up with."""
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def _cells(summary: RunSummary, *, has_env: bool) -> dict[str, str]:
    config = summary.config_name or ("" if has_env else summary.env)
    of = "" if summary.num_generations is None else f"/{summary.num_generations}"
    return {
        "id": str(summary.run_id),
        "when": clock(summary.started_s)[5:] if summary.started_s is not None else "-",
        "config": config or "-",
        "env": summary.env or "-",
        "generations": f"{summary.generations}{of}",
        "current": number_text(summary.current),
        "best": number_text(summary.best),
        "status": summary.status,
        "size": size_text(summary.size_bytes),
        "tags": " ".join(summary.tags),
    }
