"""What a machine says of itself every second, and how the head reads it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fleet import keys
from fleet.connection import Client

BEAT_S = 1.0
FRESH_S = 5.0
LIFETIME_S = 15

MachineId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,80}\Z")]


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One supervisor and its workers.

    Attributes:
        machine: host and process id.
        num_workers: children that are up.
        rollouts: rollouts started since the supervisor did.
        deaths: children that died without being asked to.
        rss_mb: memory of all children.
        last_error: how the last one died, or why workers refuse the run.
    """

    machine: MachineId
    num_workers: int
    rollouts: int
    deaths: int
    rss_mb: float
    last_error: Annotated[str, Meta(max_length=500)] = ""


_decoder = msgspec.msgpack.Decoder(Heartbeat)


def redis_time_s(client: Client) -> float:
    """Seconds on the server's clock, the only one that all sides share."""
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def send(client: Client, beat: Heartbeat) -> None:
    """Say that this machine is up."""
    now_s = redis_time_s(client)
    with client.pipeline(transaction=False) as pipe:
        pipe.zadd(keys.MACHINES, {beat.machine: now_s})
        pipe.set(keys.machine(beat.machine), msgspec.msgpack.encode(beat), ex=LIFETIME_S)
        pipe.zremrangebyscore(keys.MACHINES, "-inf", now_s - LIFETIME_S)
        pipe.execute()


def retract(client: Client, machine: str) -> None:
    """Say that this machine is gone."""
    client.zrem(keys.MACHINES, machine)
    client.delete(keys.machine(machine))


def fresh(client: Client) -> list[Heartbeat]:
    """Machines heard of in the last `FRESH_S`, by name."""
    names: Any = client.zrangebyscore(keys.MACHINES, redis_time_s(client) - FRESH_S, "+inf")
    if not names:
        return []
    found = client.mget([keys.machine(name.decode()) for name in sorted(names)])
    beats = []
    for data in found:
        try:
            if isinstance(data, bytes) and len(data) < 10_000:
                beats.append(_decoder.decode(data))
        except msgspec.MsgspecError:
            continue  # somebody else's bytes under our key are nobody's heartbeat
    return beats
