"""Relays, a line each or all in one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from fleet.figures import age_text, bytes_text, count_text, plural
from fleet.overview import Machine, Overview
from fleet.text_layout import OF_SEVERITY, dotted, fitted, names_of, said


def relay_table(overview: Overview, width: int) -> list[Text]:
    """One line for each relay."""
    if not overview.relays:
        return []
    lines = [_relay_summary(overview.relays)]
    for machine, name in zip(overview.relays, names_of(overview.relays), strict=True):
        relay = machine.relay
        assert relay is not None
        each = relay.records / relay.batches if relay.batches else 0.0
        facts = [
            f"run {overview.run_name(relay.run_uid)}" if relay.run_uid else "no run",
            f"{count_text(relay.tasks)} tasks",
            f"{count_text(relay.records)} records, {count_text(each)} at once",
            f"{bytes_text(relay.bytes_down)} down, {bytes_text(relay.bytes_up)} up",
            f"lag {age_text(relay.lag_s)}",
        ]
        if machine.is_silent:
            facts = [f"silent {age_text(machine.silence_s)}"]
        style = OF_SEVERITY[machine.severity]
        title = Text(f"  {fitted(name, 20)}  ", f"bold {style}")
        lines.append(title.append_text(dotted([*facts, f"from {relay.upstream}"])))
        if relay.last_error:
            lines.append(said(relay.last_error, width))
    return lines


def short_relay_table(overview: Overview, width: int) -> list[Text]:
    """All relays in a line, and the first that is in trouble."""
    lines = [_relay_summary(overview.relays)]
    first = overview.relays[0]
    if first.severity and first.relay is not None:
        error = first.relay.last_error or f"silent {age_text(first.silence_s)}"
        lines.append(said(f"{first.host}: {error}", width))
    return lines


def _relay_summary(machines: Sequence[Machine]) -> Text:
    relays = [machine.relay for machine in machines if machine.relay is not None]
    batches, records = sum(r.batches for r in relays), sum(r.records for r in relays)
    each = records / batches if batches else 0.0
    down, up = sum(r.bytes_down for r in relays), sum(r.bytes_up for r in relays)
    return dotted(
        [
            Text(plural(len(relays), "relay"), "bold"),
            f"{count_text(records)} records, {count_text(each)} at once",
            f"{bytes_text(down)} down, {bytes_text(up)} up",
            f"lag {age_text(max(r.lag_s for r in relays))}",
        ]
    )
