"""A pool without processes: fitness is a formula, and the order of answers is up to the test."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from policy.statistics import ObservationStatistics
from search.candidates import write_candidate
from search.messages import MESSAGE_VERSION, Generation, RecordBatch, RolloutRecord, digest, encode
from search.noise import NoiseTable
from search.protocol import PoolStatus
from search.seeds import is_observed, rollout_seeds

Judge = Callable[[Generation, int], RolloutRecord]


class ScriptedPool:
    """Answers every open rollout by ``judge``; shuffled, split and repeated when given a seed."""

    def __init__(self, judge: Judge, disorder: int | None = None) -> None:
        self._judge = judge
        self._random = None if disorder is None else random.Random(disorder)
        self._waiting: list[tuple[Generation, str, int]] = []
        self.opened: list[int] = []
        self.closed: list[int] = []
        self.evaluated = 0

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        self.opened.append(generation.number)
        name = digest(encode(generation))
        missing = sorted(set(range(generation.num_rollouts)) - set(known))
        self._waiting += [(generation, name, rollout) for rollout in missing]

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        if self._random is None:
            taken, self._waiting = self._waiting[:3], self._waiting[3:]
        else:
            self._random.shuffle(self._waiting)
            count = self._random.randint(1, 4)
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        batches = []
        for generation, name, rollout in taken:
            record = self._judge(generation, rollout)
            self.evaluated += 1
            batches.append(
                RecordBatch(
                    MESSAGE_VERSION,
                    generation.run_uid,
                    generation.number,
                    name,
                    "scripted",
                    (record,) if self._random is None else (record, record),
                    evaluation_s=0.5,
                )
            )
        return batches

    def close(self, number: int) -> None:
        self.closed.append(number)
        self._waiting = [item for item in self._waiting if item[0].number != number]

    def status(self) -> PoolStatus:
        return PoolStatus(num_workers=1)

    def shutdown(self) -> None:
        self._waiting.clear()


def quadratic(noise: NoiseTable, optimum: float = 1.0) -> Judge:
    """Fitness -|theta_c - optimum|^2 plus noise that follows from the rollout's seed."""

    def judge(generation: Generation, rollout: int) -> RolloutRecord:
        candidate = min(rollout // generation.num_episodes, generation.num_candidates)
        theta = np.zeros_like(generation.candidates.theta)
        write_candidate(generation.candidates, candidate, noise, theta)
        seeds = rollout_seeds(generation, rollout)
        chance = (seeds.env % 1000) / 1e4
        shift = 0.0
        if generation.statistics is not None:
            shift = float(generation.statistics.mean_o.sum()) * 1e-3
        fitness = -float(np.sum((theta.astype(np.float64) - optimum) ** 2)) + chance + shift
        statistics = None
        if is_observed(generation, rollout):
            rows = np.random.Generator(np.random.Philox(seeds.env)).normal(size=(5, 2))
            statistics = ObservationStatistics.observed(rows)
        return RolloutRecord(
            rollout, 0, "ok", fitness=fitness, length=seeds.env % 7 + 1, statistics=statistics
        )

    return judge
