"""How long rollouts last, and what a fleet without any overhead would make of them.

Pure: the sleeping workers of `one_head.workers` sleep these very durations, so that what is
measured and what is ideal differ by nothing but the program.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray


class Durations(msgspec.Struct, frozen=True):
    """Seconds from ``least_s`` to ``most_s``: uniform, or lognormal without what lies outside.

    The lognormal's median is the geometric middle, and 95% of an untruncated one would lie inside:
    of 1 to 10 s that is a median of 3.16 s, sigma 0.576 and a mean of 3.6 s.
    """

    shape: Literal["lognormal", "uniform"] = "lognormal"
    least_s: float = 1.0
    most_s: float = 10.0
    seed: int = 1

    @property
    def median_s(self) -> float:
        return math.sqrt(self.least_s * self.most_s)

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return math.log(self.most_s / self.least_s) / 4

    def of_generation(self, number: int, count: int) -> NDArray[np.float64]:
        """``(count,)`` seconds of generation ``number``'s rollouts on a machine of speed 1."""
        if self.most_s <= self.least_s:
            return np.full(count, self.least_s)
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, number]))
        if self.shape == "uniform":
            return generator.uniform(self.least_s, self.most_s, count)
        normal = NormalDist(math.log(self.median_s), self.sigma)
        low, high = (normal.cdf(math.log(edge)) for edge in (self.least_s, self.most_s))
        uniform = generator.uniform(low, high, count)
        return np.array([math.exp(normal.inv_cdf(share)) for share in uniform])


class Stay(NamedTuple):
    """One worker busy with one rollout, from ``start_s`` to ``stop_s``."""

    worker: int
    generation: int
    rollout: int
    start_s: float
    stop_s: float


class Schedule(NamedTuple):
    """Who did what when, and when each generation was released to the workers and told."""

    stays: list[Stay]
    released_s: list[float]
    told_s: list[float]


def list_schedule(
    durations_gr: Sequence[NDArray[np.float64]],
    slowness_w: Sequence[float],
    overlap: int,
    order_gw: Sequence[Sequence[int]],
) -> Schedule:
    """Graham's list schedule: whoever is free takes the oldest rollout there is, at no cost.

    Args:
        durations_gr: seconds of each generation's rollouts, in the order they are handed out.
        slowness_w: by how much longer each worker takes.
        overlap: generation g is released when g - overlap - 1 has been told.
        order_gw: who comes first where several are free at once, by generation.
    """
    rank_gw = [{worker: rank for rank, worker in enumerate(order)} for order in order_gw]
    released_s: list[float] = [0.0]
    told_s: list[float] = []
    stays: list[Stay] = []
    free = [(0.0, rank_gw[0][worker], worker) for worker in range(len(slowness_w))]
    heapq.heapify(free)
    for g, durations_r in enumerate(durations_gr):
        if g > overlap:
            released_s.append(told_s[g - overlap - 1])
        elif g:
            released_s.append(0.0)
        # Who has been free since before the release waits for it, in this generation's order.
        waiting = [(max(free_s, released_s[g]), rank_gw[g][w], w) for free_s, _, w in free]
        free = sorted(waiting)
        ends_s = 0.0
        for rollout, duration_s in enumerate(durations_r):
            start_s, _, worker = heapq.heappop(free)
            stop_s = start_s + duration_s * slowness_w[worker]
            stays.append(Stay(worker, g, rollout, start_s, stop_s))
            heapq.heappush(free, (stop_s, rank_gw[g][worker], worker))
            ends_s = max(ends_s, stop_s)
        told_s.append(max(ends_s, told_s[-1] if told_s else 0.0))
    return Schedule(stays, released_s, told_s)


def busy_share(stays: Sequence[Stay], num_workers: int, start_s: float, stop_s: float) -> float:
    """The part of all workers' time from ``start_s`` to ``stop_s`` in which they were busy."""
    busy_s = sum(max(0.0, min(s.stop_s, stop_s) - max(s.start_s, start_s)) for s in stays)
    return busy_s / (num_workers * (stop_s - start_s))


def steady_span_s(told_s: Sequence[float], overlap: int) -> tuple[float, float]:
    """From the first tell to the last after which there was a generation to release."""
    return told_s[0], told_s[len(told_s) - 2 - overlap]


def arrival_order(stays: Sequence[Stay], num_generations: int, num_workers: int) -> list[list[int]]:
    """For each generation its workers, by the number of the rollout that they first took of it;
    the rest last. Rollouts are handed out by their numbers, so that is who came when.
    """
    order_gw = []
    for g in range(num_generations):
        own = sorted((s for s in stays if s.generation == g), key=lambda s: s.start_s)
        first: dict[int, int] = {}
        for stay in own:
            first.setdefault(stay.worker, stay.rollout)
        came = sorted(first, key=first.__getitem__)
        order_gw.append([*came, *sorted(set(range(num_workers)) - set(came))])
    return order_gw


class Hasty(NamedTuple):
    """What a head that closes a generation on its first results keeps and throws away."""

    kept: int
    time_saved: float
    kept_mean_s: float
    discarded_mean_s: float
    longest_discarded: float


def close_early(stays: Sequence[Stay], durations_r: NDArray[np.float64], kept: int) -> Hasty:
    """A generation (all ``stays``) closed as soon as ``kept`` results are in.

    ``time_saved`` is a share of the generation's time; ``longest_discarded`` the share of the
    longest tenth of the rollouts that is thrown away. Means are of seconds at speed 1.
    """
    arrived = sorted(stays, key=lambda stay: stay.stop_s)
    began_s = min(stay.start_s for stay in stays)
    kept_r = np.array([stay.rollout for stay in arrived[:kept]])
    lost_r = np.array([stay.rollout for stay in arrived[kept:]])
    saved_s = arrived[-1].stop_s - arrived[kept - 1].stop_s
    long_r = np.argsort(durations_r)[-max(1, len(durations_r) // 10) :]
    return Hasty(
        kept,
        saved_s / (arrived[-1].stop_s - began_s),
        float(durations_r[kept_r].mean()),
        float(durations_r[lost_r].mean()),
        float(np.isin(long_r, lost_r).mean()),
    )
