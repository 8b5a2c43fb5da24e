"""One child process that may hang, leak or crash, and what is said for it when it does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from fleet.child_process import cause_of, death_record, overrun_record, start_child
from fleet.slot import RECYCLE, Doing, Slot, State
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord

_BACKOFF_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_STABLE_S = 30.0
_MB = 2**20


class ChildOptions(NamedTuple):
    """What every child of a supervisor is started with."""

    redis_url: str
    include: Path | None = None
    noise_dir: Path | None = None
    run: str | None = None
    burst: bool = False


class Guard:
    """Starts a child, replaces it when it ends, kills it when a rollout takes too long.

    Args:
        worker: the child's worker id.
        options: what it is started with.
        report: where the records of a dead child's rollouts go.
        clock: the system-wide monotonic clock.
    """

    def __init__(
        self,
        worker: str,
        options: ChildOptions,
        report: Callable[[RecordBatch], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker = worker
        self._options = options
        self._report = report
        self._clock = clock
        self._slot = Slot.create()
        self._process: subprocess.Popen[bytes] | None = None
        self._overran: Doing | None = None
        self._earlier_rollouts = 0
        self._quick_deaths = 0
        self._started_s = 0.0
        self._start_at_s = -float("inf")
        self.deaths = 0
        self.last_error = ""
        self.is_done = False

    @property
    def is_up(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def state(self) -> State | None:
        """What the child last said of itself."""
        return self._slot.read()

    @property
    def rollouts(self) -> int:
        """Rollouts of this child and those before it."""
        state = self.state
        return self._earlier_rollouts + (state.rollouts if state is not None else 0)

    def rss_mb(self) -> float:
        """The child's resident memory."""
        try:
            return psutil.Process(self.pid).memory_info().rss / _MB if self._process else 0.0
        except psutil.Error:
            return 0.0

    def tend(self) -> None:
        """Look after the child; call it several times a second."""
        if self._process is None:
            if not self.is_done and self._clock() >= self._start_at_s:
                self._start()
            return
        code = self._process.poll()
        if code is None:
            self._kill_if_overdue()
            return
        self._bury(code)

    def terminate(self) -> None:
        """Ask the child to leave, and start no other."""
        self.is_done = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, patience_s: float) -> None:
        """Wait for the child to leave, by force after ``patience_s``; give its rollouts back."""
        self.terminate()
        if self._process is None:
            return
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._report_dead(given_back=True)
        self._process = None

    def close(self) -> None:
        """Let go of the slot; the child is gone."""
        self._slot.close()

    def _start(self) -> None:
        options = self._options
        arguments = ["--worker", self.worker, "--slot-fd", str(self._slot.fd)]
        if options.include is not None:
            arguments += ["--include", str(options.include)]
        if options.noise_dir is not None:
            arguments += ["--noise-dir", str(options.noise_dir)]
        if options.run is not None:
            arguments += ["--run", options.run]
        if options.burst:
            arguments.append("--burst")
        self._slot.write(State())
        self._overran = None
        self._started_s = self._clock()
        # In the environment and not in argv, which every user of the machine can read.
        self._process = start_child(
            "fleet.child",
            arguments,
            pass_fd=self._slot.fd,
            environment={"ES_REDIS_URL": options.redis_url},
        )

    def _kill_if_overdue(self) -> None:
        state = self._slot.read()
        doing = state.doing if state is not None else None
        if doing is None or doing.rollout is None or self._process is None:
            return
        if self._clock() - doing.started_s > doing.timeout_s:
            self._overran = doing
            self._process.kill()

    def _bury(self, code: int) -> None:
        state = self._slot.read()
        self._earlier_rollouts += state.rollouts if state is not None else 0
        self._process = None
        if code == RECYCLE:
            self._slot.write(State())
            return
        if code == 0:
            self.is_done = self._options.burst
        else:
            self.deaths += 1
        self.last_error = f"worker {self.worker} {cause_of(code)}" if code else ""
        self._report_dead(code=code)
        self._slot.write(State())
        # Who gets rollouts done before it dies may start again at once: what kills it is counted
        # by rollout. Who does not might start and die for ever.
        quick = self._clock() - self._started_s < _STABLE_S
        is_useless = quick and (state is None or state.rollouts == 0)
        self._quick_deaths = self._quick_deaths + 1 if is_useless else 0
        wait_s = _BACKOFF_S[min(self._quick_deaths, len(_BACKOFF_S) - 1)]
        self._start_at_s = self._clock() + wait_s

    def _report_dead(self, code: int = 0, *, given_back: bool = False) -> None:
        state = self._slot.read()
        doing = state.doing if state is not None else None
        if doing is None:
            return
        records = [
            self._verdict(doing, rollout, code, given_back)
            for rollout in range(doing.unsent, doing.stop)
        ]
        self._report(
            RecordBatch(
                MESSAGE_VERSION,
                doing.run_uid,
                doing.number,
                doing.digest,
                self.worker,
                tuple(records),
            )
        )

    def _verdict(self, doing: Doing, rollout: int, code: int, given_back: bool) -> RolloutRecord:
        if rollout != doing.rollout or given_back:
            return RolloutRecord(rollout, doing.attempt, "returned", doing.copy)
        if self._overran is not None and self._overran.rollout == rollout:
            return overrun_record(rollout, doing.attempt, doing.timeout_s, doing.copy)
        return death_record(rollout, doing.attempt, code, doing.copy)
