"""How far one head carries a fleet: ``python benchmarks/fleet_scale.py PART [--quick]``.

PART is ``head-cpu``, ``records``, ``utilisation``, ``bytes``, ``latency`` or ``all``. Redis,
relays, protocol and head are the real ones; workers are coroutines that sleep instead of
simulating. Each part prints its figures beside their targets. ``--quick`` shrinks everything, to
see that it runs: its figures say nothing.

(Not called ``fleet.py``: Python would take that for the package ``fleet`` wherever this folder
comes first on its path.)
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click
import numpy as np
from one_head.schedule import (
    Durations,
    arrival_order,
    busy_share,
    close_early,
    list_schedule,
    steady_span_s,
)
from one_head.whole_fleet import Fleet, Outcome, Search, run

MB = 1e6


class Figure(NamedTuple):
    """A line of a part's table; ``target`` is empty where there is none."""

    what: str
    value: float
    unit: str
    target: str = ""


def head_cpu(*, quick: bool = False) -> Iterator[Figure]:
    """180 machines of 8 workers behind a relay each, 1,440 rollouts of 1 to 10 s a generation."""
    num_machines, per_machine, generations = (3, 2, 4) if quick else (180, 8, 7)
    durations = Durations(least_s=0.05, most_s=0.5) if quick else Durations()
    fleet = Fleet((1.0,) * num_machines, per_machine, durations)
    outcome = run(fleet, Search(10_000, fleet.num_workers // 2 * 2, generations))
    first, last = outcome.told[0], outcome.told[-1]
    elapsed_s = last.synced_s - first.synced_s
    rollouts = (generations - 1) * fleet.num_workers
    head_s, redis_s = last.head_cpu_s - first.head_cpu_s, last.redis_cpu_s - first.redis_cpu_s
    yield Figure("head, share of a core", 100 * head_s / elapsed_s, "%", "< 10")
    # Where this machine is too busy to keep a whole fleet at its pace, the head has it easy.
    order_gw = [list(range(fleet.num_workers))] * generations
    durations_gr = [durations.of_generation(g, fleet.num_workers) for g in range(generations)]
    ideal = list_schedule(durations_gr, [1.0] * fleet.num_workers, 0, order_gw)
    ideal_s = ideal.told_s[-1] - ideal.told_s[0]
    yield Figure("  at the pace of an ideal fleet", 100 * head_s / ideal_s, "%", "< 10")
    yield Figure("its Redis, share of a core", 100 * redis_s / elapsed_s, "%")
    yield Figure("head, CPU for one rollout", 1e6 * head_s / rollouts, "us")
    yield Figure("rollouts", rollouts / elapsed_s, "/s")
    yield Figure("a generation", elapsed_s / (generations - 1), "s")
    yield Figure("  in an ideal fleet", ideal_s / (generations - 1), "s")
    yield Figure("reissued", last.reissued, "")


def records(*, quick: bool = False) -> Iterator[Figure]:
    """Workers that answer at once, two generations of 20,000 rollouts open."""
    pop_size, generations = (200, 6) if quick else (20_000, 16)
    # More workers get shorter spans, and more relays have to share this machine with the head.
    cases = [(4, 8, False), (4, 8, True), (10, 8, False), (10, 8, True)]
    for num_machines, per_machine, through_relays in [(2, 2, True)] if quick else cases:
        fleet = Fleet((1.0,) * num_machines, per_machine, None, through_relays=through_relays)
        outcome = run(fleet, Search(100, pop_size, generations, overlap=1))
        way = f"{num_machines} x {per_machine} {'through relays' if through_relays else 'direct'}"
        warm = generations // 4
        first, last = outcome.told[warm], outcome.told[-2]
        elapsed_s = last.synced_s - first.synced_s
        rollouts = (generations - 2 - warm) * pop_size
        head_s = last.head_cpu_s - first.head_cpu_s
        target = ">= 50000" if through_relays else ""
        yield Figure(f"{way}: records", rollouts / elapsed_s, "/s", target)
        yield Figure(f"{way}: head, CPU for one record", 1e6 * head_s / rollouts, "us")
        yield Figure(f"{way}: head, share of a core", 100 * head_s / elapsed_s, "%")
        num_batches = sum(outcome.workers.num_batches[g] for g in range(warm, generations))
        batch = (generations - warm) * pop_size / num_batches
        yield Figure(f"{way}: records in a worker's batch, mean", batch, "")


def utilisation(*, quick: bool = False) -> Iterator[Figure]:
    """14 machines of 8 workers, 200 rollouts of 1 to 10 s, against the ideal list schedule."""
    num_machines, per_machine, pop_size = (4, 2, 14) if quick else (14, 8, 200)
    least_s, most_s = (0.05, 0.5) if quick else (1.0, 10.0)
    half = (1.0,) * (num_machines // 2) + (2.0,) * (num_machines // 2)
    equal = (1.0,) * num_machines
    uniform = Durations("uniform", least_s, most_s)
    lognormal = Durations("lognormal", least_s, most_s)
    cases = (
        ("half 2x slower, uniform, overlap=0", uniform, half, 0, ""),
        ("half 2x slower, uniform, overlap=1", uniform, half, 1, ">= 0.85"),
        ("half 2x slower, lognormal, overlap=0", lognormal, half, 0, ""),
        ("half 2x slower, lognormal, overlap=1", lognormal, half, 1, ""),
        ("equal, lognormal, overlap=0", lognormal, equal, 0, ""),
        ("equal, lognormal, overlap=1", lognormal, equal, 1, ">= 0.85"),
    )
    for name, durations, slowness_m, overlap, target in cases[:2] if quick else cases:
        generations = (4 if quick else 10) + overlap
        fleet = Fleet(slowness_m, per_machine, durations, keep_stays=True)
        outcome = run(fleet, Search(10_000, pop_size, generations, overlap))
        yield from compare(name, fleet, outcome, pop_size, overlap, target)
        if not overlap and slowness_m is half:
            yield from discarded(name, durations, outcome, pop_size)


def compare(
    name: str, fleet: Fleet, outcome: Outcome, pop_size: int, overlap: int, target: str
) -> Iterator[Figure]:
    """The share of their time in which workers were busy, and in an ideal fleet would have been.

    The ideal one has the same durations, and where several workers are free at once, the one that
    was first in the real fleet is first in it too.
    """
    assert fleet.durations is not None
    slowness_w = np.repeat(fleet.slowness_m, fleet.workers_per_machine).tolist()
    stays, generations = outcome.workers.stays, len(outcome.told)
    durations_gr = [fleet.durations.of_generation(g, pop_size) for g in range(generations)]
    order_gw = arrival_order(stays, generations, fleet.num_workers)
    ideal = list_schedule(durations_gr, slowness_w, overlap, order_gw)
    told_s = [told.heard_s for told in outcome.told]
    found = busy_share(stays, fleet.num_workers, *steady_span_s(told_s, overlap))
    wanted = busy_share(ideal.stays, fleet.num_workers, *steady_span_s(ideal.told_s, overlap))
    yield Figure(f"{name}: busy", found, "", target)
    yield Figure("  ideal list schedule", wanted, "")
    yield Figure("  of the ideal", found / wanted, "", "" if overlap else ">= 0.95")


def discarded(name: str, durations: Durations, outcome: Outcome, pop_size: int) -> Iterator[Figure]:
    """What a head that closes on the first results would throw away, over all generations."""
    for share in (0.9, 0.75):
        hasty = []
        for g in range(len(outcome.told)):
            stays = [stay for stay in outcome.workers.stays if stay.generation == g]
            durations_r = durations.of_generation(g, pop_size)
            hasty.append(close_early(stays, durations_r, int(share * pop_size)))
        kept, lost = (
            statistics.mean(means)
            for means in (
                [one.kept_mean_s for one in hasty],
                [one.discarded_mean_s for one in hasty],
            )
        )
        longest = statistics.mean(one.longest_discarded for one in hasty)
        saved = statistics.mean(one.time_saved for one in hasty)
        yield Figure(f"  closed on the first {share:.0%}: time saved", 100 * saved, "%")
        yield Figure("    mean duration of what is kept", kept, "s")
        yield Figure("    mean duration of what is discarded", lost, "s")
        yield Figure("    of the longest tenth, discarded", 100 * longest, "%")


def traffic(*, quick: bool = False) -> Iterator[Figure]:
    """Theta of 1 MB to 10 machines of 8 workers, 400 rollouts of 0.1 to 1 s a generation."""
    num_machines, per_machine, size = (2, 2, 2_500) if quick else (10, 8, 250_000)
    pop_size, generations = (16, 3) if quick else (400, 12)
    fleet = Fleet((1.0,) * num_machines, per_machine, Durations(least_s=0.1, most_s=1.0))
    outcome = run(fleet, Search(size, pop_size, generations, watch_traffic=True))
    first, last = outcome.told[0], outcome.told[-1]
    counted = generations - 1
    to_relays = (last.traffic.to_others - first.traffic.to_others) / counted
    to_head = (last.traffic.to_head - first.traffic.to_head) / counted
    theta = 4 * size * num_machines
    yield Figure("sent to relays a generation", to_relays / MB, "MB", "<= 12")
    yield Figure("  of which theta, once a machine", theta / MB, "MB")
    yield Figure("sent to the head a generation", to_head / MB, "MB")
    yield Figure("a generation", (last.synced_s - first.synced_s) / counted, "s")


def latency(*, quick: bool = False) -> Iterator[Figure]:
    """From a generation's last record to the first step of the next, D=10,000, through a relay."""
    generations = 8 if quick else 60
    durations = Durations(least_s=0.02, most_s=0.05)
    outcome = run(Fleet((1.0,), 4, durations), Search(10_000, 40, generations))
    told, workers = outcome.told, outcome.workers
    steps: dict[str, list[float]] = {}
    for g in range(2, generations - 1):
        one, following = told[g], told[g + 1]
        marks = {
            "record: worker, relay, Redis, head": one.heard_s - workers.last_sent_s[g],
            "tell": one.learnt_s - one.heard_s,
            "metrics, journal on the disk": one.synced_s - one.learnt_s,
            "ask, publish": following.published_s - one.synced_s,
            "task and theta: relay, worker": workers.first_step_s[g + 1] - following.published_s,
        }
        whole = workers.first_step_s[g + 1] - workers.last_sent_s[g]
        for what, seconds in {"last record to next step": whole, **marks}.items():
            steps.setdefault(what, []).append(1000 * seconds)
    for what, times_ms in steps.items():
        is_whole = what in next(iter(steps))
        indent = "" if is_whole else "  "
        target = "< 20" if is_whole else ""
        yield Figure(f"{indent}{what}, median", statistics.median(times_ms), "ms", target)
        if is_whole:
            yield Figure(f"{what}, 90th percentile", float(np.percentile(times_ms, 90)), "ms")
        yield Figure(f"{indent}{what}, worst of {len(times_ms)}", max(times_ms), "ms", target)


PARTS: dict[str, Callable[..., Iterator[Figure]]] = {
    "head-cpu": head_cpu,
    "records": records,
    "utilisation": utilisation,
    "bytes": traffic,
    "latency": latency,
}


def shown(figure: Figure) -> str:
    """A figure as a line of the table."""
    digits = 0 if abs(figure.value) >= 1000 else 2
    return f"{figure.what:58}{figure.value:12,.{digits}f} {figure.unit:4}{figure.target:>10}"


@click.command()
@click.argument("part", type=click.Choice([*PARTS, "all"]))
@click.option("--quick", is_flag=True, help="Everything small: it runs, and says nothing.")
def main(part: str, quick: bool) -> None:
    """Measure a part, and print its table."""
    for name in PARTS if part == "all" else [part]:
        measure = PARTS[name]
        print(f"{name}: {(measure.__doc__ or '').splitlines()[0]}")
        print(f"{'load ' + format(os.getloadavg()[0], '.1f'):58}{'measured':>12} {'target':>14}")
        for figure in measure(quick=quick):
            print(shown(figure), flush=True)


if __name__ == "__main__":
    main()
