"""One child process that may hang, leak or crash, and what is said for it when it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from fleet.slot import RECYCLE, Doing, Slot, State
from search.arithmetic import THREAD_VARIABLES
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord

OWN_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
)
"""Signals that a simulator brings on itself; any other death is the machine's doing."""

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
        self._worker = worker
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
        # -P: the folder we happen to be in must not take the place of our modules.
        command = [sys.executable, "-P", "-m", "fleet.child", "--worker", self._worker]
        command += ["--slot-fd", str(self._slot.fd), "--parent-pid", str(os.getpid())]
        if options.include is not None:
            command += ["--include", str(options.include)]
        if options.noise_dir is not None:
            command += ["--noise-dir", str(options.noise_dir)]
        if options.run is not None:
            command += ["--run", options.run]
        if options.burst:
            command.append("--burst")
        threads = dict.fromkeys(THREAD_VARIABLES, "1")
        # In the environment and not in argv, which every user of the machine can read.
        environment = {**os.environ, **threads, "ES_REDIS_URL": options.redis_url}
        self._slot.write(State())
        self._overran = None
        self._started_s = self._clock()
        self._process = subprocess.Popen(
            command, env=environment, pass_fds=[self._slot.fd], stdin=subprocess.DEVNULL
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
        self.last_error = f"worker {self._worker} {_cause(code)}" if code else ""
        self._report_dead(code=code)
        self._slot.write(State())
        quick = self._clock() - self._started_s < _STABLE_S
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
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
                self._worker,
                tuple(records),
            )
        )

    def _verdict(self, doing: Doing, rollout: int, code: int, given_back: bool) -> RolloutRecord:
        lost = RolloutRecord(rollout, doing.attempt, "lost", doing.copy)
        if rollout != doing.rollout or given_back:
            return lost
        if self._overran is not None and self._overran.rollout == rollout:
            error = f"took longer than rollout_timeout_s={doing.timeout_s:g}"
            return msgspec.structs.replace(lost, status="failed", error=error, host_failure=True)
        if -code in OWN_SIGNALS:
            error = f"the simulator's process {_cause(code)}"
            return msgspec.structs.replace(lost, status="failed", error=error)
        return lost


def _cause(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"left with exit code {code}"
