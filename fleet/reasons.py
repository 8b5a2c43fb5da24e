"""Why nothing moves, and what to do: sentences for people, from nothing but the picture.

Each check looks for one kind of trouble. A reason that *stops* a run is one without which work
would go on; the others only cost something.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from fleet.figures import age_text, plural
from fleet.heartbeat import WorkerBeat
from fleet.overview import Machine, Overview, Run

_LONG_ROLLOUT_S = 10.0
_MANY_FAILED = 0.5
_NEW_SERVER_S = 600.0
_MAX_REFUSALS = 3
_START_RUN = "start one with `python es/experiment.py with lander`"
_START_WORKERS = "start some with `python es/worker.py start-workers`"
_CANNOT_SERVE = re.compile(r"^cannot serve run [0-9a-f]{8}: ")


class Reason(msgspec.Struct, frozen=True):
    """One trouble.

    Attributes:
        kind: a word to search for; see the checks below.
        text: what is wrong and what to do, in a sentence.
        stops: whether it keeps work from being done, rather than only costing some.
        run: whose; empty where it is everybody's.
    """

    kind: str
    text: str
    stops: bool = True
    run: str = ""


def reasons(overview: Overview) -> tuple[Reason, ...]:
    """Every trouble in the picture, those that stop work first; nothing where all is well."""
    found = [reason for check in _OF_FLEET for reason in check(overview)]
    for run in overview.runs:
        found += _of_run(overview, run)
    return tuple(sorted(found, key=lambda reason: not reason.stops))


def gone_since(overview: Overview, run: Run) -> str:
    """When the run's head last beat, as ``10:21:44 (3 min ago)`` on this machine's clock."""
    then_s = overview.now_s - run.silence_s
    try:
        then, now = time.localtime(then_s), time.localtime(overview.now_s)
    except (OverflowError, OSError, ValueError):
        return "long ago"
    clock = time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)
    return f"{clock} ({age_text(run.silence_s)} ago)"


def _of_run(overview: Overview, run: Run) -> list[Reason]:
    """The first reason that stops the run, and all that do not."""
    found = [reason for check in _OF_RUN for reason in check(overview, run)]
    stopping = [reason for reason in found if reason.stops][:1]
    return stopping + [reason for reason in found if not reason.stops]


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
        silent = f"; {_hosts(overview.machines)} cannot be heard" if overview.machines else ""
        yield Reason("no-workers", f"no workers: {_START_WORKERS}{silent}")
        return
    errors = [machine.last_error for machine in heard]
    errors += [worker.last_error for machine in heard for worker in machine.workers]
    last = next((f": {error}" for error in errors if error), "")
    yield Reason(
        "workers-down",
        f"no worker has a process on {_hosts(heard)}{last}: they are started again, each time "
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
        f"{_hosts(silent)}{workers} not heard of for {age_text(longest_s)}: switched off, cut off "
        "or killed; what was in hand there is handed out again when it is overdue",
        stops=False,
    )


def _relay_cut_off(overview: Overview) -> Iterator[Reason]:
    for machine in overview.relays:
        relay = machine.relay
        if relay is None or not relay.last_error or machine.is_silent:
            continue
        others = any(m.relay is not None and not m.relay.last_error for m in overview.relays)
        yield Reason(
            "relay-cut-off",
            f"the relay on {machine.host} has trouble with {relay.upstream}: {relay.last_error}: "
            "see that this address answers from there; it goes on by itself then",
            stops=not others and len(overview.relays) == len(overview.machines),
        )


def _emptied(overview: Overview) -> Iterator[Reason]:
    if overview.vanished:
        names = _listed([run.name for run in overview.vanished])
        yield Reason(
            "redis-emptied",
            f"Redis was emptied: run {names} was here and nobody has withdrawn it; a head at work "
            "declares it again within a second, one that is gone can be resumed with "
            f"`python es/experiment.py with resume={overview.vanished[0].name}`",
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
            f"Redis holds what cannot be read here, {_listed(overview.garbled)}: run the same "
            "release everywhere",
            stops=False,
        )


def _other_version(overview: Overview, run: Run) -> Iterator[Reason]:
    heard = [m for m in overview.machines if m.num_up and m.code_version]
    if not run.is_at_work or not run.code_version or not heard:
        return
    other = [machine for machine in heard if machine.code_version != run.code_version]
    # With several runs around, a machine that serves one of them well is not to blame for another.
    served = {one.code_version for one in overview.runs if one.is_at_work}
    others = [machine for machine in other if machine.code_version not in served]
    blamed = others if len(other) < len(heard) else other
    if not blamed:
        return
    workers = sum(machine.num_up for machine in blamed)
    versions = _listed(sorted({machine.code_version for machine in blamed}))
    yield Reason(
        "other-version",
        f"{plural(workers, 'worker')} on {_hosts(blamed)} of code {versions}, while run "
        f"{run.name} wants code {run.code_version}: bring both to the same release and start the "
        "workers again",
        stops=len(other) == len(heard),
        run=run.name,
    )


def _head_gone(overview: Overview, run: Run) -> Iterator[Reason]:
    if run.is_at_work:
        return
    where = f" on {run.report.host}" if run.report is not None else ""
    yield Reason(
        "head-gone",
        f"the head of run {run.name}{where} is gone since {gone_since(overview, run)}: resume it "
        f"there with `python es/experiment.py with resume={run.name}`",
        run=run.name,
    )


def _incomplete(_overview: Overview, run: Run) -> Iterator[Reason]:
    if run.is_at_work and not run.is_declared:
        yield Reason(
            "redis-emptied",
            f"Redis has lost part of run {run.name}: its head declares it again within a second; "
            "if this stays, the head hangs: end it and resume the run",
            run=run.name,
        )


def _refused(overview: Overview, run: Run) -> Iterator[Reason]:
    if not run.is_at_work:
        return
    refusing = [
        (machine, worker)
        for machine in overview.machines
        if not machine.is_silent and run.code_version in ("", machine.code_version)
        for worker in machine.workers
        if worker.refusal and _names(worker.refusal, run)
    ]
    num_up = overview.num_up
    for text, count in Counter(w.refusal for _, w in refusing).most_common(_MAX_REFUSALS):
        where = _hosts([machine for machine, worker in refusing if worker.refusal == text])
        verb = "refuses" if count == 1 else "refuse"
        yield Reason(
            "refused",
            f"{plural(count, 'worker')} on {where} {verb} run {run.name}: "
            f"{_CANNOT_SERVE.sub('', text)}",
            stops=len(refusing) >= num_up,
            run=run.name,
        )


def _failing(overview: Overview, run: Run) -> Iterator[Reason]:
    report = run.report
    if report is None or not run.is_at_work:
        return
    if report.rollouts and report.failed >= _MANY_FAILED * report.rollouts:
        is_all = report.failed >= report.rollouts
        which = f"all {report.failed}" if is_all else f"{report.failed} of {report.rollouts}"
        yield Reason(
            "all-failing" if is_all else "many-failing",
            f"{which} rollouts of run {run.name} have failed, the first with: "
            f"{report.first_error or 'no reason given'}: mend that; the same config with "
            "pool=serial shows it at first hand",
            stops=is_all,
            run=run.name,
        )
        return
    failing = [worker for worker in _serving(overview, run) if worker.failures]
    if failing and not report.rollouts and all(w.failures >= w.rollouts for w in failing):
        error = next((worker.last_error for worker in failing if worker.last_error), "")
        yield Reason(
            "all-failing",
            f"every rollout of run {run.name} has failed so far"
            f"{f', one with: {error}' if error else ''}: mend that; the same config with "
            "pool=serial shows it at first hand",
            run=run.name,
        )


def _standing_still(overview: Overview, run: Run) -> Iterator[Reason]:
    """What is left where the head is at work, and nothing comes in."""
    report = run.report
    if not run.is_at_work or report is None or run.done_per_s > 0 or not overview.num_up:
        return
    busy_s = [w.doing_s for w in _serving(overview, run) if w.doing_s is not None]
    unanswered = report.total - report.done
    if busy_s and max(busy_s) >= _LONG_ROLLOUT_S:
        yield Reason(
            "long-rollouts",
            f"run {run.name} waits for {plural(len(busy_s), 'worker')} in a rollout, the longest "
            f"for {age_text(max(busy_s))}: rollouts are long, or they hang; one that exceeds "
            "rollout_timeout_s is ended and counted as failed",
            run=run.name,
        )
    elif not busy_s and not run.crew and (run.tasks or run.reissues):
        serving = {worker.run_uid for worker in overview.workers if worker.run_uid}
        others = _listed(sorted(overview.run_name(uid) for uid in serving - {run.uid}))
        doing = f"all serve run {others}" if others else "none asks for work"
        yield Reason(
            "unserved",
            f"nobody serves run {run.name}: {plural(overview.num_up, 'worker')} there, {doing}; "
            "they share themselves out within seconds, unless `--run` pins them",
            run=run.name,
        )
    elif not busy_s and unanswered > 0 and not run.tasks and not run.reissues:
        yield Reason(
            "unanswered",
            f"run {run.name} waits for {plural(unanswered, 'rollout')} that nobody has in hand: "
            "they are handed out again when they are overdue",
            run=run.name,
        )
    if report.note:
        yield Reason("waiting", f"run {run.name} waits: {report.note}", run=run.name)


def _disagreement(_overview: Overview, run: Run) -> Iterator[Reason]:
    report = run.report
    if report is not None and report.disagreed:
        yield Reason(
            "disagreed",
            f"two machines disagreed about {report.disagreed} of {report.audited} audited rollouts "
            f"of run {run.name}: the head's notices name who was outvoted",
            stops=False,
            run=run.name,
        )


_OF_FLEET: Sequence[Callable[[Overview], Iterator[Reason]]] = (
    _emptied,
    _no_run,
    _no_workers,
    _relay_cut_off,
    _silent_machines,
    _unreadable,
)
_OF_RUN: Sequence[Callable[[Overview, Run], Iterator[Reason]]] = (
    _head_gone,
    _incomplete,
    _other_version,
    _refused,
    _failing,
    _standing_still,
    _disagreement,
)


def _serving(overview: Overview, run: Run) -> list[WorkerBeat]:
    return [worker for worker in overview.workers if worker.run_uid == run.uid]


def _names(refusal: str, run: Run) -> bool:
    """Whether a refusal is about ``run``; one that names none is about every run."""
    if not _CANNOT_SERVE.match(refusal):
        return True
    return refusal.startswith(f"cannot serve run {run.uid[:8]}: ")


def _hosts(machines: Iterable[Machine]) -> str:
    return _listed(list(dict.fromkeys(machine.host for machine in machines)))


def _listed(names: Sequence[str], most: int = 3) -> str:
    """``a, b and c``; ``a, b, c and 4 more``."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
