"""What machines say of themselves every second, and how the head reads it.

Sent by a supervisor for its workers, since one that is stuck in C++ cannot speak for itself, and by
a relay for itself; relays hand on what they hear from below as it is.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fleet import keys
from fleet.connection import Client
from search.messages import Count, Digest, WorkerId

BEAT_S = 1.0
FRESH_S = 5.0
LIFETIME_S = 15
MAX_BEAT_BYTES = 256 * 1024
MAX_MACHINES = 4096
_READ_AT_ONCE = 256

MachineId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,80}\Z")]
Line = Annotated[str, Meta(max_length=500)]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rollouts ``first`` to ``stop - 1`` of the generation with this digest, taken and not sent."""

    digest: Digest
    first: Count
    stop: Count


class WorkerBeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One worker, over the processes that it has been.

    Attributes:
        is_up: whether it has a process just now.
        run_uid: the run it serves; empty where none.
        rollouts, env_steps, failures: since its supervisor started.
        env_steps_per_s: over the last seconds.
        deaths: processes that ended without being asked to.
        doing_s: how long the rollout in hand has run; None between rollouts.
        claim: what it has taken and not answered yet.
        last_error: how the last process died, or what the last failed rollout said.
        refusal: why it serves no run, where there is one.
    """

    worker: WorkerId
    is_up: bool
    run_uid: Annotated[str, Meta(max_length=32)] = ""
    rollouts: Count = 0
    env_steps: Count = 0
    env_steps_per_s: float = 0.0
    failures: Count = 0
    deaths: Count = 0
    rss_mb: float = 0.0
    doing_s: float | None = None
    claim: Claim | None = None
    last_error: Line = ""
    refusal: Line = ""


class RelayBeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A relay's work since it started.

    Attributes:
        upstream: where it gets its work, without a password.
        run_uid: the run it serves; empty where none.
        tasks, records, batches: handed down, sent up, and in how many pieces.
        bytes_down, bytes_up: of tasks and generations, of records.
        lag_s: age of the oldest record not sent yet, or the time the last sending took.
        last_error: why upstream, or its own Redis, did not answer; empty while both do.
    """

    upstream: Line
    run_uid: Annotated[str, Meta(max_length=32)] = ""
    tasks: Count = 0
    records: Count = 0
    batches: Count = 0
    bytes_down: Count = 0
    bytes_up: Count = 0
    lag_s: float = 0.0
    last_error: Line = ""


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One supervisor with its workers, or one relay.

    Attributes:
        machine: host, process id, and what it is where that is not a supervisor.
        host: the machine's own name, as people know it.
        code_version: of the source that evaluates there.
        last_error: of the machine itself: a relay or a Redis that keeps crashing, say.
    """

    machine: MachineId
    host: Line
    code_version: Line
    workers: Annotated[tuple[WorkerBeat, ...], Meta(max_length=4096)] = ()
    relay: RelayBeat | None = None
    last_error: Line = ""

    @property
    def num_workers(self) -> int:
        """Workers that have a process."""
        return sum(worker.is_up for worker in self.workers)

    @property
    def troubles(self) -> list[str]:
        """Everything that is wrong there, the weightiest first."""
        refusals = [worker.refusal for worker in self.workers]
        errors = [worker.last_error for worker in self.workers]
        relay = self.relay.last_error if self.relay is not None else ""
        return [line for line in (*refusals, self.last_error, relay, *errors) if line]


_decoder = msgspec.msgpack.Decoder(Heartbeat)


def encode_beat(beat: Heartbeat) -> bytes:
    """As it travels: without what its workers say, where there are too many of them for that."""
    data = msgspec.msgpack.encode(beat)
    if len(data) <= MAX_BEAT_BYTES:
        return data
    silent = [msgspec.structs.replace(one, last_error="", refusal="") for one in beat.workers]
    return msgspec.msgpack.encode(msgspec.structs.replace(beat, workers=tuple(silent)))


def decode_beat(data: Any) -> Heartbeat | None:
    """A heartbeat; ``None`` of bytes that are none."""
    try:
        if isinstance(data, bytes) and len(data) <= MAX_BEAT_BYTES:
            return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # somebody else's bytes under our key are nobody's heartbeat
    return None


def redis_time_s(client: Client) -> float:
    """Seconds on the server's clock, the only one that all sides share."""
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def send(client: Client, beat: Heartbeat) -> None:
    """Say that this machine is up."""
    now_s = redis_time_s(client)
    with client.pipeline(transaction=False) as pipe:
        pipe.zadd(keys.MACHINES, {beat.machine: now_s})
        pipe.set(keys.machine(beat.machine), encode_beat(beat), ex=LIFETIME_S)
        pipe.zremrangebyscore(keys.MACHINES, "-inf", now_s - LIFETIME_S)
        pipe.execute()


def retract(client: Client, machine: str) -> None:
    """Say that this machine is gone."""
    client.zrem(keys.MACHINES, machine)
    client.delete(keys.machine(machine))


def fresh(client: Client) -> list[Heartbeat]:
    """Machines and relays heard of in the last `FRESH_S`, by name; what is no heartbeat is not."""
    oldest_s = redis_time_s(client) - FRESH_S
    listed: Any = client.zrangebyscore(keys.MACHINES, oldest_s, "+inf", start=0, num=MAX_MACHINES)
    beats: list[Heartbeat] = []
    names = sorted(name.decode(errors="replace") for name in listed)
    for start in range(0, len(names), _READ_AT_ONCE):
        with client.pipeline(transaction=False) as pipe:
            for name in names[start : start + _READ_AT_ONCE]:
                # No more of it than would be believed.
                pipe.getrange(keys.machine(name), 0, MAX_BEAT_BYTES)
            found = pipe.execute(raise_on_error=False)
        beats += [beat for data in found if (beat := decode_beat(data)) is not None]
    return beats
