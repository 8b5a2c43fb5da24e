"""What grows with what: ``python benchmarks/growth.py PART... [--quick] [--figures FILE]``.

PART is ``workers``, ``dimensions``, ``populations``, ``beats``, ``relaying``, ``memory`` or
``all``: each measures, and keeps what it found in FILE beside what the others have. ``table``
prints it as docs/performance.md has it, and ``plot`` draws docs/growth.png. ``--quick`` shrinks
everything, to see that it runs; its figures say nothing, and want a FILE of their own.

Redis, protocol, journal, noise and head are the real ones. But for ``workers`` and ``memory``,
which are whole runs, workers answer at once without simulating (`one_head.workers`), so that
nothing but the head's side is measured.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import click
from one_head.schedule import Durations
from one_head.whole_fleet import Fleet, Search, run
from what_grows.figures import (
    FIGURES,
    WORKERS_A_MACHINE,
    Growth,
    Head,
    Relaying,
    head_of,
    load,
    save,
)
from what_grows.plot import draw
from what_grows.roles import beats_of, roles
from what_grows.steps import steps_by_workers
from what_grows.tables import table

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "growth.png"
DIMENSIONS = [10**k for k in range(2, 8)]
POPULATIONS = [10**k for k in range(1, 6)]
POPULATION_OF_DIMENSIONS = 100
DIMENSION_OF_POPULATIONS = 10_000
GENERATIONS = 6
_SHORT_S = 1e-3


def dimensions(growth: Growth, *, quick: bool) -> None:
    """Theta from 1e2 to 1e7 parameters, 100 rollouts, one worker."""
    sizes = DIMENSIONS[:2] if quick else DIMENSIONS
    growth.dimensions = [
        head(size, POPULATION_OF_DIMENSIONS, workers=1, single=False) for size in sizes
    ]


def populations(growth: Growth, *, quick: bool) -> None:
    """From 1e1 to 1e5 rollouts, D = 10,000, eight workers; each alone, then in large tasks."""
    counts = POPULATIONS[:2] if quick else POPULATIONS
    size = DIMENSION_OF_POPULATIONS
    growth.populations = [head(size, count, workers=8, single=True) for count in counts]
    growth.populations_at_once = [head(size, count, workers=8, single=False) for count in counts]


def head(
    size: int, pop_size: int, *, workers: int, single: bool, generations: int = GENERATIONS
) -> Head:
    """A head that leads workers at its own Redis, who answer at once."""
    fleet = Fleet((1.0,), workers, None, through_relays=False)
    search = Search(
        size,
        pop_size,
        generations,
        min_task_runtime_s=0.0 if single else 0.05,
        snapshot_every_s=0.0,
        watch_traffic=True,
    )
    found = head_of(run(fleet, search).told, size, pop_size, workers, single=single)
    kind = "alone" if single else "together"
    click.echo(f"D={size:,} population {pop_size:,} {kind}: head {found.busy_s:.4f} s", err=True)
    return found


def beats(growth: Growth, *, quick: bool) -> None:
    """Heartbeats of 1 to 1,000 machines, heard once."""
    counts = (1, 10) if quick else (1, 10, 100, 1000)
    growth.beats = [beats_of(count) for count in counts]


def relaying(growth: Growth, *, quick: bool) -> None:
    """Relays while their workers are at it for long, and one while rollouts are short."""
    num_machines, seconds = (2, 0.5) if quick else (20, 3.0)
    slow = Fleet((1.0,) * num_machines, 1, Durations("uniform", seconds, seconds))
    idle = run(slow, Search(1000, num_machines, 4))
    first, last = idle.told[0], idle.told[-1]
    idle_s = num_machines * (last.synced_s - first.synced_s)
    redis_per_s = (last.redis_cpu_s - first.redis_cpu_s) / idle_s
    # Starting is not counted twice: this time is of the relays' whole life.
    idle_per_s = idle.relays[0].cpu_s / (num_machines * (last.synced_s - first.published_s))
    pop_size, generations = (80, 3) if quick else (4000, 6)
    quickly = Fleet((1.0,), WORKERS_A_MACHINE, Durations("uniform", _SHORT_S, 2 * _SHORT_S))
    busy = run(quickly, Search(1000, pop_size, generations, min_task_runtime_s=0.0))
    busy_s = busy.told[-1].synced_s - busy.told[0].published_s
    more_s = max(0.0, busy.relays[0].cpu_s - idle_per_s * busy_s)
    growth.relaying = Relaying(idle_per_s, redis_per_s, more_s / (pop_size * generations))


def workers(growth: Growth, *, quick: bool) -> None:
    """`lander` as users run it, by 1 to 8 workers of this machine, taking turns."""
    rounds, generations = (1, 3) if quick else (5, 12)
    growth.steps = steps_by_workers(range(1, 3) if quick else range(1, 9), rounds, generations)


def memory(growth: Growth, *, quick: bool) -> None:
    """A real head, and a machine of a real fleet, after some generations."""
    growth.memory, growth.connections = roles(quick=quick)


PARTS: dict[str, Callable[..., None]] = {
    "workers": workers,
    "dimensions": dimensions,
    "populations": populations,
    "beats": beats,
    "relaying": relaying,
    "memory": memory,
}
CHOICES = [*PARTS, "all", "table", "plot"]


@click.command()
@click.argument("parts", nargs=-1, required=True, type=click.Choice(CHOICES))
@click.option("--figures", default=FIGURES, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--picture", default=PICTURE, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="Everything small: it runs, and says nothing.")
def main(parts: tuple[str, ...], figures: Path, picture: Path, quick: bool) -> None:
    """Measure parts and keep the figures; `table` prints them, `plot` draws them."""
    if quick and figures == FIGURES:
        raise click.UsageError("--quick says nothing: give it another --figures to write to")
    wanted = [[*PARTS, "table", "plot"] if part == "all" else [part] for part in parts]
    for part in itertools.chain.from_iterable(wanted):
        growth = load(figures)
        if part == "table":
            click.echo(table(growth))
        elif part == "plot":
            draw(growth, picture)
        else:
            growth.load[part] = os.getloadavg()[0]
            PARTS[part](growth, quick=quick)
            save(figures, growth)


if __name__ == "__main__":
    main()
