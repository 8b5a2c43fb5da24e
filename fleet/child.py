"""A worker: ``python -m fleet.child``, started by a guard and by nobody else.

Finds a live run, reads its declaration once, and evaluates its tasks until the run ends, is asked
to leave, or has grown too old or too large. Everything it says to its guard is in its slot.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

import click
import psutil
import redis

from errors import EsError, MessageError, VersionMismatch
from fleet.broker import WorkerBroker
from fleet.connection import connect, password_given, url_or_default
from fleet.parent import die_with_parent
from fleet.slot import Doing, Slot, State
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.evaluator import Evaluator
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
    digest,
    encode,
)
from search.noise import NoiseTable, open_declared

RECYCLE = 75
"""Exit code of a child that left to be replaced: sysexits' EX_TEMPFAIL, try again."""

_KEPT_GENERATIONS = 4
_IDLE_S = 0.2
_FLUSH_S = 0.5
_RECONNECT_S = 0.5
_HEAD_QUIET_S = 3.0
_MB = 2**20

P = ParamSpec("P")
T = TypeVar("T")


class Leave(SystemExit):
    """The child's way out, with its exit code."""


class Child:
    """One worker process; `serve` never returns.

    Args:
        connect: gives a client of this machine's Redis; called again when one breaks.
        slot: shared with the guard.
        worker: this worker's id.
        include: folder of the user's own modules.
        noise_dir: folder of the shared noise table.
        run: the only run to serve, or ``None`` for any.
        burst: leave when there is no live run.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        slot: Slot,
        worker: str,
        *,
        include: Path | None,
        noise_dir: Path | None,
        run: str | None,
        burst: bool,
    ) -> None:
        self._connect = connect
        self._slot = slot
        self._worker = worker
        self._include = include
        self._noise_dir = noise_dir
        self._run = run
        self._burst = burst
        self._rollouts = 0
        self._refused: dict[str, str] = {}
        self._said = ""

    def serve(self) -> None:
        """Serve one run after the other; an unreachable Redis is waited for."""
        while True:
            try:
                broker = WorkerBroker(self._connect(), self._worker)
                while True:
                    self._serve_one(broker)
            except (redis.RedisError, EsError) as error:
                self._refuse(" ".join(str(error).split()))
                time.sleep(1.0)

    def _serve_one(self, broker: WorkerBroker) -> None:
        uid = self._choose(broker)
        data = broker.experiment(uid) if uid is not None else None
        if uid is None or data is None:
            time.sleep(_IDLE_S)
            return
        try:
            experiment = self._checked(data)
            noise = None
            if experiment.noise is not None:
                noise = open_declared(experiment.noise, self._noise_dir)
            evaluator = Evaluator(experiment, noise, self._include, _say)
        except EsError as error:
            self._refused[uid] = str(error)
            self._refuse(f"cannot serve run {uid[:8]}: {error}")
            return
        self._say_idle()
        try:
            RunService(self, broker, experiment, evaluator).until_over()
        finally:
            evaluator.close()
            close_noise(noise)

    def _choose(self, broker: WorkerBroker) -> str | None:
        runs = broker.live_runs()
        live = {run.uid for run in runs}
        self._refused = {uid: why for uid, why in self._refused.items() if uid in live}
        if self._run is not None:
            runs = [run for run in runs if run.uid == self._run]
        fit = [run for run in runs if run.uid not in self._refused]
        if not fit and self._burst:
            raise Leave(0)
        # A head that has just died still counts as live for a while; one that beats comes first.
        beating = [run for run in fit if run.silence_s < _HEAD_QUIET_S]
        return (beating or fit)[0].uid if fit else None

    def _checked(self, data: bytes) -> Experiment:
        experiment = decode(data, Experiment)
        if experiment.code_version != code_version():
            raise VersionMismatch(
                f"the head runs code {experiment.code_version}, this worker {code_version()}: "
                "bring both to the same release and start the workers again"
            )
        if experiment.arithmetic != fingerprint() and not experiment.mixed_hardware:
            raise VersionMismatch(
                f"this processor rounds otherwise ({fingerprint()}) than the head's "
                f"({experiment.arithmetic}): use workers of one kind, or mixed_hardware=True, "
                "which makes the run not reproducible"
            )
        return experiment

    def show(self, doing: Doing | None) -> None:
        """Let the guard see what is in hand."""
        self._slot.write(State(self._rollouts, doing))

    def count_rollout(self) -> int:
        """One more rollout by this process; how many there are now."""
        self._rollouts += 1
        return self._rollouts

    @property
    def worker(self) -> str:
        return self._worker

    @property
    def burst(self) -> bool:
        return self._burst

    def _say_idle(self) -> None:
        self._said = ""
        self.show(None)

    def _refuse(self, why: str) -> None:
        self._slot.write(State(self._rollouts, None, why[:500]))
        if why != self._said:
            self._said = why
            _say(why)


class RunService:
    """One child at work on one run."""

    def __init__(
        self, child: Child, broker: WorkerBroker, experiment: Experiment, evaluator: Evaluator
    ) -> None:
        self._child = child
        self._broker = broker
        self._uid = experiment.run_uid
        self._guard = experiment.guard
        self._evaluator = evaluator
        self._generations: OrderedDict[tuple[int, str], Generation] = OrderedDict()
        self._process = psutil.Process()
        self._first_rss_mb: float | None = None

    def until_over(self) -> None:
        """Evaluate the run's tasks until its head is gone or another run calls more loudly."""
        open_numbers = self._broker.open_numbers(self._uid)
        batch: bytes | None = None
        joined_s = -float("inf")
        waiting_since_s = time.monotonic()
        while True:
            if time.monotonic() - joined_s > 2.0:
                patiently(self._broker.join, self._uid)
                joined_s = time.monotonic()
            data, open_numbers = patiently(self._broker.exchange, self._uid, batch, open_numbers)
            self._child.show(None)
            batch = None
            if data is None:
                if self._is_over():
                    patiently(self._broker.leave, self._uid)
                    return
                continue
            batch = self._work(data, time.monotonic() - waiting_since_s)
            waiting_since_s = time.monotonic()

    def _is_over(self) -> bool:
        silence_s = {run.uid: run.silence_s for run in patiently(self._broker.live_runs)}
        ours_s = silence_s.pop(self._uid, None)
        if ours_s is None:
            return True
        return ours_s > _HEAD_QUIET_S and any(s < _HEAD_QUIET_S for s in silence_s.values())

    def _work(self, data: bytes, obtaining_s: float) -> bytes | None:
        """Evaluate a task; its encoded records, but for those sent on the way."""
        try:
            task = decode(data, Task)
            generation = self._generation(task)
        except MessageError as error:
            _say(f"a message among the tasks was refused: {error}")
            return None
        if generation is None or task.run_uid != self._uid:
            return None  # closed in the meantime, or not ours
        if task.stop > generation.num_rollouts:
            _say(f"a task for rollout {task.stop - 1} of {generation.num_rollouts} was refused")
            return None
        return self._evaluate(task, generation, obtaining_s)

    def _evaluate(self, task: Task, generation: Generation, obtaining_s: float) -> bytes:
        records: list[RolloutRecord] = []
        unsent = task.first
        started_s = sent_s = time.perf_counter()
        for rollout in range(task.first, task.stop):
            self._show(task, unsent, rollout)
            records.append(self._evaluator.evaluate(generation, rollout, task.attempt))
            now_s = time.perf_counter()
            if self._is_worn():
                self._leave(task, records, now_s - started_s, obtaining_s)
            if now_s - sent_s > _FLUSH_S and rollout + 1 < task.stop:
                batch = self._batch(task, records, now_s - started_s, obtaining_s)
                patiently(self._broker.send, self._uid, batch)
                records, unsent, obtaining_s = [], rollout + 1, 0.0
                started_s = sent_s = time.perf_counter()
        self._show(task, unsent, None)
        return self._batch(task, records, time.perf_counter() - started_s, obtaining_s)

    def _show(self, task: Task, unsent: int, rollout: int | None) -> None:
        self._child.show(
            Doing(
                task.run_uid,
                task.number,
                task.digest,
                task.attempt,
                task.copy,
                unsent,
                task.stop,
                rollout,
                time.monotonic(),
                self._guard.rollout_timeout_s,
            )
        )

    def _is_worn(self) -> bool:
        if self._child.count_rollout() >= self._guard.max_rollouts_per_process:
            return True
        rss_mb: float = self._process.memory_info().rss / _MB
        if self._first_rss_mb is None:
            self._first_rss_mb = rss_mb
        return rss_mb - self._first_rss_mb > self._guard.max_rss_mb

    def _leave(
        self, task: Task, records: list[RolloutRecord], evaluation_s: float, obtaining_s: float
    ) -> None:
        """Send what is done, give back what is not, and make room for a fresh process."""
        first_undone = records[-1].rollout + 1
        rest = [
            RolloutRecord(r, task.attempt, "lost", task.copy)
            for r in range(first_undone, task.stop)
        ]
        batch = self._batch(task, [*records, *rest], evaluation_s, obtaining_s)
        patiently(self._broker.send, self._uid, batch)
        self._child.show(None)
        raise Leave(RECYCLE)

    def _batch(
        self, task: Task, records: list[RolloutRecord], evaluation_s: float, obtaining_s: float
    ) -> bytes:
        return encode(
            RecordBatch(
                MESSAGE_VERSION,
                task.run_uid,
                task.number,
                task.digest,
                self._child.worker,
                tuple(records),
                evaluation_s=evaluation_s,
                obtaining_s=obtaining_s,
            )
        )

    def _generation(self, task: Task) -> Generation | None:
        name = (task.number, task.digest)
        generation = self._generations.get(name)
        if generation is None:
            data = patiently(self._broker.generation, task.run_uid, task.number)
            if data is None or digest(data) != task.digest:
                return None
            generation = decode(data, Generation)
            self._generations[name] = generation
            if len(self._generations) > _KEPT_GENERATIONS:
                self._generations.popitem(last=False)
        return generation


def patiently(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``ask`` gives, asking again for as long as Redis is out of reach.

    Records may be sent twice that way, which changes nothing; they are never dropped.
    """
    while True:
        try:
            return ask(*args, **kwargs)
        except (redis.ConnectionError, redis.TimeoutError):
            time.sleep(_RECONNECT_S)


def close_noise(noise: NoiseTable | None) -> None:
    """Let go of the table, if there is one."""
    if noise is not None:
        noise.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _leave_on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise Leave(0)


@click.command(hidden=True)
@click.option("--slot-fd", type=int, required=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--worker", required=True)
@click.option("--include", type=click.Path(path_type=Path))
@click.option("--noise-dir", type=click.Path(path_type=Path))
@click.option("--run")
@click.option("--burst", is_flag=True)
def main(
    slot_fd: int,
    parent_pid: int,
    worker: str,
    include: Path | None,
    noise_dir: Path | None,
    run: str | None,
    burst: bool,
) -> None:
    """Serve runs; started by a guard, with ES_REDIS_URL in the environment."""
    die_with_parent(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to answer
    signal.signal(signal.SIGTERM, _leave_on_sigterm)
    use_one_thread()
    url, password = url_or_default(None), password_given()
    Child(
        lambda: connect(url, password=password),
        Slot(slot_fd),
        worker,
        include=include,
        noise_dir=noise_dir,
        run=run,
        burst=burst,
    ).serve()


if __name__ == "__main__":
    main()
