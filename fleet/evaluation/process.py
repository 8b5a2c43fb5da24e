"""One child that evaluates, as its parent sees it: started, asked, timed, and ended."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from errors import MessageError
from fleet.child_process import death_record, overrun_record, start_child
from fleet.evaluation.channel import KEPT_GENERATIONS, Channel, Frame, Kind, refused
from fleet.machine.wear import Wear
from search.messages import (
    MAX_ERROR_CHARS,
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

_LOOK_EVERY_S = 0.25
_SEND_S = 60.0
_LEAVE_S = 2.0
_POLL_S = 0.002


class EvaluationProcess:
    """A ``python -m fleet.evaluation.child``.

    Nothing of it outlives this process, nor what its environment has started.

    Args:
        experiment: what it evaluates.
        include: folder of the user's own modules.
        noise_dir: folder of the shared noise table.
    """

    def __init__(
        self, experiment: Experiment, include: Path | None, noise_dir: Path | None
    ) -> None:
        self._experiment = experiment
        self._channel, theirs = Channel.pair()
        # Only we can write to it: at our end, however it comes, the kernel ends the child's group.
        lifeline, ours = os.pipe()
        self._lifeline: int | None = ours
        arguments = ["--channel-fd", str(theirs.fileno()), "--lifeline-fd", str(lifeline)]
        if include is not None:
            arguments += ["--include", str(include.resolve())]
        if noise_dir is not None:
            arguments += ["--noise-dir", str(noise_dir.resolve())]
        try:
            with theirs:
                self._process = start_child(
                    "fleet.evaluation.child",
                    arguments,
                    pass_fds=[theirs.fileno(), lifeline],
                    own_session=True,
                )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(lifeline)
        self.pid = self._process.pid
        self._seen = psutil.Process(self.pid)
        self._wear = Wear(experiment.guard, self.pid)
        self._sent: deque[tuple[Generation, str]] = deque(maxlen=KEPT_GENERATIONS)
        self._asked = 0
        self._is_idle = False
        self.is_worn = False

    @property
    def is_ready(self) -> bool:
        """Whether it lives, has nothing to do, and has said nothing that nobody asked for."""
        # A dead process is seen as one before all its files are closed.
        return self._is_idle and self._channel.is_quiet() and not self._is_dead()

    def begin(self, timeout_s: float) -> int | None:
        """Have it build its environment: ``None`` once it is ready, or the code it ended with.

        Raises:
            EsError: its own, where the environment or the policy cannot be built.
            TimeoutError: it took longer than ``timeout_s``; it is gone.
        """
        try:
            self._channel.send(Kind.EXPERIMENT, encode(self._experiment), _SEND_S)
            frame = self._receive(timeout_s)
        except (OSError, EOFError):
            return self._bury()
        if frame is None:
            self.kill()
            raise TimeoutError
        if frame.kind is not Kind.READY:
            self.kill()
            raise refused(frame)
        self._is_idle = True
        return None

    def evaluate(self, generation: Generation, rollout: int, attempt: int) -> RolloutRecord:
        """One rollout, or what became of it: then the process is gone.

        Raises:
            EsError: its own, as `search.evaluator.Evaluator.evaluate`.
        """
        timeout_s = self._experiment.guard.rollout_timeout_s
        self._is_idle = False
        try:
            name = self._name_of(generation)
            task = self._task(generation, name, rollout, attempt)
            self._channel.send(Kind.TASK, encode(task), _SEND_S)
        except OSError as error:  # the rollout has not begun, so it is not to blame
            self.kill()
            return _lost(rollout, attempt, f"its process took no work: {error}")
        try:
            frame = self._receive(timeout_s)
            if frame is None:
                self.kill()
                return overrun_record(rollout, attempt, timeout_s)
            record = self._checked(frame, task)
        except EOFError:
            return death_record(rollout, attempt, self._bury())
        except MessageError as error:
            self.kill()
            return _lost(rollout, attempt, f"its process gave no proper answer: {error}")
        if record is None:
            self.kill()
            raise refused(frame)
        self._is_idle = True
        self.is_worn = self._wear.is_worn(self._asked)
        return record

    def kill(self) -> int:
        """End it at once, and what it has started; the code that it ended with, before or now."""
        # A process that is dead already, and not yet asked for its code, keeps both it and its
        # number: nobody else can be hit.
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._is_idle = False
        code = self._process.wait()
        self._channel.close()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        return code

    def close(self) -> None:
        """End it: politely where it has nothing to do, so that its environment is closed."""
        if self._is_idle:
            self._channel.close()
            self._bury()
        else:
            self.kill()

    def _bury(self) -> int:
        """Wait until it has ended, as it is about to; the code that it ended with."""
        deadline_s = time.monotonic() + _LEAVE_S
        while not self._is_dead() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return self.kill()

    def _name_of(self, generation: Generation) -> str:
        """The generation's name; sends it where the child does not have it."""
        for sent, name in self._sent:
            if sent is generation:
                return name
        data = encode(generation)
        self._channel.send(Kind.GENERATION, data, _SEND_S)
        name = digest(data)
        self._sent.append((generation, name))
        return name

    def _task(self, generation: Generation, name: str, rollout: int, attempt: int) -> Task:
        self._asked += 1
        return Task(
            MESSAGE_VERSION,
            generation.run_uid,
            generation.number,
            name,
            rollout,
            rollout + 1,
            attempt,
            copy=self._asked,
        )

    def _checked(self, frame: Frame, task: Task) -> RolloutRecord | None:
        """The answer to ``task``, or ``None`` where the child has refused."""
        if frame.kind is Kind.REFUSAL:
            return None
        if frame.kind is not Kind.RECORDS:
            raise MessageError(f"a {frame.kind.name} instead of a record")
        batch = decode(frame.data, RecordBatch)
        if batch.digest != task.digest or len(batch.records) != 1:
            raise MessageError("records of something else than was asked")
        record = batch.records[0]
        about = record.rollout, record.attempt, record.copy
        if about != (task.first, task.attempt, task.copy) or record.status not in ("ok", "failed"):
            raise MessageError("a record of something else than was asked")
        return msgspec.structs.replace(record, copy=0)

    def _receive(self, timeout_s: float) -> Frame | None:
        """The child's next frame; ``None`` where it takes too long.

        Raises:
            EOFError: it is dead, or has closed its end, and had sent nothing more.
            MessageError: what it sent is no frame.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            remaining_s = deadline_s - time.monotonic()
            frame = self._channel.receive(min(_LOOK_EVERY_S, max(0.0, remaining_s)))
            if frame is not None:
                return frame
            if self._is_dead():
                # A process it left behind may hold the channel open; what it said itself is there.
                frame = self._channel.receive(0.0)
                if frame is None:
                    raise EOFError("the process is dead")
                return frame
            if remaining_s <= 0:
                return None

    def _is_dead(self) -> bool:
        """Whether it has ended. Its code is left where it is, see `kill`."""
        if self._process.returncode is not None:
            return True
        try:
            return bool(self._seen.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True


def _lost(rollout: int, attempt: int, error: str) -> RolloutRecord:
    return RolloutRecord(rollout, attempt, "lost", error=error[:MAX_ERROR_CHARS])
