"""One child process that may hang, leak or crash, and what is said for it when it does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from fleet.child_process import OWN_SIGNALS, cause_of, death_record, overrun_record
from fleet.connection import URL_VARIABLE
from fleet.heartbeat import Claim, WorkerBeat
from fleet.machine.restarts import Restarts
from fleet.machine.slot import RECYCLE, Doing, Slot, State
from fleet.machine.watched_process import WatchedProcess
from fleet.security.access import NO_ACCESS, Access
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord

_RATE_WINDOW_S = 20.0
_BUILDS_IN_VAIN = 3
_MAX_LINE_CHARS = 500
_MB = 2**20


class ChildOptions(NamedTuple):
    """What every child of a supervisor is started with."""

    redis_url: str
    include: Path | None = None
    noise_dir: Path | None = None
    run: str | None = None
    burst: bool = False
    patience_s: float = 0.0
    """Without a run until ``burst`` takes it that there is none."""
    access: Access = NO_ACCESS


class Totals(msgspec.Struct):
    """What a worker has done, over the processes that it has been."""

    rollouts: int = 0
    env_steps: int = 0
    failures: int = 0


class Guard:
    """Starts a child, replaces it when it ends, kills it when a rollout takes too long.

    Args:
        worker: the child's worker id.
        options: what it is started with.
        report: where the records of a dead child's rollouts go.
        hear: where each line that a child complains of goes.
        clock: the system-wide monotonic clock.
    """

    def __init__(
        self,
        worker: str,
        options: ChildOptions,
        report: Callable[[RecordBatch], None],
        hear: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker = worker
        self._options = options
        self._report = report
        self._hear = hear
        self._clock = clock
        self._slot = Slot.create()
        self._state = State()
        self._process: WatchedProcess | None = None
        self._overran = ""
        self._earlier = Totals()
        self._rates: deque[tuple[float, int]] = deque()
        self._restarts = Restarts(f"worker {worker}")
        self._builds_in_vain = 0
        self._avoid = ""
        self._last_error = ""
        self.deaths = 0
        self.is_done = False

    @property
    def is_up(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def state(self) -> State:
        """What the child last said of itself."""
        # A child that was just writing has said nothing new.
        self._state = self._slot.read() or self._state
        return self._state

    def beat(self) -> WorkerBeat:
        """How the worker is; to be asked about once a second."""
        state, now_s = self.state, self._clock()
        doing, refusal = state.doing, state.refusal
        env_steps = self._earlier.env_steps + state.env_steps
        trouble = self._restarts.trouble(now_s)
        error = state.last_error or self._last_error
        started_s = doing.started_s if doing is not None and doing.rollout is not None else None
        return WorkerBeat(
            self.worker,
            self.is_up,
            run_uid=state.run_uid,
            rollouts=self._earlier.rollouts + state.rollouts,
            env_steps=env_steps,
            env_steps_per_s=round(self._rate(now_s, env_steps), 1),
            failures=self._earlier.failures + state.failures,
            deaths=self.deaths,
            rss_mb=round(self._rss_mb(), 1),
            doing_s=round(now_s - started_s, 3) if started_s is not None else None,
            claim=Claim(doing.digest, doing.unsent, doing.stop) if doing is not None else None,
            last_error=(trouble or error)[:_MAX_LINE_CHARS],
            refusal=refusal[:_MAX_LINE_CHARS],
        )

    def tend(self) -> None:
        """Look after the child; call it several times a second."""
        if self._process is None:
            if not self.is_done and self._clock() >= self._restarts.start_at_s:
                self._try_to_start()
            return
        code = self._process.poll()
        if code is None:
            self._kill_if_overdue(self._process)
            return
        self._bury(self._process, code)

    def disown(self, digest: str | None) -> None:
        """Tell the child that nobody wants this generation any more; ``None``: all is well."""
        self._slot.disown(digest)

    def terminate(self) -> None:
        """Ask the child to leave, and start no other."""
        self.is_done = True
        if self._process is not None:
            self._process.terminate()

    def stop(self, patience_s: float) -> None:
        """Wait for the child to leave, by force after ``patience_s``; give its rollouts back."""
        self.terminate()
        if self._process is not None:
            self._process.wait(patience_s)
            self._process = None
            self._report_dead(self.state, given_back=True)

    def close(self) -> None:
        """Let go of the slot; the child is gone."""
        self._slot.close()

    def _try_to_start(self) -> None:
        try:
            self._start()
        except OSError as error:  # no memory, files or processes left: for now, maybe
            how = f"could not be started ({error.strerror})"
            self._last_error = f"worker {self.worker} {how}"
            if line := self._restarts.died(self._clock(), how, in_vain=True):
                self._hear(line)

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
            arguments += ["--burst-after", str(options.patience_s)]
        if self._avoid:
            arguments += ["--avoid", self._avoid]
        self._clear()
        # In the environment and not in argv, which every user of the machine can read.
        self._process = WatchedProcess(
            "fleet.machine.child",
            arguments,
            hear=self._hear,
            pass_fds=[self._slot.fd],
            environment={**options.access.environment(), URL_VARIABLE: options.redis_url},
        )

    def _clear(self) -> None:
        self._state = State()
        self._slot.write(self._state)
        self._slot.disown(None)
        self._overran = ""

    def _kill_if_overdue(self, process: WatchedProcess) -> None:
        state, now_s = self.state, self._clock()
        doing, building = state.doing, state.building
        if doing is not None and doing.rollout is not None:
            if now_s - doing.started_s > doing.timeout_s:
                self._overran = f"took longer than rollout_timeout_s={doing.timeout_s:g}"
                process.kill()
        elif building is not None and now_s - building.started_s > building.timeout_s:
            self._overran = f"took longer than {building.timeout_s:g} s"
            process.kill()

    def _bury(self, process: WatchedProcess, code: int) -> None:
        state = self.state
        self._process = None
        self._earlier.rollouts += state.rollouts
        self._earlier.env_steps += state.env_steps
        self._earlier.failures += state.failures
        self._last_error = state.last_error or self._last_error
        if code == 0:
            self.is_done = self._options.burst
        self._report_dead(state, code)
        if code not in (0, RECYCLE):
            self.deaths += 1
            how = self._how(process, state, code)
            self._last_error = f"worker {self.worker} {how}"
            line = self._restarts.died(self._clock(), how, in_vain=_is_in_vain(state, code))
            if line:
                self._hear(line)
        self._count_builds(state)
        self._clear()

    def _how(self, process: WatchedProcess, state: State, code: int) -> str:
        how = self._overran or cause_of(code)
        if state.building is not None:
            how += f" while {state.building.what} environment {state.building.environment}"
        elif state.doing is not None and state.doing.rollout is not None:
            how += f" in rollout {state.doing.rollout} of generation {state.doing.number}"
        # A death by signal leaves no last word; what was said before is about something else.
        return f"{how}: {process.last_line}" if code > 0 and process.last_line else how

    def _count_builds(self, state: State) -> None:
        """Keep a worker away from a run whose environment kills it before its first rollout."""
        if state.building is None or state.building.what == "closing":
            self._builds_in_vain, self._avoid = 0, ""
            return
        self._builds_in_vain += 1
        if self._builds_in_vain >= _BUILDS_IN_VAIN:
            self._avoid = state.building.run_uid

    def _report_dead(self, state: State, code: int = 0, *, given_back: bool = False) -> None:
        doing = state.doing
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
        if self._overran:
            return overrun_record(rollout, doing.attempt, doing.timeout_s, doing.copy)
        return death_record(rollout, doing.attempt, code, doing.copy)

    def _rate(self, now_s: float, env_steps: int) -> float:
        self._rates.append((now_s, env_steps))
        while now_s - self._rates[0][0] > _RATE_WINDOW_S:
            self._rates.popleft()
        then_s, earlier = self._rates[0]
        return (env_steps - earlier) / (now_s - then_s) if now_s > then_s else 0.0

    def _rss_mb(self) -> float:
        try:
            return psutil.Process(self.pid).memory_info().rss / _MB if self._process else 0.0
        except psutil.Error:
            return 0.0


def _is_in_vain(state: State, code: int) -> bool:
    """Whether the process did nobody any good. What a simulator does to itself in a rollout is
    counted there, and ends with it; all else might happen for ever.
    """
    is_in_rollout = state.doing is not None and state.doing.rollout is not None
    return state.rollouts == 0 and not (is_in_rollout and -code in OWN_SIGNALS)
