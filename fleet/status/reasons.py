"""Why nothing moves, and what to do: sentences for people, from nothing but the picture.

Each check looks for one kind of trouble. A reason that *stops* a run is one without which work
would go on; the others only cost something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fleet.figures import age_text, plural
from fleet.status.overview import Machine, Overview
from fleet.status.reason import Reason, hosts, listed
from fleet.status.run_reasons import run_reasons

_NEW_SERVER_S = 60.0
_MAX_ALIKE = 3
_START_RUN = "start one with `python es/experiment.py with lander`"
_START_WORKERS = "start some with `python es/worker.py start-workers`"


def reasons(overview: Overview) -> tuple[Reason, ...]:
    """Every trouble in the picture, those that stop work first; nothing where all is well."""
    found = [reason for check in _OF_FLEET for reason in check(overview)]
    for run in overview.runs:
        found += run_reasons(overview, run)
    return tuple(sorted(found, key=lambda reason: not reason.stops))


def _no_run(overview: Overview) -> Iterator[Reason]:
    if overview.runs or overview.vanished:
        return
    why = ""
    if overview.uptime_s < _NEW_SERVER_S:
        why = (
            f" (this Redis was started {age_text(overview.uptime_s)} ago and knows nothing from "
            "before; a head at work declares its run again within a second)"
        )
    yield Reason("no-run", f"no run: {_START_RUN}{why}")


def _no_workers(overview: Overview) -> Iterator[Reason]:
    if overview.num_up:
        return
    heard = [machine for machine in overview.machines if not machine.is_silent]
    if not heard:
        yield Reason("no-workers", f"no workers: {_START_WORKERS}")
        return
    errors = [machine.last_error for machine in heard]
    errors += [worker.last_error for machine in heard for worker in machine.workers]
    last = next((f": {error}" for error in errors if error), "")
    yield Reason(
        "workers-down",
        f"no worker has a process on {hosts(heard)}{last}: they are started again, each time "
        "after a longer wait; see their log",
    )


def _silent_machines(overview: Overview) -> Iterator[Reason]:
    silent = [machine for machine in (*overview.machines, *overview.relays) if machine.is_silent]
    if not silent:
        return
    longest_s = max(machine.silence_s for machine in silent)
    lost = sum(len(machine.workers) for machine in silent)
    workers = f" ({plural(lost, 'worker')})" if lost else ""
    yield Reason(
        "silent-machine",
        f"{hosts(silent)}{workers} not heard of for {age_text(longest_s)}: switched off, cut off "
        "or killed; what was in hand there is handed out again when it is overdue",
        stops=False,
    )


def _relay_cut_off(overview: Overview) -> Iterator[Reason]:
    heard = [machine for machine in overview.relays if not machine.is_silent]
    troubled: dict[tuple[str, str], list[Machine]] = {}
    for machine in heard:
        if machine.relay is not None and machine.relay.last_error:
            what = (machine.relay.upstream, machine.relay.last_error)
            troubled.setdefault(what, []).append(machine)
    count = sum(map(len, troubled.values()))
    for (upstream, error), machines in list(troubled.items())[:_MAX_ALIKE]:
        yield Reason(
            "relay-cut-off",
            f"{'the relay' if len(machines) == 1 else plural(len(machines), 'relay')} on "
            f"{hosts(machines)} cannot work for {upstream}: {error}: see that this address answers "
            "from there; it goes on by itself then",
            stops=count == len(heard),
        )


def _emptied(overview: Overview) -> Iterator[Reason]:
    if overview.vanished:
        names = listed([run.name for run in overview.vanished])
        yield Reason(
            "redis-emptied",
            f"Redis was emptied: run {names} was here and nobody has withdrawn it; a head at work "
            "declares it again within a second, one that is gone can be resumed with "
            f"`python es/experiment.py with resume={overview.vanished[0].name}`",
            stops=not any(run.is_at_work for run in overview.runs),
        )
    elif overview.is_restarted:
        yield Reason(
            "redis-restarted",
            f"Redis was restarted {age_text(overview.uptime_s)} ago: heads write again what they "
            "need, and nothing is lost",
            stops=False,
        )


def _unreadable(overview: Overview) -> Iterator[Reason]:
    if overview.denied:
        yield Reason(
            "denied",
            f"Redis does not let this user see everything ({overview.denied}): use the head's "
            "password",
            stops=False,
        )
    if overview.garbled:
        yield Reason(
            "garbled",
            f"Redis holds what cannot be read here, {listed(overview.garbled)}: run the same "
            "release everywhere",
            stops=False,
        )


_OF_FLEET: Sequence[Callable[[Overview], Iterator[Reason]]] = (
    _emptied,
    _no_run,
    _no_workers,
    _relay_cut_off,
    _silent_machines,
    _unreadable,
)
