"""The tables of what grows with what, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from what_grows.figures import Growth, Head

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_STEPS = ("ask", "publish", "collect", "tell", "journal", "rest", "snapshot")


def table(growth: Growth) -> str:
    """All that has been measured, as docs/performance.md has it."""
    return "\n".join(
        [
            *_workers(growth),
            *_heads("parameters D", growth.dimensions),
            *_heads("population", growth.populations),
            *_at_once(growth),
            *_memory(growth),
            *_fleet(growth),
        ]
    )


def seconds(value: float) -> str:
    """Two digits, in the unit that suits."""
    for unit_s, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= unit_s * 0.995 or unit_s == 1e-6:
            scaled = value / unit_s
            return f"{scaled:.0f} {name}" if scaled >= 9.95 else f"{scaled:.1f} {name}"
    raise AssertionError


def size(value: float) -> str:
    """Bytes, in the unit that suits."""
    for unit, name in _UNITS:
        if value >= unit * 0.995:
            scaled = value / unit
            return f"{scaled:,.0f} {name}" if scaled >= 9.95 else f"{scaled:.1f} {name}"
    return f"{value:.0f} B"


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head_rows(*names: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield row(*names)
    yield row(*("---" for _ in names))


def _workers(growth: Growth) -> Iterator[str]:
    if not growth.steps:
        return
    yield f"Load {growth.load.get('workers', 0):.1f}."
    yield ""
    yield from head_rows("workers", *(str(one.num_workers) for one in growth.steps))
    yield row("steps/s, median", *(f"{one.median:,.0f}" for one in growth.steps))
    yield row("least", *(f"{min(one.steps_per_s):,.0f}" for one in growth.steps))
    yield row("most", *(f"{max(one.steps_per_s):,.0f}" for one in growth.steps))
    alone = growth.steps[0].median
    yield row("of one worker", *(f"{one.median / alone:.2f}" for one in growth.steps))
    yield ""


def _heads(along: str, heads: Sequence[Head]) -> Iterator[str]:
    if not heads:
        return
    by_size = len({one.num_parameters for one in heads}) > 1
    numbers = [f"{one.num_parameters if by_size else one.pop_size:,}" for one in heads]
    yield from head_rows(along, *numbers)
    for step in _STEPS:
        name = "snapshot, at most every 30 s" if step == "snapshot" else step
        yield row(name, *(seconds(one.cpu_s[step]) for one in heads))
    yield row("all but the snapshot", *(seconds(one.busy_s) for one in heads))
    yield row("last record to next task, by the clock", *(seconds(one.serial_s) for one in heads))
    yield row("Redis", *(seconds(one.redis_cpu_s) for one in heads))
    yield row("bytes, head to Redis", *(size(one.traffic.from_head) for one in heads))
    each = [one.traffic.to_others / one.num_workers for one in heads]
    yield row("Redis to workers, each", *map(size, each))
    yield row("workers to Redis", *(size(one.traffic.from_others) for one in heads))
    yield row("Redis to head", *(size(one.traffic.to_head) for one in heads))
    yield row("journal's log", *(size(one.journal_bytes) for one in heads))
    yield row("a snapshot", *(size(one.snapshot_bytes) for one in heads))
    yield row("head's memory, most", *(size(1e6 * one.peak_mb) for one in heads))
    yield ""


def _at_once(growth: Growth) -> Iterator[str]:
    if not growth.populations_at_once:
        return
    heads = growth.populations_at_once
    yield from head_rows("population, in large tasks", *(f"{one.pop_size:,}" for one in heads))
    yield row("head", *(seconds(one.busy_s) for one in heads))
    yield row("of which collect", *(seconds(one.cpu_s["collect"]) for one in heads))
    yield row("for one rollout", *(seconds(one.busy_s / one.pop_size) for one in heads))
    yield ""


def _memory(growth: Growth) -> Iterator[str]:
    if growth.memory:
        yield from head_rows("role", "its own (USS)", "with its part of what is shared (PSS)")
        for one in growth.memory:
            yield row(one.role, f"{one.uss_mb:.0f} MB", f"{one.pss_mb:.0f} MB")
        yield ""


def _fleet(growth: Growth) -> Iterator[str]:
    if growth.beats:
        yield from head_rows("machines heard once", *(f"{b.num_machines:,}" for b in growth.beats))
        yield row("head", *(seconds(one.head_cpu_s) for one in growth.beats))
        yield row("Redis", *(seconds(one.redis_cpu_s) for one in growth.beats))
        yield ""
    if growth.relaying is not None:
        one = growth.relaying
        yield (
            f"A relay: {100 * one.idle_cpu_per_s:.1f}% of a core where nothing happens, "
            f"{seconds(one.cpu_per_rollout_s)} for a rollout that is a task of its own; it takes "
            f"{100 * one.idle_redis_cpu_per_s:.2f}% of a core of the head's Redis."
        )
    if growth.connections is not None:
        c = growth.connections
        yield (
            f"Connections to the head's Redis: {c.relay} of a relay, {c.head} of the head; without "
            f"relays {c.direct_worker} of a worker and {c.direct_supervisor} of its supervisor."
        )
