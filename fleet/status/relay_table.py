"""Relays, a line each or all in one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fleet.figures import age_text, bytes_text, count_text, plural
from fleet.heartbeat import RelayBeat
from fleet.status.overview import Machine, Overview
from fleet.status.text_layout import OF_SEVERITY, dotted, fitted, names_of, said

_COLUMNS = (
    ("run", 5), ("tasks", 7), ("records", 8), ("a batch", 8), ("down", 8), ("up", 8), ("lag", 8),
)  # fmt: skip
_FACTS_WIDTH = sum(size for _, size in _COLUMNS) + 2
_FROM_WIDTH = 13


def relay_table_height(overview: Overview) -> int:
    """Lines of `relay_table`."""
    relays = [machine.relay for machine in overview.relays if machine.relay is not None]
    return 1 + len(relays) + sum(bool(relay.last_error) for relay in relays)


def relay_table(overview: Overview, width: int) -> list[Text]:
    """A heading and one line for each relay."""
    if not overview.relays:
        return []
    names = [name.removesuffix("-relay") for name in names_of(overview.relays)]
    room = width - _FACTS_WIDTH - _FROM_WIDTH
    name_width = min(max(map(cell_len, [*names, "relay"])) + 2, max(10, room))
    heading = "".join(f"{name:>{size}}" for name, size in _COLUMNS)
    lines = [Text(f"{'relay':<{name_width}}{heading}  from", "dim")]
    for machine, name in zip(overview.relays, names, strict=True):
        relay = machine.relay
        assert relay is not None
        cells = (
            overview.run_name(relay.run_uid),
            count_text(relay.tasks),
            count_text(relay.records),
            count_text(_at_once([relay])),
            bytes_text(relay.bytes_down),
            bytes_text(relay.bytes_up),
            age_text(relay.lag_s),
        )
        row = Text(set_cell_size(fitted(name, name_width - 1), name_width))
        row.stylize(f"bold {OF_SEVERITY[machine.severity]}")
        for cell, (_, size) in zip(cells, _COLUMNS, strict=True):
            row.append(f" {fitted(cell, size - 1):>{size - 1}}")
        upstream = relay.upstream.partition("://")[2].removesuffix("/0") or relay.upstream
        silent = f"silent {age_text(machine.silence_s)}" if machine.is_silent else upstream
        lines.append(row.append("  ").append(silent, "red" if machine.is_silent else "dim"))
        if relay.last_error:
            lines.append(said(relay.last_error, width))
    return lines


def short_relay_table(overview: Overview, width: int) -> list[Text]:
    """All relays in a line, and the first that is in trouble."""
    if not overview.relays:
        return []
    lines = [_relay_summary(overview.relays)]
    first = overview.relays[0]
    if first.severity and first.relay is not None:
        error = first.relay.last_error or f"silent {age_text(first.silence_s)}"
        lines.append(said(f"{first.host}: {error}", width))
    return lines


def _relay_summary(machines: Sequence[Machine]) -> Text:
    relays = [machine.relay for machine in machines if machine.relay is not None]
    down, up = sum(r.bytes_down for r in relays), sum(r.bytes_up for r in relays)
    return dotted(
        [
            Text(plural(len(relays), "relay"), "bold"),
            f"{count_text(sum(r.records for r in relays))} records",
            f"{count_text(_at_once(relays))} in a batch",
            f"{bytes_text(down)} down, {bytes_text(up)} up",
            f"lag {age_text(max(r.lag_s for r in relays))}",
        ]
    )


def _at_once(relays: Sequence[RelayBeat]) -> float:
    """Records in a batch, on average."""
    batches = sum(relay.batches for relay in relays)
    return sum(relay.records for relay in relays) / batches if batches else 0.0
