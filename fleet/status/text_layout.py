"""Lines of text for a terminal, put together from parts of known widths."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fleet.status.overview import Machine

LABEL_WIDTH = 9
OF_SEVERITY = ("", "yellow", "yellow", "red", "red")
"""How a machine's name looks, by `fleet.status.overview.Machine.severity`."""


def labelled(label: str, line: Text, style: str = "dim") -> Text:
    return Text.assemble((f"{label:<{LABEL_WIDTH}}", style), line)


def dotted(parts: Sequence[str | Text]) -> Text:
    """Facts side by side."""
    return Text(" · ", "dim").join([p if isinstance(p, Text) else Text(p) for p in parts])


def flowing(label: str, parts: Sequence[str | Text], width: int) -> list[Text]:
    """Facts side by side behind their label, on as many lines as they need."""
    rows: list[list[str | Text]] = [[]]
    for part in parts:
        if rows[-1] and LABEL_WIDTH + cell_len(dotted([*rows[-1], part]).plain) > width:
            rows.append([])
        rows[-1].append(part)
    return [labelled("" if i else label, dotted(row)) for i, row in enumerate(rows)]


def ends(left: Text, right: Text, width: int) -> Text:
    """``left`` and ``right`` at the two ends of a line; of ``left`` what there is room for."""
    room = max(0, width - cell_len(right.plain) - 1)
    left.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(left, " ", right)


def bar(done: int, total: int, room: int) -> Text:
    width = max(4, min(room, 60))
    filled = round(width * min(1.0, done / total)) if total else 0
    return Text.assemble(("━" * filled, "green"), ("─" * (width - filled), "dim"))


def fitted(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns: its beginning and its end, where it is longer."""
    if cell_len(text) <= width:
        return text
    tail = max(0, (width - 1) // 3)
    return set_cell_size(text, max(0, width - 1 - tail)) + "…" + text[len(text) - tail :]


def said(error: str, width: int, more: str = "") -> Text:
    line = Text(f"   └ {error}", "yellow")
    line.truncate(max(8, width - len(more)), overflow="ellipsis")
    return line.append(more, "dim")


def names_of(machines: Sequence[Machine]) -> list[str]:
    """Hosts, and whole names where a host has several."""
    hosts = [machine.host for machine in machines]
    shared = {host for host in hosts if hosts.count(host) > 1}
    return [m.name if m.host in shared else m.host for m in machines]
