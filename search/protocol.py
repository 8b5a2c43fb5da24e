"""What a search, a pool and a recorder are to the loop that joins them.

Adding a strategy or a pool is one file that fulfils one of these, a line in its registry and its
name in the contract test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from search.messages import Generation, Genomes, Perturbations, RecordBatch
from search.timeline import GenerationTimes

Candidates = Perturbations | Genomes
State = Mapping[str, Any]
"""Numbers, strings and numpy arrays by name: all that a strategy needs to go on to the bit."""


class Strategy(Protocol):
    """Which vectors to try next. Mathematics only: no clock, no I/O, no hidden generator state."""

    max_overlap: int
    """Most further generations that may be open while one completes."""

    @property
    def theta(self) -> NDArray[np.float32]:
        """``(D,)`` float32, the vector the search now believes in."""
        ...

    def ask(self, generation: int) -> Candidates:
        """Candidates of ``generation``; depends on the state and the number alone."""
        ...

    def tell(self, generation: int, fitness_ce: NDArray[np.float64]) -> Mapping[str, float]:
        """Learn from ``(C, E)`` float64, NaN where a rollout failed.

        Returns figures about the step itself (``update/grad_norm`` and the like) by metric name.

        Raises:
            RunAborted: none is finite, and there is nothing to learn from that; of one candidate
                alone there may be.
        """
        ...

    def state(self) -> State:
        """Everything a resume needs, copied."""
        ...

    def restore(self, state: State) -> None:
        """Go on from `state`."""
        ...


class PoolStatus(msgspec.Struct, frozen=True):
    """A pool as people want to see it. Counts are of the whole life of the pool object."""

    num_workers: int
    num_machines: int = 1
    reissued: int = 0
    lost: int = 0
    audit_fraction: float = 0.0
    """Share of the rollouts that two machines have to agree in."""
    audited: int = 0
    disagreed: int = 0
    unaudited: int = 0
    """Rollouts compared, those of them in which machines differ, and those that one alone ran."""
    note: str = ""
    """Why nothing moves, in a sentence; empty while things move."""


class Pool(Protocol):
    """Who evaluates. Gives each rollout of an open generation exactly one final answer (an ``ok``
    may follow a ``failed`` until the generation is closed), however often it is tried.
    """

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        """Start evaluating ``generation``, but for the rollouts already ``known``."""
        ...

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """Accepted records as they come, waiting at most ``timeout_s`` for the first.

        Only ``ok`` and final ``failed`` records; never a duplicate, stale or malformed one.
        """
        ...

    def close(self, number: int) -> None:
        """Generation ``number`` is complete or given up: forget it, wherever it still is."""
        ...

    def status(self) -> PoolStatus: ...

    def shutdown(self) -> None:
        """Let go of everything this pool started. May be called twice."""
        ...


class Recorder(Protocol):
    """Who remembers, and who shows. The loop tells it and never waits for an answer."""

    def progress(self, number: int, done: int, total: int, status: PoolStatus) -> None:
        """``done`` of ``total`` rollouts of generation ``number`` are in; called often."""
        ...

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Generation ``number`` is complete."""
        ...

    def times(self, times: GenerationTimes) -> None:
        """Where the generation's time went; told after `generation`."""
        ...

    def checkpoint(
        self, number: int, arrays: Mapping[str, NDArray[Any]], *, is_best: bool, is_last: bool
    ) -> None:
        """Keep these arrays: ``theta`` as of generation ``number``, observation ``count``, ``mean``
        and ``m2``, and the optimiser's state. What a run ends with comes last; where that is not
        its last theta, as of one generation more than it has.
        """
        ...

    def notice(self, line: str) -> None:
        """A line for people."""
        ...
