"""The tables of docs/scaling.md: ``python benchmarks/scaling.py [--write]`` prints them.

Everything is computed from the figures that `growth` has measured (``growth.json``), by the
formulas of `what_grows.scaling_model`. ``--write`` puts the tables into the page, each between the
comments that name it; a test checks that they are those of the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from what_grows.figures import FIGURES, WORKERS_A_MACHINE, load
from what_grows.scaling_model import LINE_BYTES_PER_S, Costs, costs_of, plan
from what_grows.tables import head_rows, row, seconds, size

from fleet.heartbeat import MAX_MACHINES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
FLEETS = (10, 1000, 100_000)
ROLLOUTS_S = (1.0, 10.0, 100.0)
SIZES = (10_000, 1_000_000, 10_000_000)
MAX_CLIENTS = 10_000
"""Redis's own limit, which our server keeps."""

_BEATS_A_MACHINE = 2


def costs_table(costs: Costs) -> Iterator[str]:
    """What everything below is computed from."""
    yield from head_rows("what", "symbol", "costs")
    yield row("from the last record to the next tasks, at least", "`f`", seconds(costs.fixed_s))
    yield row("the same for one rollout more", "`r`", seconds(costs.rollout_serial_s))
    yield row("learning, for a parameter of a pair", "`v`", f"{1e9 * costs.value_s:.2f} ns")
    yield row("all else, for a parameter", "`p`", f"{1e9 * costs.parameter_s:.1f} ns")
    yield row("the head, a record by itself", "`c`", seconds(costs.collect_s))
    yield row("the head, a machine heard once a second", "`b`", seconds(costs.beat_s))
    yield row("the head's Redis, a rollout", "`q`", seconds(costs.redis_rollout_s))
    yield row("the same, a relay's polling for a second", "", seconds(costs.redis_relay_s))
    yield row("the same, a GB of theta", "", seconds(1e9 * costs.redis_byte_s))
    yield row("a relay, a rollout", "`l`", seconds(costs.relay_rollout_s))
    yield row("a relay, a second without any", "", seconds(costs.relay_idle))
    yield row("a task, from the head's Redis", "", size(costs.down_bytes))
    yield row("a record, to the head's Redis", "", size(costs.up_bytes))
    yield row("a machine's and its relay's heartbeat", "", size(costs.beat_bytes))
    yield row("connections of a relay, of the head", "",
              f"{costs.relay_connections}, {costs.head_connections}")  # fmt: skip


def fleets_table(costs: Costs) -> Iterator[str]:
    """Fleets by rollouts, D = 10,000."""
    yield from head_rows(
        "workers",
        "rollout",
        "relays at the head",
        "generation",
        "rollouts/s",
        "head",
        "its Redis",
        "such a relay",
        "gap",
        "workers idle in it",
    )
    for num_workers in FLEETS:
        for rollout_s in ROLLOUTS_S:
            one = plan(costs, num_workers, rollout_s, SIZES[0])
            yield row(
                f"{num_workers:,}",
                f"{rollout_s:g} s",
                f"{one.top_relays:,}",
                f"{one.population:,} in {one.ideal_s + one.gap_s:.1f} s",
                f"{one.population / (one.ideal_s + one.gap_s):,.0f}",
                _share(one.head),
                _share(one.redis),
                _share(one.top_relay),
                seconds(one.gap_s),
                f"{100 * one.idle:.1f}%",
            )


def sizes_table(costs: Costs) -> Iterator[str]:
    """What theta's size does, at rollouts of 10 s."""
    yield from head_rows(
        "workers", "D", "theta", "to relays, a generation", "learning", "gap", "workers idle in it"
    )
    for num_workers in FLEETS:
        for num_parameters in SIZES:
            one = plan(costs, num_workers, 10.0, num_parameters)
            learning_s = costs.value_s * one.population / 2 * num_parameters
            yield row(
                f"{num_workers:,}",
                f"{num_parameters:,}",
                size(4 * num_parameters),
                size(4.0 * num_parameters * one.top_relays),
                seconds(learning_s),
                seconds(one.gap_s),
                f"{100 * one.idle:.1f}%",
            )


def limits_table(costs: Costs) -> Iterator[str]:
    """Where each part is full, if it had nothing else to do."""
    machines = MAX_MACHINES // _BEATS_A_MACHINE
    clients = (MAX_CLIENTS - costs.head_connections) // costs.relay_connections
    yield from head_rows("part", "is full at", "which is, at 10 s a rollout")
    for part, per_s in (
        ("the head's core, by records", 1 / costs.collect_s),
        ("its Redis's core, by rollouts", 1 / costs.redis_rollout_s),
        ("one relay's core, by rollouts", (1 - costs.relay_idle) / costs.relay_rollout_s),
    ):
        yield row(part, f"{per_s:,.0f} rollouts/s", f"{10 * per_s:,.0f} workers")
    polling = int(1 / costs.redis_relay_s) if costs.redis_relay_s > 0 else None
    for part, count in (
        ("the head's core, by heartbeats", int(1 / costs.beat_s)),
        ("machines that a head listens to", machines),
        ("its Redis's core, by relays that poll it", polling),
        ("connections to its Redis, by relays", clients),
    ):
        if count is not None:
            yield row(part, f"{count:,} machines", f"{WORKERS_A_MACHINE * count:,} workers")
    for num_parameters in SIZES:
        relays = LINE_BYTES_PER_S / (4 * num_parameters)
        yield row(
            f"a line of 10 Gbit/s, by theta of {size(4 * num_parameters)} in a second",
            f"{relays:,.0f} relays",
            "any",
        )


def _share(value: float) -> str:
    return f"{100 * value:.1f}%" if value < 1 else f"**{100 * value:.0f}%**"


TABLES: dict[str, Callable[[Costs], Iterator[str]]] = {
    "costs": costs_table,
    "fleets": fleets_table,
    "sizes": sizes_table,
    "limits": limits_table,
}


def filled(page: str, costs: Costs) -> str:
    """``page`` with the tables that its comments name.

    Raises:
        SystemExit: it has no place for one of them.
    """
    for name, lines in TABLES.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}(.*?){re.escape(end)}", re.DOTALL)
        places = list(pattern.finditer(page))
        if len(places) != 1:
            raise SystemExit(f"{PAGE.name} has {len(places)} places for the table {name}")
        text = "\n".join(["", *lines(costs), "", ""])
        page = page[: places[0].start(1)] + text + page[places[0].end(1) :]
    return page


def shown(costs: Costs) -> Sequence[str]:
    """All tables."""
    return [f"{name}:\n\n" + "\n".join(lines(costs)) + "\n" for name, lines in TABLES.items()]


@click.command()
@click.option("--figures", default=FIGURES, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Into docs/scaling.md.")
def main(figures: Path, write: bool) -> None:
    """Compute the tables."""
    costs = costs_of(load(figures))
    if write:
        PAGE.write_text(filled(PAGE.read_text(), costs))
    else:
        click.echo("\n".join(shown(costs)))


if __name__ == "__main__":
    main()
