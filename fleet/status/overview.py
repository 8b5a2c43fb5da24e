"""The whole fleet at one moment, as a picture that can be shown: typed, frozen, safe to print.

`overview_of` makes it from what was read and nothing else; every text in it has lost whatever a
terminal would obey.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fleet.figures import harmless
from fleet.heartbeat import FRESH_S, RelayBeat, WorkerBeat
from fleet.run_report import LIFETIME_S, RunReport
from fleet.status.readings import MachineReading, QueueReading, Readings, RunReading

_WORD_AND_NUMBER = re.compile(r"([^0-9]*)([0-9]{0,18})")
_REMEMBERED_S = 600.0
_MISSED_S = 120.0
_RESTARTED_S = 30.0


class Run(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        name: the short number that people use, or the uid's first digits.
        is_at_work: whether its head has been heard of in the last seconds.
        silence_s: since its head's last beat.
        host, pid: the head's; empty and 0 where unknown.
        is_declared: whether Redis has all that workers need to know of it.
        code_version: of the head; empty where unknown.
        report: what the head last said; ``None`` where it says nothing.
        crew: workers that have asked for its work in the last seconds.
        records: batches that the head has not read yet.
    """

    uid: str
    name: str
    env: str
    is_at_work: bool
    silence_s: float
    host: str
    pid: int
    is_declared: bool
    code_version: str
    report: RunReport | None
    open_numbers: tuple[int, ...]
    queues: tuple[QueueReading, ...]
    records: int
    crew: int

    @property
    def tasks(self) -> int:
        """Tasks that nobody has taken."""
        return sum(queue.tasks for queue in self.queues)

    @property
    def reissues(self) -> int:
        """Copies handed out again that nobody has taken."""
        return sum(queue.reissues for queue in self.queues)

    @property
    def done_per_s(self) -> float:
        """Rollouts a second that have their answer."""
        return self.report.rollouts_per_s if self.report is not None and self.is_at_work else 0.0


class Machine(msgspec.Struct, frozen=True):
    """One supervisor with its workers, or one relay.

    Attributes:
        silence_s: since its last beat.
        has_left: seen before, and gone without a word.
    """

    name: str
    host: str
    code_version: str
    silence_s: float
    workers: tuple[WorkerBeat, ...] = ()
    relay: RelayBeat | None = None
    last_error: str = ""
    has_left: bool = False

    @property
    def is_silent(self) -> bool:
        return self.has_left or self.silence_s >= FRESH_S

    @property
    def num_up(self) -> int:
        """Workers that have a process, as far as is known."""
        return 0 if self.is_silent else sum(worker.is_up for worker in self.workers)

    @property
    def num_busy(self) -> int:
        """Workers in a rollout."""
        return 0 if self.is_silent else sum(worker.doing_s is not None for worker in self.workers)

    @property
    def severity(self) -> int:
        """0 where all is well; the higher, the more of what it is for does not happen."""
        if self.is_silent or (self.workers and not self.num_up):
            return 4
        if any(worker.refusal for worker in self.workers):
            return 3
        if self.last_error or (self.relay is not None and self.relay.last_error):
            return 2
        return int(any(worker.last_error or not worker.is_up for worker in self.workers))


class VanishedRun(msgspec.Struct, frozen=True):
    """A run that was here, and whose keys are gone though nobody has withdrawn it."""

    uid: str
    name: str
    noticed_s: float


class Overview(msgspec.Struct, frozen=True):
    """Everything that `status` shows.

    Attributes:
        now_s: seconds of the epoch on the server's clock.
        server_id, uptime_s: of this life of the server.
        is_relays: whether this is a relay's own Redis: it knows of no head but through the relay.
        runs: those heard of within an hour, at work first; then by age.
        num_old_runs: the others, whose heads went without withdrawing them.
        machines: those with workers, the most troubled first.
        relays: the same of relays.
        vanished: runs that somebody has seen here, or works for, and that are not here.
        is_restarted: whether the server was restarted within half a minute, and we saw it before.
        garbled: keys that hold something else than they should.
        denied: what the server would not let this user read.
    """

    now_s: float
    server_id: str
    uptime_s: float
    is_relays: bool
    runs: tuple[Run, ...]
    num_old_runs: int
    machines: tuple[Machine, ...]
    relays: tuple[Machine, ...]
    vanished: tuple[VanishedRun, ...]
    is_restarted: bool
    garbled: tuple[str, ...]
    denied: str

    @property
    def workers(self) -> list[WorkerBeat]:
        """Of all machines that are heard of."""
        return [w for machine in self.machines if not machine.is_silent for w in machine.workers]

    @property
    def num_up(self) -> int:
        """Workers that have a process."""
        return sum(machine.num_up for machine in self.machines)

    def run_name(self, uid: str) -> str:
        """What people call the run ``uid``."""
        return next((run.name for run in self.runs if run.uid == uid), uid[:8])


def overview_of(readings: Readings, before: Overview | None = None) -> Overview:
    """What was read as a picture.

    Args:
        before: the picture before, where there is one: only whoever has seen a machine or a run
            can tell that it is missing.
    """
    runs = sorted(map(_run, readings.runs), key=lambda run: (not run.is_at_work, run.silence_s))
    recent = tuple(run for run in runs if run.silence_s < LIFETIME_S)
    # A heartbeat outlives its sender by seconds; after that only `before` knows who it was.
    heard = [m for m in readings.machines if m.beat is not None or m.silence_s < FRESH_S]
    found = [_machine(machine) for machine in heard]
    if before is not None:
        found += _left(before, {machine.name for machine in found}, readings.now_s)
    found.sort(key=lambda machine: (-machine.severity, _natural(machine.name)))
    return Overview(
        readings.now_s,
        harmless(readings.server_id),
        readings.uptime_s,
        readings.is_relays,
        recent,
        len(runs) - len(recent),
        tuple(machine for machine in found if machine.relay is None),
        tuple(machine for machine in found if machine.relay is not None),
        _vanished(readings, before),
        _is_restarted(readings, before),
        tuple(map(harmless, readings.garbled)),
        harmless(readings.denied),
    )


def remembered(before: Overview | None) -> list[str]:
    """Uids of the runs that `fleet.status.readings.read` should ask about."""
    if before is None:
        return []
    return [run.uid for run in before.runs] + [run.uid for run in before.vanished]


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that puts ``gpu-9`` before ``gpu-10``."""
    return [(word, int(digits or 0)) for word, digits in _WORD_AND_NUMBER.findall(name)]


def _left(before: Overview, present: set[str], now_s: float) -> list[Machine]:
    """Machines that went silent and then missing; whoever leaves in order is never silent first."""
    silence_s = now_s - before.now_s
    return [
        msgspec.structs.replace(machine, silence_s=machine.silence_s + silence_s, has_left=True)
        for machine in (*before.machines, *before.relays)
        if machine.name not in present
        and machine.is_silent
        and machine.silence_s + silence_s < _REMEMBERED_S
    ]


def _vanished(readings: Readings, before: Overview | None) -> tuple[VanishedRun, ...]:
    known = {}
    if before is not None:
        known = {run.uid: VanishedRun(run.uid, run.name, readings.now_s) for run in before.runs}
        known |= {run.uid: run for run in before.vanished}
    found = [known.get(uid, VanishedRun(uid, uid[:8], readings.now_s)) for uid in readings.vanished]
    return tuple(run for run in found if readings.now_s - run.noticed_s < _MISSED_S)


def _is_restarted(readings: Readings, before: Overview | None) -> bool:
    if before is None or readings.uptime_s > _RESTARTED_S:
        return False
    return before.is_restarted or before.server_id != readings.server_id


def _run(reading: RunReading) -> Run:
    report, experiment, token = reading.report, reading.experiment, reading.head
    report = _clean(report) if report is not None else None
    run_id = report.run_id if report is not None else experiment.run_id if experiment else ""
    env = report.env if report is not None else experiment.env.name if experiment else ""
    return Run(
        reading.uid,
        harmless(run_id, 40) or reading.uid[:8],
        harmless(env, 80) or "?",
        token is not None or reading.silence_s < FRESH_S,
        reading.silence_s,
        harmless(
            token.host if token is not None else report.host if report is not None else "", 80
        ),
        token.pid if token is not None else report.pid if report is not None else 0,
        reading.is_declared,
        harmless(experiment.code_version, 40) if experiment is not None else "",
        report,
        reading.open_numbers,
        reading.queues,
        reading.records,
        reading.crew,
    )


def _machine(reading: MachineReading) -> Machine:
    beat = reading.beat
    name = harmless(reading.name, 80)
    if beat is None:
        error = "its heartbeat cannot be read"
        return Machine(name, name, "", reading.silence_s, last_error=error)
    return Machine(
        name,
        harmless(beat.host, 80) or name,
        harmless(beat.code_version, 40),
        reading.silence_s,
        tuple(_clean(worker) for worker in beat.workers),
        _clean(beat.relay) if beat.relay is not None else None,
        harmless(beat.last_error),
    )


def _clean(struct: Any) -> Any:
    """``struct`` with harmless texts; itself where they are."""
    changes = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, str) and (cleaned := harmless(value)) != value:
            changes[name] = cleaned
    return msgspec.structs.replace(struct, **changes) if changes else struct
