"""Why one run does not go on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from fleet.figures import age_text, plural
from fleet.heartbeat import WorkerBeat
from fleet.status.overview import Overview, Run
from fleet.status.reason import Reason, gone_since, hosts, listed

_LONG_ROLLOUT_S = 10.0
_MANY_FAILED = 0.5
_MAX_REFUSALS = 3
_CANNOT_SERVE = re.compile(r"^cannot serve run [0-9a-f]{8}: ")


def run_reasons(overview: Overview, run: Run) -> list[Reason]:
    """The first reason that stops the run, and all that do not."""
    found = [reason for check in _OF_RUN for reason in check(overview, run)]
    stopping = [reason for reason in found if reason.stops][:1]
    return stopping + [reason for reason in found if not reason.stops]


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
    versions = listed(sorted({machine.code_version for machine in blamed}))
    yield Reason(
        "other-version",
        f"{plural(workers, 'worker')} on {hosts(blamed)} of code {versions}, while run "
        f"{run.name} wants code {run.code_version}: bring both to the same release and start the "
        "workers again",
        stops=len(other) == len(heard),
        run=run.name,
    )


def _head_gone(overview: Overview, run: Run) -> Iterator[Reason]:
    if run.is_at_work:
        return
    if overview.is_relays:
        yield Reason(
            "relay-cut-off",
            f"run {run.name} has not been heard of since {gone_since(overview, run)} "
            f"({age_text(run.silence_s)} ago), and this is a relay's own Redis: the relay is cut "
            "off from the one above, or the head is gone; `head.py status` for the one above tells",
            run=run.name,
        )
        return
    where = f" on {run.host}" if run.host else ""
    yield Reason(
        "head-gone",
        f"the head of run {run.name}{where} is gone since {gone_since(overview, run)} "
        f"({age_text(run.silence_s)} ago): resume it there with "
        f"`python es/experiment.py with resume={run.name}`",
        run=run.name,
    )


def _incomplete(_overview: Overview, run: Run) -> Iterator[Reason]:
    # Without a report it has only begun, and has not come to that yet.
    if run.is_at_work and not run.is_declared and run.report is not None:
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
        where = hosts([machine for machine, worker in refusing if worker.refusal == text])
        verb = "refuses" if count == 1 else "refuse"
        yield Reason(
            "refused",
            f"{plural(count, 'worker')} on {where} {verb} run {run.name}: "
            f"{_CANNOT_SERVE.sub('', text)}",
            stops=len(refusing) >= num_up,
            run=run.name,
        )


def _failing(overview: Overview, run: Run) -> Iterator[Reason]:
    """By the head's count; by the workers' before it has any: failures are tried once more."""
    if not run.is_at_work:
        return
    report = run.report
    failed, rollouts = (report.failed, report.rollouts) if report is not None else (0, 0)
    error = report.first_error if report is not None else ""
    if not rollouts:
        serving = _serving(overview, run)
        failed = sum(worker.failures for worker in serving)
        rollouts = sum(worker.rollouts for worker in serving)
        error = next((worker.last_error for worker in serving if worker.last_error), "")
    if not failed or failed < _MANY_FAILED * rollouts:
        return
    is_all = failed >= rollouts
    which = f"all {failed}" if is_all else f"{failed} of {rollouts}"
    yield Reason(
        "all-failing" if is_all else "many-failing",
        f"{which} rollouts of run {run.name} have failed, the first with: "
        f"{error or 'no reason given'}: mend that; the same config with pool=serial shows it at "
        "first hand",
        stops=is_all,
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
        others = listed(sorted(overview.run_name(uid) for uid in serving - {run.uid}))
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
