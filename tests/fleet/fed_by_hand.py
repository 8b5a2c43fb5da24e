"""A head's pool on a real Redis whose workers are the test itself, and whose clock it turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from real_fleet import experiment_of, generation_of

from fleet import heartbeat, keys
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from fleet.heartbeat import Heartbeat, WorkerBeat
from fleet.run_report import RunReport, decode_report
from fleet.server.redis_server import RedisServer
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    GuardSpec,
    NoiseSpec,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
    digest,
    encode,
)

NOISE = NoiseSpec(1, 10_000, "0" * 16)
WORKER = "hand-1-0"
TIMEOUT_S = 100.0


def experiment(**fields: Any) -> Experiment:
    """A run whose guard kills a rollout after `TIMEOUT_S`."""
    made = experiment_of(NOISE, GuardSpec(rollout_timeout_s=TIMEOUT_S))
    return msgspec.structs.replace(made, **fields)


class FedByHand:
    """One run on ``server``."""

    def __init__(self, server: RedisServer, run: Experiment | None = None, **options: Any) -> None:
        self.run = run or experiment()
        self.uid = self.run.run_uid
        self.client: Client = connect(server.url)
        self._head: Client = connect(server.url)
        self._machines: set[str] = set()
        self.now_s = 0.0
        self.notices: list[str] = []
        self.pool = RedisPool(
            self._head,
            self.run,
            notice=self.notices.append,
            clock=lambda: self.now_s,
            sleep=lambda seconds: None,
            **options,
        )

    def close(self) -> None:
        for machine in self._machines:
            heartbeat.retract(self.client, machine)
        self.pool.shutdown()
        self._head.close()
        self.client.close()

    def open(self, number: int = 0, known: Sequence[int] = (), **fields: Any) -> Generation:
        """Generation ``number``, of 4 training rollouts unless ``fields`` say otherwise."""
        fields = {"pairs": 2, "episodes": 1, "validation": 0, **fields}
        generation = generation_of(self.uid, number, **fields)
        self.pool.open(generation, known)
        return generation

    def tick(self, seconds: float = 2.0) -> list[RolloutRecord]:
        """Let time pass, and the pool look after things once; what it accepts."""
        self.now_s += seconds
        return [record for batch in self.pool.results(0.01) for record in batch.records]

    def take(self, number: int = 0) -> Task | None:
        """As a worker does: copies handed out again first."""
        queues = [keys.reissues(self.uid, number), keys.tasks(self.uid, number)]
        for queue in queues:
            data: Any = self.client.lpop(queue)
            if data is not None:
                return decode(data, Task)
        return None

    def take_all(self, number: int = 0) -> list[Task]:
        tasks = []
        while (task := self.take(number)) is not None:
            tasks.append(task)
        return tasks

    def queued(self, number: int = 0) -> list[bytes]:
        """Everything that waits, as it is."""
        client: Any = self.client
        queues = [keys.reissues(self.uid, number), keys.tasks(self.uid, number)]
        return [data for queue in queues for data in client.lrange(queue, 0, -1)]

    def answer(
        self, generation: Generation, task: Task, worker: str = WORKER, **fields: Any
    ) -> RecordBatch:
        """Send a record for each rollout of ``task``."""
        fields = {"status": "ok", "fitness": 1.0, "length": 10, **fields}
        records = tuple(
            RolloutRecord(rollout, task.attempt, copy=task.copy, **fields)
            for rollout in range(task.first, task.stop)
        )
        return self.send(generation, records, worker)

    def send(
        self, generation: Generation, records: Sequence[RolloutRecord], worker: str = WORKER
    ) -> RecordBatch:
        batch = RecordBatch(
            MESSAGE_VERSION,
            self.uid,
            generation.number,
            digest(encode(generation)),
            worker,
            tuple(records),
            evaluation_s=0.1,
        )
        self.client.rpush(keys.records(self.uid), encode(batch))
        return batch

    def beat(self, machine: str = "hand-1", **fields: Any) -> None:
        """Be a machine of one worker."""
        worker: dict[str, Any] = {"worker": f"{machine}-0", "is_up": True}
        for name in ("is_up", "refusal", "last_error", "doing_s", "claim"):
            if name in fields:
                worker[name] = fields.pop(name)
        fields = {"code_version": self.run.code_version} | fields
        beat = Heartbeat(machine, "hand", workers=(WorkerBeat(**worker),), **fields)
        heartbeat.send(self.client, beat)
        self._machines.add(machine)

    def report(self) -> RunReport:
        found = decode_report(self.client.get(keys.report(self.uid)))
        assert found is not None
        return found


@contextmanager
def fed_by_hand(server: RedisServer, **options: Any) -> Iterator[FedByHand]:
    fed = FedByHand(server, **options)
    try:
        yield fed
    finally:
        fed.close()
