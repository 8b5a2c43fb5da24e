"""Where a run stands: its search, the generations it has open, and what it has counted.

The same few steps make a run and replay it: generations are asked in order when they are due, told
when they are complete, and everything else follows. `snapshot` and `resume` are each other's
inverse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from errors import RunError
from policy.statistics import ObservationStatistics
from search.journal import (
    Answered,
    BestPolicy,
    Closed,
    Entry,
    Journal,
    Opened,
    Snapshot,
    StoredArray,
)
from search.messages import MESSAGE_VERSION, Generation, Genomes, decode
from search.open_generation import OpenGeneration
from search.protocol import Candidates, Strategy
from search.settings import LoopSettings
from search.totals import Totals


class Finalist(NamedTuple):
    """What a run may end with: ``(D,)`` float32 theta, and the moments that it was scored with."""

    theta: NDArray[np.float32]
    statistics: ObservationStatistics | None


class RunState:
    """The state of one run; no clock, no pool, no disk.

    Args:
        strategy: the search, at its beginning.
        settings: the run's.
        statistics: observation moments to begin with; ``None`` where nothing is normalised.
    """

    def __init__(
        self, strategy: Strategy, settings: LoopSettings, statistics: ObservationStatistics | None
    ) -> None:
        self.strategy = strategy
        self.settings = settings
        self.statistics = statistics
        self.totals = Totals()
        self.told = 0
        self.open: deque[OpenGeneration] = deque()
        self._best: Finalist | None = None
        self._offsets: dict[int, int] = {}

    @property
    def asked(self) -> int:
        """Generations asked for; each has been told or is open."""
        return self.told + len(self.open)

    @property
    def tellable(self) -> list[OpenGeneration]:
        """Open generations of which the next to be told is one, in their order."""
        return list(self.open) if self.settings.asynchronous else [self.open[0]]

    def ask_due(self) -> Iterator[OpenGeneration]:
        """Ask for each generation that is due, one by one, and have it open."""
        while len(self.open) <= self.settings.overlap:
            if self.asked >= self.settings.num_generations:
                return
            yield self._ask(self.asked)

    def finalists(self) -> list[Finalist]:
        """What the run may end with: theta, and what validated best where that is another."""
        last = Finalist(self.strategy.theta, self.statistics)
        best = self._best if self.settings.may_end_with_best else None
        if best is None or np.array_equal(best.theta, last.theta):
            return [last]
        return [last, best]

    def final_test(self, finalist: Finalist, number: int) -> OpenGeneration:
        """A generation of a finalist alone, on the final-test seeds; not one of the open ones.

        Args:
            finalist: of `finalists`.
            number: its place among them.
        """
        theta, statistics = finalist
        nobody = Genomes.of(theta, np.empty((0, len(theta)), dtype=np.float32))
        generation = self._generation(
            self.asked + number, nobody, self.settings.num_final, statistics, final=True
        )
        return OpenGeneration(generation)

    def note_offset(self, opened: OpenGeneration, offset: int) -> None:
        """Remember from which byte of the journal on ``opened`` has records."""
        self._offsets[opened.generation.number] = offset

    def tell(self, opened: OpenGeneration, fitness_ce: NDArray[np.float64]) -> Mapping[str, float]:
        """Tell an open generation, and have it open no more."""
        number = opened.generation.number
        self.open.remove(opened)
        self._offsets.pop(number, None)
        update = self.strategy.tell(number, fitness_ce)
        self.told += 1
        return update

    def count(self, opened: OpenGeneration, totals: Totals) -> None:
        """Take the run's new totals, ``opened`` counted; to be called before it is told."""
        if self.settings.may_end_with_best and totals.best_generation == self.told:
            generation = opened.generation
            self._best = Finalist(generation.candidates.theta, generation.statistics)
        self.totals = totals

    def snapshot(self, offset: int) -> Snapshot:
        """The state as data, for a journal that now ends at byte ``offset``."""
        state = self.strategy.state()
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        return Snapshot(
            run_uid=self.settings.run_uid,
            told=self.told,
            offset=min(self._offsets.values(), default=offset),
            numbers={name: value for name, value in state.items() if name not in arrays},
            arrays={name: StoredArray.of(value) for name, value in arrays.items()},
            open_generations=[opened.data for opened in self.open],
            statistics=self.statistics,
            totals=self.totals,
            best=_stored(self._best),
        )

    def resume(self, journal: Journal) -> None:
        """Become the state in which ``journal`` ends.

        Raises:
            JournalDamaged: it has no whole snapshot.
            RunError: it is another run's, or this program would have drawn other generations.
        """
        snapshot = journal.latest_snapshot()
        if snapshot.run_uid != self.settings.run_uid:
            raise RunError(
                f"the journal in {journal.folder} belongs to run {snapshot.run_uid}, not to "
                f"{self.settings.run_uid}: resume that one"
            )
        arrays = {name: stored.array() for name, stored in snapshot.arrays.items()}
        self.strategy.restore({**snapshot.numbers, **arrays})
        self.told = snapshot.told
        self.statistics = snapshot.statistics
        self.totals = snapshot.totals
        if snapshot.best is not None:
            self._best = Finalist(snapshot.best.theta.array(), snapshot.best.statistics)
        for data in snapshot.open_generations:
            self.open.append(OpenGeneration(decode(data, Generation), data))
        for entry in journal.entries(snapshot.offset):
            self._replay(entry)
        for opened in self.open:
            self.note_offset(opened, snapshot.offset)

    def checkpoint(self, generation: Generation) -> dict[str, NDArray[Any]]:
        """``theta`` and observation moments as ``generation`` has them, and the strategy's state
        as it is now, under ``strategy/``.
        """
        arrays = {
            f"strategy/{name}": np.asarray(value)
            for name, value in self.strategy.state().items()
            if name != "theta"
        }
        arrays["theta"] = generation.candidates.theta
        if generation.statistics is not None:
            arrays["count"] = np.asarray(generation.statistics.count)
            arrays["mean"] = generation.statistics.mean_o
            arrays["m2"] = generation.statistics.m2_o
        return arrays

    def _ask(self, number: int) -> OpenGeneration:
        settings = self.settings
        validated = number % settings.validation_every == 0
        candidates = self.strategy.ask(number)
        opened = OpenGeneration(
            self._generation(
                number,
                candidates,
                settings.num_validation if validated else 0,
                self.statistics,
                final=False,
            )
        )
        self.open.append(opened)
        return opened

    def _generation(
        self,
        number: int,
        candidates: Candidates,
        num_validation: int,
        statistics: ObservationStatistics | None,
        *,
        final: bool,
    ) -> Generation:
        settings = self.settings
        return Generation(
            version=MESSAGE_VERSION,
            run_uid=settings.run_uid,
            number=number,
            candidates=candidates,
            num_episodes=settings.num_episodes,
            num_validation=num_validation,
            seeds=settings.seeds,
            statistics=statistics,
            observed_fraction=settings.observed_fraction,
            max_ep_length=settings.final_max_ep_length if final else settings.max_ep_length,
            final=final,
            score_options=settings.score_options,
        )

    def _replay(self, entry: Entry) -> None:
        match entry:
            case Opened(number, digest):
                self._replay_opened(number, digest)
            case Answered(batch):
                for opened in self.open:
                    if opened.digest == batch.digest:
                        opened.add(batch)
            case Closed(number):
                closed = self._find_open(number)
                if closed is not None:  # else the snapshot knows of it
                    self.count(closed, entry.totals)
                    self.tell(closed, entry.fitness_ce)
                    self.statistics = entry.statistics

    def _find_open(self, number: int) -> OpenGeneration | None:
        return next((o for o in self.open if o.generation.number == number), None)

    def _replay_opened(self, number: int, digest: str) -> None:
        opened = self._find_open(number)
        if opened is None and number < self.asked:
            return
        if opened is None:
            opened = self._ask(number)
        if opened.digest != digest:
            raise RunError(
                f"generation {number} comes out otherwise here than in the journal: resume with "
                "the release and on the kind of processor that wrote it, or start a new run with "
                "load_from=<run id>"
            )


def _stored(best: Finalist | None) -> BestPolicy | None:
    return None if best is None else BestPolicy(StoredArray.of(best.theta), best.statistics)
