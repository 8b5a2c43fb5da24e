"""One generation while its records come in: each written to its place by its number."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from policy.statistics import ObservationStatistics
from search.messages import Generation, RecordBatch, RolloutRecord, digest, encode


class OpenGeneration:
    """Collects the answers to ``generation``; arrival order and duplicates change nothing."""

    def __init__(self, generation: Generation, data: bytes | None = None) -> None:
        self.generation = generation
        self.data = encode(generation) if data is None else data
        self.digest = digest(self.data)
        self.batches: list[RecordBatch] = []
        self.num_done = 0
        self._num_training = generation.num_training
        # By number. Asked about after every batch, so nothing is looked through for an answer.
        self._records: list[RolloutRecord | None] = [None] * generation.num_rollouts
        self._failures: dict[int, RolloutRecord] = {}

    def add(self, batch: RecordBatch) -> None:
        """Take accepted records; a later ``ok`` replaces a ``failed``, nothing an ``ok``."""
        self.batches.append(batch)
        for record in batch.records:
            rollout, is_ok = record.rollout, record.status == "ok"
            earlier = self._records[rollout]
            if earlier is None:
                self.num_done += 1
                if not is_ok and rollout < self._num_training:
                    self._failures[rollout] = record
            elif is_ok and earlier.status == "failed":
                self._failures.pop(rollout, None)
            else:
                continue
            self._records[rollout] = record

    @property
    def known(self) -> list[int]:
        """Rollouts that have an answer."""
        return [number for number, record in enumerate(self._records) if record is not None]

    @property
    def is_complete(self) -> bool:
        return self.num_done == len(self._records)

    @property
    def records(self) -> list[RolloutRecord]:
        """All answers so far, in rollout order."""
        return [record for record in self._records if record is not None]

    @property
    def num_failures(self) -> int:
        """How many training rollouts have failed."""
        return len(self._failures)

    @property
    def failures(self) -> list[RolloutRecord]:
        """Failed training rollouts, in rollout order."""
        return [self._failures[rollout] for rollout in sorted(self._failures)]

    @property
    def training(self) -> list[RolloutRecord]:
        return [r for r in self._records[: self._num_training] if r is not None]

    @property
    def validation(self) -> list[RolloutRecord]:
        return [r for r in self._records[self._num_training :] if r is not None]

    def fitness_ce(self) -> NDArray[np.float64]:
        """``(C, E)`` float64, fitness of candidate c in episode e; NaN where the rollout failed."""
        fitness_r = np.full(self._num_training, np.nan)
        for record in self.training:
            if record.status == "ok":
                fitness_r[record.rollout] = record.fitness
        return fitness_r.reshape(-1, self.generation.num_episodes)

    def candidate_means_c(self) -> NDArray[np.float64]:
        """Mean over the episodes that did not fail, for the candidates that have one."""
        fitness_ce = self.fitness_ce()
        scored_ce = fitness_ce[np.isfinite(fitness_ce).any(axis=1)]
        return np.nanmean(scored_ce, axis=1) if len(scored_ce) else np.empty(0)

    def validation_v(self) -> NDArray[np.float64]:
        """Fitness of theta in the validation episodes that did not fail, in their order."""
        return np.array([r.fitness for r in self.validation if r.status == "ok"], dtype=np.float64)

    def merged(self, statistics: ObservationStatistics | None) -> ObservationStatistics | None:
        """``statistics`` with this generation's observations merged in rollout order."""
        if statistics is None:
            return None
        return merge_in_order(statistics, self.records)


def merge_in_order(
    statistics: ObservationStatistics, records: Iterable[RolloutRecord]
) -> ObservationStatistics:
    """``statistics`` and each record's, one after the other."""
    for record in records:
        if record.statistics is not None:
            statistics = statistics.merged(record.statistics)
    return statistics
