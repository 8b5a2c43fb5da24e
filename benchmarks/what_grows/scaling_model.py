"""A fleet on paper: what a unit of each kind of work costs, and what a generation asks for.

Pure: computed from the figures that `growth` has measured; nothing here is measured.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from what_grows.figures import WORKERS_A_MACHINE, Growth

LINE_BYTES_PER_S = 1.25e9
"""Assumed: 10 Gbit/s at the head and at every relay."""

DIRECT_MACHINES = 1000
"""More than these get their work through relays of relays."""

FAN_OUT = 100
_LEAST_POPULATION = 100


class Costs(NamedTuple):
    """What the measured figures come to, in seconds of one processor or in bytes.

    Attributes:
        fixed_s: from the last record to the next tasks, by the clock, with next to no work.
        rollout_serial_s: the same for one rollout more, learning excepted.
        value_s: learning, for each parameter of each pair: N D of them.
        parameter_s: from the last record to the next tasks, for each parameter.
        collect_s: taking in a record by itself.
        beat_s: hearing a machine and its relay, once a second.
        redis_rollout_s, redis_relay_s, redis_byte_s: of the head's Redis, for a rollout, for a
            relay's polling in a second, for a byte of theta.
        relay_rollout_s, relay_idle: of a relay, for a rollout; its share of a core without any.
        down_bytes, up_bytes: through the head's Redis for a rollout, its task and its record.
        beat_bytes: of a machine in a second.
        relay_connections, head_connections: to the head's Redis.
    """

    fixed_s: float
    rollout_serial_s: float
    value_s: float
    parameter_s: float
    collect_s: float
    beat_s: float
    redis_rollout_s: float
    redis_relay_s: float
    redis_byte_s: float
    relay_rollout_s: float
    relay_idle: float
    down_bytes: float
    up_bytes: float
    beat_bytes: float
    relay_connections: int
    head_connections: int


class Plan(NamedTuple):
    """A generation of a fleet, and what it asks of each part.

    Attributes:
        machines, top_relays: all, and those at the head's own Redis.
        ideal_s: the rollouts alone.
        gap_s: from the last record to the next tasks, and theta to every machine: all wait.
        head, redis, top_relay: shares of a core.
        line: share of the head's line.
        connections: to the head's Redis.
    """

    machines: int
    top_relays: int
    population: int
    ideal_s: float
    gap_s: float
    head: float
    redis: float
    top_relay: float
    line: float
    connections: int

    @property
    def idle(self) -> float:
        """Share of the workers' time that the gap takes, at overlap=0."""
        return self.gap_s / (self.gap_s + self.ideal_s)


def costs_of(growth: Growth) -> Costs:
    """What `growth` has measured, taken apart: the largest case gives the slope.

    Raises:
        SystemExit: a part has not been measured.
    """
    if not growth.is_complete or growth.relaying is None or growth.connections is None:
        raise SystemExit("measure first: python benchmarks/growth.py all")
    many, few = growth.populations[-1], growth.populations[0]
    large, small = growth.dimensions[-1], growth.dimensions[0]
    more = many.pop_size - few.pop_size
    value_s = many.wall_s["tell"] / (many.pop_size / 2 * many.num_parameters)
    learning_s = value_s * large.pop_size / 2 * large.num_parameters
    serial_s = large.serial_s - small.serial_s - learning_s
    without_tell = [one.serial_s - one.wall_s["tell"] for one in (many, few)]
    sent = large.traffic.from_head + large.traffic.to_others
    heard = growth.beats[-1]
    theta = 4 * many.num_parameters
    return Costs(
        fixed_s=few.serial_s,
        rollout_serial_s=max(0.0, without_tell[0] - without_tell[1]) / more,
        value_s=value_s,
        parameter_s=max(0.0, serial_s) / large.num_parameters,
        collect_s=many.cpu_s["collect"] / many.pop_size,
        beat_s=heard.head_cpu_s / heard.num_machines,
        redis_rollout_s=many.redis_cpu_s / many.pop_size,
        redis_relay_s=growth.relaying.idle_redis_cpu_per_s,
        redis_byte_s=large.redis_cpu_s / sent,
        relay_rollout_s=growth.relaying.cpu_per_rollout_s,
        relay_idle=growth.relaying.idle_cpu_per_s,
        down_bytes=(many.traffic.to_others - theta * many.num_workers) / many.pop_size,
        up_bytes=many.traffic.from_others / many.pop_size,
        beat_bytes=heard.num_bytes / heard.num_machines,
        relay_connections=growth.connections.relay,
        head_connections=growth.connections.head,
    )


def plan(costs: Costs, num_workers: int, rollout_s: float, num_parameters: int) -> Plan:
    """A fleet of machines of eight workers that has two rollouts a generation for each worker, and
    100 at least; all rollouts last as long.
    """
    machines = math.ceil(num_workers / WORKERS_A_MACHINE)
    top_relays = machines if machines <= DIRECT_MACHINES else math.ceil(machines / FAN_OUT)
    population = max(_LEAST_POPULATION, 2 * num_workers)
    ideal_s = rollout_s * population / num_workers
    below = FAN_OUT if top_relays < machines else 0
    theta_bytes = 4.0 * num_parameters
    away_s = theta_bytes * (top_relays + below) / LINE_BYTES_PER_S
    gap_s = (
        costs.fixed_s
        + costs.rollout_serial_s * population
        + costs.value_s * population / 2 * num_parameters
        + costs.parameter_s * num_parameters
    )
    whole_s = ideal_s + gap_s + away_s
    per_s = population / whole_s
    sent = theta_bytes * top_relays / whole_s
    through = sent + per_s * (costs.down_bytes + 2 * costs.up_bytes) + machines * costs.beat_bytes
    return Plan(
        machines,
        top_relays,
        population,
        ideal_s,
        gap_s + away_s,
        head=(gap_s / whole_s + per_s * costs.collect_s + machines * costs.beat_s),
        redis=per_s * costs.redis_rollout_s
        + top_relays * costs.redis_relay_s
        + sent * costs.redis_byte_s,
        top_relay=costs.relay_idle + per_s / top_relays * costs.relay_rollout_s,
        line=through / LINE_BYTES_PER_S,
        connections=costs.head_connections + top_relays * costs.relay_connections,
    )
