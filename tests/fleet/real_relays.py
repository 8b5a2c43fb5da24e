"""What relay tests share: relays in threads and in processes, and workers that only take time."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import redis
from real_fleet import experiment_of, generation_of, of_run

from errors import EsError
from fleet.child_process import start_child
from fleet.connection import URL_VARIABLE, connect
from fleet.machine.worker_broker import WorkerBroker
from fleet.relay.relay import Relay
from fleet.security.access import NO_ACCESS, Access
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    NoiseSpec,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
    digest,
    encode,
)

NOISE = NoiseSpec(1, 1, "0" * 16)


def a_run() -> Experiment:
    """A run that nobody evaluates really."""
    return experiment_of(NOISE)


def a_generation(experiment: Experiment, number: int = 0, pairs: int = 4) -> Generation:
    """``4 * pairs + 3`` rollouts."""
    return of_run(generation_of(number=number, pairs=pairs), experiment)


class RelayThread:
    """A relay in a thread of this process.

    Attributes:
        notices: its lines for people.
        relay: for its counts.
    """

    def __init__(
        self,
        upstream_url: str,
        local_url: str,
        *,
        name: str = "here-relay",
        access: Access = NO_ACCESS,
        run: str | None = None,
    ) -> None:
        self.notices: list[str] = []
        self.error: BaseException | None = None
        self._ready = threading.Event()

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self.relay = Relay(
                upstream_url,
                local_url,
                upstream_access=access,
                name=name,
                run=run,
                notice=self.notices.append,
            )
            self._ready.set()
            await self.relay.run(self._stop)

        def go() -> None:
            try:
                asyncio.run(main())
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=go)
        self._thread.start()
        assert self._ready.wait(10)

    def __enter__(self) -> RelayThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Ask it to leave, and wait until it has."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self.join()

    def join(self) -> None:
        """Wait until it has left."""
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def relay_process(
    upstream_url: str, local_url: str, name: str = "there-relay"
) -> Iterator[subprocess.Popen[bytes]]:
    """A relay as a supervisor starts it."""
    process = start_child(
        "fleet.relay.process",
        ["--local-url", local_url, "--name", name],
        environment={URL_VARIABLE: upstream_url},
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


class PlainWorker(threading.Thread):
    """A worker that takes its time, and says of each rollout its number.

    It speaks as `fleet.machine.run_service` does, and like that keeps what it has not sent.

    Args:
        url: of its Redis.
        name: worker id.
        rollout_s: what a rollout lasts.
        may_go_on: asked before each task.
    """

    def __init__(
        self,
        url: str,
        name: str,
        rollout_s: float = 0.0,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._name = name
        self._rollout_s = rollout_s
        self._may_go_on = may_go_on
        self._unsent: bytes | None = None
        self._leaving = threading.Event()
        self.sizes: list[int] = []
        self.served: list[str] = []

    def __enter__(self) -> PlainWorker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self.join(20)
        assert not self.is_alive()

    def run(self) -> None:
        """Serve whatever run there is."""
        while not self._leaving.is_set():
            try:
                with closing(connect(self._url)) as client:
                    self._serve(WorkerBroker(client, self._name))
            except (redis.RedisError, EsError):
                time.sleep(0.02)

    def _serve(self, broker: WorkerBroker) -> None:
        while not self._leaving.is_set():
            runs = broker.live_runs()
            if not runs or broker.experiment(runs[0].uid) is None:
                time.sleep(0.02)
                continue
            uid = runs[0].uid
            self.served.append(uid)
            self._serve_run(broker, uid)

    def _serve_run(self, broker: WorkerBroker, uid: str) -> None:
        numbers, newest, looked_s = broker.open_numbers(uid), -1, 0.0
        while not self._leaving.is_set():
            if time.monotonic() - looked_s > 0.5:
                broker.join(uid)
                if uid not in [run.uid for run in broker.live_runs()]:
                    return
                looked_s = time.monotonic()
            if not self._may_go_on():
                time.sleep(0.01)
                continue
            newest = max([newest, *numbers])
            data, numbers = broker.exchange(uid, self._unsent, [*numbers, newest + 1])
            self._unsent = None
            if data is not None:
                self._unsent = self._work(broker, decode(data, Task))
        if self._unsent is not None:
            broker.send(uid, self._unsent)
        broker.leave(uid)

    def _work(self, broker: WorkerBroker, task: Task) -> bytes | None:
        data = broker.generation(task.run_uid, task.number)
        if data is None or digest(data) != task.digest:
            return None
        self.sizes.append(task.stop - task.first)
        started_s = time.monotonic()
        time.sleep(self._rollout_s * (task.stop - task.first))
        return batch_of(task, self._name, evaluation_s=time.monotonic() - started_s)


def batch_of(task: Task, worker: str = "w-0", **more: Any) -> bytes:
    """A worker's answer to ``task``: each rollout's fitness is its number."""
    records = tuple(
        RolloutRecord(r, task.attempt, "ok", task.copy, fitness=float(r), length=1)
        for r in range(task.first, task.stop)
    )
    batch = RecordBatch(
        MESSAGE_VERSION, task.run_uid, task.number, task.digest, worker, records, **more
    )
    return encode(batch)
