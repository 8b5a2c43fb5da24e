"""The picture in lines that stay the same from release to release: to grep, to parse, to keep.

One thing a line: ``kind name key=value ...``. A value with blanks or quotes stands in quotes as in
JSON, and ``-`` means that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from fleet.heartbeat import WorkerBeat
from fleet.status.overview import Machine, Overview, Run
from fleet.status.reason import Reason

_OF_REPORT = (
    "generation", "done", "total", "rollouts_per_s", "rollouts", "env_steps", "failed", "reissued",
    "lost", "duplicates", "refused", "audited", "disagreed", "unaudited",
    "first_error", "note",
)  # fmt: skip


def lines(overview: Overview, why: Sequence[Reason], url: str) -> Iterator[str]:
    """Everything: the server, runs and their queues, machines, workers, relays, and why."""
    whose = "relay" if overview.is_relays else "head"
    yield _line("redis", url, of=whose, now_s=overview.now_s, uptime_s=overview.uptime_s)
    for run in overview.runs:
        yield from _run(run)
    if overview.num_old_runs:
        yield _line("old-runs", str(overview.num_old_runs))
    for machine in overview.machines:
        yield from _machine(overview, machine)
    for machine in overview.relays:
        yield _relay(overview, machine)
    for reason in why:
        kind = "stopped" if reason.stops else "trouble"
        yield f"{kind} {reason.kind} {reason.text}"


def document(overview: Overview, why: Sequence[Reason], url: str) -> str:
    """The same as one JSON object on one line."""
    found = {"redis": url, "why": why, **msgspec.structs.asdict(overview)}
    return msgspec.json.encode(found).decode()


def _run(run: Run) -> Iterator[str]:
    report = run.report
    said = {name: getattr(report, name) for name in _OF_REPORT} if report is not None else {}
    yield _line(
        "run",
        run.name,
        uid=run.uid,
        env=run.env,
        head="at-work" if run.is_at_work else "gone",
        silence_s=run.silence_s,
        host=run.host,
        pid=run.pid or None,
        crew=run.crew,
        records=run.records,
        code=run.code_version or None,
        **said,
    )
    for queue in run.queues:
        yield _line(
            "queue",
            run.name,
            generation=queue.number,
            tasks=queue.tasks,
            reissues=queue.reissues,
        )


def _machine(overview: Overview, machine: Machine) -> Iterator[str]:
    yield _line(
        "machine",
        machine.name,
        host=machine.host,
        state="silent" if machine.is_silent else "up",
        silence_s=machine.silence_s,
        workers=len(machine.workers),
        up=machine.num_up,
        busy=machine.num_busy,
        code=machine.code_version or None,
        last_error=machine.last_error,
    )
    for worker in machine.workers:
        yield _worker(overview, machine, worker)


def _worker(overview: Overview, machine: Machine, worker: WorkerBeat) -> str:
    return _line(
        "worker",
        worker.worker,
        host=machine.host,
        state="up" if worker.is_up else "down",
        run=overview.run_name(worker.run_uid) or None,
        rollouts=worker.rollouts,
        env_steps=worker.env_steps,
        env_steps_per_s=worker.env_steps_per_s,
        rss_mb=worker.rss_mb,
        failures=worker.failures,
        deaths=worker.deaths,
        doing_s=worker.doing_s,
        last_error=worker.last_error,
        refusal=worker.refusal,
    )


def _relay(overview: Overview, machine: Machine) -> str:
    relay = machine.relay
    assert relay is not None
    return _line(
        "relay",
        machine.name,
        host=machine.host,
        state="silent" if machine.is_silent else "up",
        silence_s=machine.silence_s,
        upstream=relay.upstream,
        run=overview.run_name(relay.run_uid) or None,
        tasks=relay.tasks,
        records=relay.records,
        batches=relay.batches,
        bytes_down=relay.bytes_down,
        bytes_up=relay.bytes_up,
        lag_s=relay.lag_s,
        last_error=relay.last_error,
    )


def _line(kind: str, name: str, **values: Any) -> str:
    return " ".join([kind, _value(name), *(f"{key}={_value(v)}" for key, v in values.items())])


def _value(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.13g}"
    text = str(value)
    is_plain = text.isprintable() and not set(text) & set(" \"'=\\")
    return text if is_plain else json.dumps(text, ensure_ascii=False)
