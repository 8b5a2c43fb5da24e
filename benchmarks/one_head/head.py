"""A real head in a process of its own: Loop, OpenAI-ES, RedisPool and Journal.

Started by `one_head.whole_fleet` as ``python -m one_head.head SETTINGS REPORT``; ends after its
generations. Its recorder writes nothing but down, after each tell, what has been used so far, and
what each step of a generation took.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from measured_run.experiment import experiment_with
from numpy.typing import NDArray
from one_head.diary import Diary, Told

from env.spec import EnvSpec
from es.openai_es import OpenAIES
from fleet import heartbeat
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from policy.spec import PolicySpec
from search.arithmetic import use_one_thread
from search.journal import Entry, Journal, Snapshot
from search.loop import Loop
from search.messages import Generation, RecordBatch, SeedRule
from search.noise import DEFAULT_SEED, open_table, required_length
from search.open_generation import OpenGeneration
from search.run_state import RunState
from search.settings import LoopSettings

ENV, POLICY = EnvSpec("sphere"), PolicySpec("linear", ())  # sleeping workers play neither
_START_S = 60.0


class HeadSettings(msgspec.Struct, frozen=True):
    """What a head is started with.

    Attributes:
        redis_pid: of its Redis server, whose processor time is told too.
        num_workers: it begins when it hears of so many.
        watch_traffic: whether to ask Redis, after each tell, what it has sent to whom.
    """

    run_uid: str
    redis_url: str
    redis_pid: int
    folder: str
    num_workers: int
    num_parameters: int
    pop_size: int
    num_generations: int
    overlap: int = 0
    min_task_runtime_s: float = 0.05
    snapshot_every_s: float = 30.0
    watch_traffic: bool = False


class MarkedPool(RedisPool):
    """Notes when the last records came and when a generation was out."""

    diary: Diary

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """Of `search.protocol.Pool`."""
        with self.diary.step("collect"):
            batches = super().results(timeout_s)
        now_s = time.monotonic()
        for number in {batch.number for batch in batches}:
            self.diary.told[number].heard_s = now_s
        return batches

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        """Of `search.protocol.Pool`."""
        with self.diary.step("publish"):
            super().open(generation, known)
        if generation.number < len(self.diary.told):  # the closing test is none of them
            self.diary.told[generation.number].published_s = time.monotonic()

    def close(self, number: int) -> None:
        """Of `search.protocol.Pool`."""
        with self.diary.step("collect"):
            super().close(number)


class MarkedState(RunState):
    """Notes what asking takes."""

    diary: Diary

    def ask_due(self) -> Iterator[OpenGeneration]:
        """Of `RunState`."""
        with self.diary.step("ask"):
            due = list(super().ask_due())
        yield from due


class MarkedJournal(Journal):
    """Notes when a generation's end was on the disk, and how much is there."""

    def __init__(self, folder: Path, diary: Diary, strategy: MarkedStrategy) -> None:
        super().__init__(folder)
        self._diary = diary
        self._strategy = strategy

    def append(self, *entries: Entry) -> None:
        """Of `Journal`."""
        with self._diary.step("journal"):
            super().append(*entries)

    def sync(self) -> None:
        """Of `Journal`."""
        with self._diary.step("journal"):
            super().sync()
        if self._strategy.told >= 0:
            told = self._diary.told[self._strategy.told]
            told.synced_s = told.synced_s or time.monotonic()
            told.journal_bytes = self.offset

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Of `Journal`."""
        with self._diary.step("snapshot"):
            super().write_snapshot(snapshot)
        if self._strategy.told >= 0:
            path = self.folder / f"snapshot-{snapshot.told:09d}"
            self._diary.told[self._strategy.told].snapshot_bytes = path.stat().st_size


class MarkedStrategy(OpenAIES):
    """Notes when theta had moved."""

    diary: Diary
    told = -1

    def tell(self, generation: int, fitness_ce: NDArray[np.float64]) -> Mapping[str, float]:
        """Of `search.protocol.Strategy`."""
        with self.diary.step("tell"):
            figures = super().tell(generation, fitness_ce)
        self.told = generation
        self.diary.told[generation].learnt_s = time.monotonic()
        return figures


def lead(settings: HeadSettings) -> list[Told]:
    """Be the head of one run."""
    use_one_thread()
    watcher = None
    if settings.watch_traffic:
        watcher = connect(settings.redis_url)
        watcher.client_setname("watcher")
    diary = Diary(settings.num_generations, settings.redis_pid, watcher)
    client = connect(settings.redis_url)
    client.client_setname("head")
    size = settings.num_parameters
    with open_table(DEFAULT_SEED, required_length(size)) as noise:
        theta0 = np.full(size, 0.1, dtype=np.float32)
        strategy = MarkedStrategy(
            theta0, noise, run_seed=1, pop_size=settings.pop_size, sigma=0.02, lr=1e-3
        )
        state = MarkedState(strategy, loop_settings(settings), None)
        await_workers(client, settings.num_workers)
        pool = MarkedPool(
            client,
            experiment_with(settings.run_uid, ENV, POLICY, noise.spec),
            min_task_runtime_s=settings.min_task_runtime_s,
            notice=diary.notice,
        )
        strategy.diary = state.diary = pool.diary = diary
        try:
            with MarkedJournal(Path(settings.folder) / "journal", diary, strategy) as journal:
                gc.collect()
                gc.freeze()  # as `training.session` does
                Loop(state, pool, journal, diary).run()
        finally:
            pool.shutdown()
    return diary.told


def loop_settings(settings: HeadSettings) -> LoopSettings:
    """Nothing but training rollouts."""
    return LoopSettings(
        run_uid=settings.run_uid,
        seeds=SeedRule(1),
        num_generations=settings.num_generations,
        num_validation=0,
        num_final=0,
        num_checkpoints=0,
        overlap=settings.overlap,
        snapshot_every_s=settings.snapshot_every_s,
    )


def await_workers(client: Client, num_workers: int) -> None:
    """Return when so many have been heard of; the first generation is planned for them."""
    deadline_s = time.monotonic() + _START_S
    while True:
        found = sum(machine.num_workers for machine in heartbeat.fresh(client))
        if found >= num_workers:
            return
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{found} of {num_workers} workers in time")
        time.sleep(0.1)


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=HeadSettings)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(lead(given)))
