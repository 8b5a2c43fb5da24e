"""A worker: ``python -m fleet.machine.child``, started by a guard and by nobody else.

Finds a live run, reads its declaration once, and evaluates its tasks until the run ends, is asked
to leave, or has grown too old or too large. Everything it says to its guard is in its slot.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import click
import redis

from errors import EsError, in_options
from fleet.child_process import leave_no_core
from fleet.compatibility import fitting
from fleet.connection import connect, url_or_default
from fleet.machine.departure import Departure, Leave
from fleet.machine.run_service import RunService, say
from fleet.machine.slot import Building, Bulletin, Slot
from fleet.machine.worker_broker import HEAD_QUIET_S, WorkerBroker
from fleet.parent import die_with_parent
from fleet.security.access import access_given
from search.arithmetic import use_one_thread
from search.evaluator import Evaluator
from search.messages import Experiment
from search.noise import open_declared

_IDLE_S = 0.2
_AGAIN_S = 1.0
_ANOTHER_TRY_S = 60.0
_BUILD_S = 120.0
_CLOSE_S = 20.0
_FATAL = "its environment has ended this worker's process, and not only once, while it was built"


class Child:
    """One worker process; `serve` never returns.

    Args:
        connect: gives a client of this machine's Redis; called again when one breaks.
        bulletin: read by the guard.
        worker: this worker's id.
        include: folder of the user's own modules.
        noise_dir: folder of the shared noise table.
        run: the only run to serve, or ``None`` for any.
        burst_after_s: leave when there has been no live run for so long; ``None``: stay.
        avoid: a run whose environment has ended this worker's processes while it was built.
        departure: what a SIGTERM has asked for.
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
        burst_after_s: float | None,
        avoid: str | None,
        departure: Departure,
    ) -> None:
        self._connect = connect
        self._bulletin = bulletin
        self._worker = worker
        self._include = include
        self._noise_dir = noise_dir
        self._run = run
        self._burst_after_s = burst_after_s
        self._idle_since_s = time.monotonic()
        self._departure = departure
        self._refused_s: dict[str, float] = {}
        self._said = ""
        if avoid is not None:
            self._turn_down(avoid, _FATAL)

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
        # Others count us from now on, though we may not be ready for a while.
        broker.join(uid)
        try:
            self._serve_run(broker, fitting(data))
        except EsError as error:
            self._turn_down(uid, in_options(error))
            broker.leave(uid)

    def _serve_run(self, broker: WorkerBroker, experiment: Experiment) -> None:
        with ExitStack() as stack:
            noise = None
            if experiment.noise is not None:
                noise = stack.enter_context(open_declared(experiment.noise, self._noise_dir))
            uid, name = experiment.run_uid, experiment.env.name[:200]
            timeout_s = max(_BUILD_S, experiment.guard.rollout_timeout_s)
            self._bulletin.serve(uid, Building(uid, name, time.monotonic(), timeout_s))
            evaluator = Evaluator(experiment, noise, self._include, say)
            stack.callback(self._close, evaluator, uid, name)
            self._bulletin.serve(uid)
            self._said = ""
            RunService(
                self._worker,
                self._bulletin,
                broker,
                experiment,
                evaluator,
                may_serve=self._may_serve,
                departure=self._departure,
            ).until_over()

    def _close(self, evaluator: Evaluator, uid: str, name: str) -> None:
        closing = Building(uid, name, time.monotonic(), _CLOSE_S, "closing")
        self._bulletin.serve("", closing)
        evaluator.close()
        self._bulletin.serve("")

    def _choose(self, broker: WorkerBroker) -> str | None:
        runs = broker.live_runs()
        if not runs:
            self._bulletin.serve("")
        fit = [run for run in runs if self._may_serve(run.uid)]
        now_s = time.monotonic()
        if fit:
            self._idle_since_s = now_s
        elif self._burst_after_s is not None and now_s - self._idle_since_s >= self._burst_after_s:
            raise Leave(0)
        # A head that has just died still counts as live for a while; one that beats comes first.
        beating = [run for run in fit if run.silence_s < HEAD_QUIET_S]
        return (beating or fit)[0].uid if fit else None

    def _may_serve(self, uid: str) -> bool:
        is_ours = self._run is None or uid == self._run
        return is_ours and time.monotonic() >= self._refused_s.get(uid, 0.0)

    def _turn_down(self, uid: str, why: str) -> None:
        """Serve other runs, if there are any; what stood in the way may be gone in a while."""
        self._refused_s[uid] = time.monotonic() + _ANOTHER_TRY_S
        self._refuse(f"cannot serve run {uid[:8]}: {why}")

    def _refuse(self, why: str) -> None:
        if why != self._said:
            self._said = why
            say(why)
        self._bulletin.refuse(why)


@click.command(hidden=True)
@click.option("--slot-fd", type=int, required=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--lifeline-fd", type=int)
@click.option("--worker", required=True)
@click.option("--include", type=click.Path(path_type=Path))
@click.option("--noise-dir", type=click.Path(path_type=Path))
@click.option("--run")
@click.option("--burst-after", type=float)
@click.option("--avoid")
def main(
    slot_fd: int,
    parent_pid: int,
    lifeline_fd: int | None,
    worker: str,
    include: Path | None,
    noise_dir: Path | None,
    run: str | None,
    burst_after: float | None,
    avoid: str | None,
) -> None:
    """Serve runs; started by a guard, with ES_REDIS_URL in the environment."""
    die_with_parent(parent_pid, lifeline_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to answer
    departure = Departure()
    signal.signal(signal.SIGTERM, lambda *_: departure.ask())
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
        burst_after_s=burst_after,
        avoid=avoid,
        departure=departure,
    ).serve()


if __name__ == "__main__":
    main()
