"""An evaluator in a process of its own: ``python -m fleet.evaluation.child``, started by an
`EvaluationProcess` and by nobody else. Answers one task after the other until its channel closes.
"""

from __future__ import annotations

import signal
import socket
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import msgspec

from errors import EsError, MessageError
from fleet.child_process import leave_no_core
from fleet.evaluation.channel import KEPT_GENERATIONS, Channel, Frame, Kind, refusal
from fleet.parent import die_with_parent
from search.arithmetic import use_one_thread
from search.evaluator import Evaluator
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    RecordBatch,
    Task,
    decode,
    digest,
    encode,
)
from search.noise import open_declared

WORKER = "guarded"


class EvaluationChild:
    """Tasks of one rollout in, batches of one record out.

    Args:
        channel: to the process that guards this one.
        include: folder of the user's own modules.
        noise_dir: folder of the shared noise table.
    """

    def __init__(self, channel: Channel, include: Path | None, noise_dir: Path | None) -> None:
        self._channel = channel
        self._include = include
        self._noise_dir = noise_dir
        self._generations: deque[tuple[str, Generation]] = deque(maxlen=KEPT_GENERATIONS)

    def serve(self) -> None:
        """Serve until the other side has gone; what cannot be served is refused in one line."""
        try:
            with ExitStack() as stack:
                evaluator = self._evaluator(stack)
                self._channel.send(Kind.READY)
                while True:
                    self._answer(self._receive(), evaluator)
        except EsError as error:
            self._channel.send(Kind.REFUSAL, refusal(error))

    def _evaluator(self, stack: ExitStack) -> Evaluator:
        frame = self._receive()
        if frame.kind is not Kind.EXPERIMENT:
            raise MessageError(f"a {frame.kind.name} came before the experiment")
        experiment = decode(frame.data, Experiment)
        noise = None
        if experiment.noise is not None:
            noise = stack.enter_context(open_declared(experiment.noise, self._noise_dir))
        evaluator = Evaluator(experiment, noise, self._include)
        stack.callback(evaluator.close)
        return evaluator

    def _answer(self, frame: Frame, evaluator: Evaluator) -> None:
        if frame.kind is Kind.GENERATION:
            name = digest(frame.data)
            self._generations.append((name, decode(frame.data, Generation)))
            return
        if frame.kind is not Kind.TASK:
            raise MessageError(f"a {frame.kind.name} came instead of a task")
        task = decode(frame.data, Task)
        generation = self._generation(task.digest)
        record = evaluator.evaluate(generation, task.first, task.attempt)
        batch = RecordBatch(
            MESSAGE_VERSION,
            task.run_uid,
            task.number,
            task.digest,
            WORKER,
            (msgspec.structs.replace(record, copy=task.copy),),
        )
        self._channel.send(Kind.RECORDS, encode(batch))

    def _generation(self, name: str) -> Generation:
        for known, generation in self._generations:
            if known == name:
                return generation
        raise MessageError(f"a task of generation {name}, which was not sent")

    def _receive(self) -> Frame:
        frame = self._channel.receive()
        assert frame is not None  # without a timeout there is none to run into
        return frame


@click.command(hidden=True)
@click.option("--channel-fd", type=int, required=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--lifeline-fd", type=int, required=True)
@click.option("--include", type=click.Path(path_type=Path))
@click.option("--noise-dir", type=click.Path(path_type=Path))
def main(
    channel_fd: int,
    parent_pid: int,
    lifeline_fd: int,
    include: Path | None,
    noise_dir: Path | None,
) -> None:
    """Evaluate what comes over the channel."""
    die_with_parent(parent_pid, lifeline_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    leave_no_core()
    use_one_thread()
    channel = Channel(socket.socket(fileno=channel_fd))
    # A parent that has gone, or lets us go, wants nothing more from us.
    with suppress(EOFError, ConnectionError):
        EvaluationChild(channel, include, noise_dir).serve()


if __name__ == "__main__":
    main()
