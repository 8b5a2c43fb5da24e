"""A real head in a process of its own: Loop, OpenAI-ES, RedisPool and Journal.

Started by `fleet_site` as ``python benchmarks/fleet_head.py SETTINGS REPORT``; ends after its
generations. Its recorder writes nothing but down, after each tell, what has been used so far.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray

from env.spec import EnvSpec
from es.openai_es import OpenAIES
from fleet import heartbeat
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from policy.spec import PolicySpec
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.journal import Journal
from search.loop import Loop
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    GuardSpec,
    RecordBatch,
    SeedRule,
)
from search.noise import open_table, required_length
from search.protocol import PoolStatus
from search.run_state import RunState
from search.settings import LoopSettings

NOISE_SEED = 20170310  # that of every run, so that a table that is there is used
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
    watch_traffic: bool = False


class Told(msgspec.Struct):
    """A generation's milestones on the system-wide monotonic clock, and what was used by then.

    Attributes:
        published_s: its tasks were in Redis.
        heard_s: its last record was in the head's hands.
        learnt_s: theta had moved.
        synced_s: that was on the disk.
        head_cpu_s, redis_cpu_s: user and system time of both processes since they started.
        sent_bytes, sent_to_head_bytes: by Redis, since it started.
    """

    published_s: float = 0.0
    heard_s: float = 0.0
    learnt_s: float = 0.0
    synced_s: float = 0.0
    head_cpu_s: float = 0.0
    redis_cpu_s: float = 0.0
    sent_bytes: int = 0
    sent_to_head_bytes: int = 0
    reissued: int = 0


class Diary:
    """A recorder that keeps the milestones."""

    def __init__(self, settings: HeadSettings) -> None:
        self._redis = psutil.Process(settings.redis_pid)
        self._client: Client | None = None
        if settings.watch_traffic:
            self._client = connect(settings.redis_url)
            self._client.client_setname("watcher")
        self.told = [Told() for _ in range(settings.num_generations)]

    def progress(self, number: int, done: int, total: int, status: PoolStatus) -> None:
        """Of `search.protocol.Recorder`."""
        self.told[number].reissued = status.reissued

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Of `search.protocol.Recorder`: what has been used."""
        told = self.told[number]
        told.head_cpu_s = time.process_time()
        used = self._redis.cpu_times()
        told.redis_cpu_s = used.user + used.system
        if self._client is not None:
            told.sent_bytes, told.sent_to_head_bytes = traffic(self._client)

    def times(self, times: object) -> None:
        """Nothing to keep."""

    def checkpoint(
        self, number: int, arrays: Mapping[str, NDArray[Any]], *, is_best: bool, is_last: bool
    ) -> None:
        """Of `search.protocol.Recorder`."""

    def notice(self, line: str) -> None:
        """Of `search.protocol.Recorder`."""
        print(f"head: {line}", file=sys.stderr, flush=True)


def traffic(client: Client) -> tuple[int, int]:
    """Bytes that the server has sent to all but ``client``, and those of them to this process.

    A server that does not tell what went to whom (Redis before 8, Valkey before 8) says it all went
    elsewhere.
    """
    stats: Any = client.info("stats")
    listed: Any = client.client_list()
    sent = {one["name"]: int(one.get("tot-net-out", 0)) for one in listed}
    return int(stats["total_net_output_bytes"]) - sent["watcher"], sent["head"]


class MarkedPool(RedisPool):
    """Notes when the last records came and when a generation was out."""

    diary: Diary

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        """Of `search.protocol.Pool`."""
        batches = super().results(timeout_s)
        now_s = time.monotonic()
        for number in {batch.number for batch in batches}:
            self.diary.told[number].heard_s = now_s
        return batches

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        """Of `search.protocol.Pool`."""
        super().open(generation, known)
        if generation.number < len(self.diary.told):  # the closing test is none of them
            self.diary.told[generation.number].published_s = time.monotonic()


class MarkedJournal(Journal):
    """Notes when a generation's end was on the disk."""

    def __init__(self, folder: Path, diary: Diary, strategy: MarkedStrategy) -> None:
        super().__init__(folder)
        self._diary = diary
        self._strategy = strategy

    def sync(self) -> None:
        """Of `Journal`."""
        super().sync()
        if self._strategy.told >= 0:
            told = self._diary.told[self._strategy.told]
            told.synced_s = told.synced_s or time.monotonic()


class MarkedStrategy(OpenAIES):
    """Notes when theta had moved."""

    diary: Diary
    told = -1

    def tell(self, generation: int, fitness_ce: NDArray[np.float64]) -> Mapping[str, float]:
        """Of `search.protocol.Strategy`."""
        figures = super().tell(generation, fitness_ce)
        self.told = generation
        self.diary.told[generation].learnt_s = time.monotonic()
        return figures


def lead(settings: HeadSettings) -> list[Told]:
    """Be the head of one run."""
    use_one_thread()
    diary = Diary(settings)
    size = settings.num_parameters
    with open_table(NOISE_SEED, required_length(size)) as noise:
        theta0 = np.full(size, 0.1, dtype=np.float32)
        strategy = MarkedStrategy(
            theta0, noise, run_seed=1, pop_size=settings.pop_size, sigma=0.02, lr=1e-3
        )
        strategy.diary = diary
        experiment = Experiment(
            version=MESSAGE_VERSION,
            run_uid=settings.run_uid,
            run_id="benchmark",
            code_version=code_version(),
            arithmetic=fingerprint(),
            env=EnvSpec("sphere"),
            policy=PolicySpec("linear", ()),
            noise=noise.spec,
            guard=GuardSpec(),
        )
        loop_settings = LoopSettings(
            run_uid=settings.run_uid,
            seeds=SeedRule(1),
            num_generations=settings.num_generations,
            num_validation=0,
            num_final=0,
            num_checkpoints=0,
            overlap=settings.overlap,
        )
        client = connect(settings.redis_url)
        client.client_setname("head")
        await_workers(client, settings.num_workers)
        pool = MarkedPool(
            client,
            experiment,
            min_task_runtime_s=settings.min_task_runtime_s,
            notice=diary.notice,
        )
        pool.diary = diary
        state = RunState(strategy, loop_settings, None)
        try:
            with MarkedJournal(Path(settings.folder) / "journal", diary, strategy) as journal:
                gc.collect()
                gc.freeze()  # as `training.session` does
                Loop(state, pool, journal, diary).run()
        finally:
            pool.shutdown()
    return diary.told


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
