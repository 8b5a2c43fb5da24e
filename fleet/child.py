"""A worker: ``python -m fleet.child``, started by a guard and by nobody else.

Finds a live run, reads its declaration once, and evaluates its tasks until the run ends, is asked
to leave, or has grown too old or too large. Everything it says to its guard is in its slot.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType

import click
import redis

from errors import EsError, VersionMismatch
from fleet.access import access_given
from fleet.child_process import leave_no_core
from fleet.connection import connect, url_or_default
from fleet.parent import die_with_parent
from fleet.run_service import HEAD_QUIET_S, Leave, RunService, say
from fleet.slot import Bulletin, Slot
from fleet.worker_broker import WorkerBroker
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.evaluator import Evaluator
from search.messages import Experiment, decode
from search.noise import NoiseTable, open_declared

_IDLE_S = 0.2
_AGAIN_S = 1.0


class Child:
    """One worker process; `serve` never returns.

    Args:
        connect: gives a client of this machine's Redis; called again when one breaks.
        bulletin: read by the guard.
        worker: this worker's id.
        include: folder of the user's own modules.
        noise_dir: folder of the shared noise table.
        run: the only run to serve, or ``None`` for any.
        burst: leave when there is no live run.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        bulletin: Bulletin,
        worker: str,
        *,
        include: Path | None,
        noise_dir: Path | None,
        run: str | None,
        burst: bool,
    ) -> None:
        self._connect = connect
        self._bulletin = bulletin
        self._worker = worker
        self._include = include
        self._noise_dir = noise_dir
        self._run = run
        self._burst = burst
        self._refused: dict[str, str] = {}
        self._said = ""

    def serve(self) -> None:
        """Serve one run after the other; an unreachable Redis is waited for."""
        while True:
            try:
                with closing(self._connect()) as client:
                    broker = WorkerBroker(client, self._worker)
                    while True:
                        self._serve_one(broker)
            except (redis.RedisError, EsError) as error:
                self._refuse(" ".join(str(error).split()))
                time.sleep(_AGAIN_S)

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
            evaluator = Evaluator(experiment, noise, self._include, say)
        except EsError as error:
            self._refused[uid] = str(error)
            self._refuse(f"cannot serve run {uid[:8]}: {error}")
            return
        self._say_idle()
        try:
            RunService(self._worker, self._bulletin, broker, experiment, evaluator).until_over()
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
        beating = [run for run in fit if run.silence_s < HEAD_QUIET_S]
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

    def _say_idle(self) -> None:
        self._said = ""
        self._bulletin.show(None)

    def _refuse(self, why: str) -> None:
        self._bulletin.refuse(why)
        if why != self._said:
            self._said = why
            say(why)


def close_noise(noise: NoiseTable | None) -> None:
    """Let go of the table, if there is one."""
    if noise is not None:
        noise.close()


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
    leave_no_core()
    use_one_thread()
    url, access = url_or_default(None), access_given()
    Child(
        lambda: connect(url, access=access),
        Bulletin(Slot(slot_fd)),
        worker,
        include=include,
        noise_dir=noise_dir,
        run=run,
        burst=burst,
    ).serve()


if __name__ == "__main__":
    main()
