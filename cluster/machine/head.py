"""A cluster's head: ``python -m cluster.machine.head machine.json``.

Serves Redis, says where (head.json), and runs the experiment: a new one, or the one that is in the
store, or on this machine, already. The run is kept in the store as it goes. When it has ended, so
do the machines, unless they are to be kept.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

import msgspec

from cluster.machine.child_process import ChildProcess, in_words
from cluster.machine.experiment_command import experiment_command
from cluster.machine.head_redis import HeadRedis
from cluster.machine.machine_program import TICK_S, Stop, await_spec, run_program, say
from cluster.machine.platform import MachineSettings, Platform
from cluster.machine.reporter import Reporter
from cluster.machine.run_files import download_run, resumable_runs, stored_runs
from cluster.machine.run_progress import is_resumable, newest_run, progress_of
from cluster.spec import ClusterSpec
from cluster.store import ENDED_KEY, HEAD_KEY, PROGRESS_KEY, RUNS_PREFIX, Ended, Why
from errors import EsError, ResourceExhausted, ServiceUnavailable

CHECKPOINT_S = 40.0
"""An experiment writes its snapshot, then waits 10 s for its notices and 11 s for MongoDB, where
both may be dead."""
UPLOAD_S = 45.0
"""With Redis' own end all of this fits into the service's TimeoutStopSec, and into what a local
cluster waits."""
_LAST_UPLOAD_S = 600.0
_MOST_FAILURES = 5
_STEADY_S = 600.0
_AGAIN_S = 5.0
_GONE_S = 60.0
_SECRETS = {"mongo-url": "ES_MONGO_URL", "notify-url": "ES_NOTIFY_URL"}
"""Of the user's own: by what name the experiment is given each."""
# Of an experiment that may well go on: its Redis was away, or somebody stopped it.
_PASSING = (ServiceUnavailable.exit_code, 128 + signal.SIGINT, 128 + signal.SIGTERM)


class Head:
    """The head's service.

    Args:
        settings: this machine's.
        platform: who provides it.
        spec: the cluster's.
        stop: asked for from outside.
    """

    def __init__(
        self, settings: MachineSettings, platform: Platform, spec: ClusterSpec, stop: Stop
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._spec = spec
        self._stop = stop
        self._runs_dir = Path(settings.work_dir) / "runs"

    def run(self) -> int:
        """Serve until the machine ends, or is asked to; the exit code.

        Raises:
            ServiceUnavailable: the store cannot be reached.
        """
        data = self._platform.store.get(ENDED_KEY)
        if data is not None:
            ended = msgspec.json.decode(data, type=Ended)
            say(f"the run has ended already: {ended.why}")
            return self._after(ended)
        try:
            server = HeadRedis(self._settings, self._platform, lambda: bool(self._stop))
        except ResourceExhausted as error:
            return 0 if self._stop else self._after(self._end("failed", None, str(error)))
        with server:
            self._platform.store.put(HEAD_KEY, msgspec.json.encode(server.address))
            say(f"Redis at {server.url}")
            now_ended = self._train(server)
            return 0 if now_ended is None else self._after(now_ended, server)

    def _train(self, server: HeadRedis) -> Ended | None:
        """One session of the experiment after the other; None: asked to stop, or superseded."""
        failures = 0
        while (why := self._limit(None)) is None:
            began_s = time.monotonic()
            why, code = self._session(server)
            if why is None:
                return None
            if why != "failed" or code is None or not (code in _PASSING or code < 0):
                break
            failures = 1 if time.monotonic() - began_s > _STEADY_S else failures + 1
            if failures == _MOST_FAILURES:
                break
            say(f"the experiment {in_words(code)}; going on with it")
            if self._stop.wait(_AGAIN_S):
                return None
        else:
            code = None
        return self._end(why, code, f"the experiment {in_words(code)}" if code else "")

    def _session(self, server: HeadRedis) -> tuple[Why | None, int | None]:
        """Run the experiment, from where it stands, with the store kept up to date.

        Returns:
            How it ended, None where it is not for us to go on; its exit code if it came so far.
        """
        resume = self._restored()
        say("a new run" if resume is None else f"going on with run {resume}")
        command = experiment_command(
            self._spec,
            runs_dir=self._runs_dir,
            redis_url=server.url,
            include=self._settings.include,
            resume=resume,
        )
        given = {variable: self._platform.secret(name) for name, variable in _SECRETS.items()}
        environment = server.environment | {name: url for name, url in given.items() if url}
        reporter = Reporter(self._platform, self._runs_dir, server.address, self._spec.budget_usd)
        child = ChildProcess("experiment", command, environment)
        reporter.start()
        try:
            why, code = self._watch(child, server, reporter)
        finally:
            child.stop(CHECKPOINT_S)
            # A machine that is taken away, or that its owner stops, has no more time than this.
            if not reporter.finish(UPLOAD_S if self._stop else _LAST_UPLOAD_S):
                say("the store could not be reached: what the run did last is on this machine only")
        return why, code

    def _watch(
        self, child: ChildProcess, server: HeadRedis, reporter: Reporter
    ) -> tuple[Why | None, int | None]:
        while (code := child.poll()) is None:
            server.tend()
            if self._stop:
                say("asked to stop: the run is checkpointed, and kept in the store")
                return None, None
            if reporter.is_superseded:
                say("another head has taken over")
                return None, None
            if (limit := self._limit(reporter.usd)) is not None:
                say(f"{limit} reached: the run is checkpointed, and ends")
                return limit, None
            time.sleep(TICK_S)
        # Who stops all processes of a machine at once stops us too.
        if code and self._stop.wait(1.0):
            return None, None
        return ("failed" if code else "completed"), code

    def _restored(self) -> int | None:
        """The run to go on with, on this machine from now on; None: a new one."""
        here = newest_run(self._runs_dir)
        if here is not None and is_resumable(here):
            return int(here.name)
        store = self._platform.store
        there = resumable_runs(store)
        if there:
            directory = self._runs_dir / str(there[-1])
            shutil.rmtree(directory, ignore_errors=True)
            download_run(store, there[-1], directory)
            say(f"run {there[-1]} is in the store")
            return there[-1]
        # What ended before its first snapshot is nothing to anybody.
        for run_id in stored_runs(store):
            store.delete(f"{RUNS_PREFIX}{run_id}/")
        shutil.rmtree(self._runs_dir, ignore_errors=True)
        return None

    def _limit(self, usd: float | None) -> Why | None:
        if time.time() >= self._spec.ends_s:
            return "max_hours"
        budget_usd = self._spec.budget_usd
        is_used = usd is not None and budget_usd is not None and usd >= budget_usd
        return "budget" if is_used else None

    def _end(self, why: Why, code: int | None, note: str) -> Ended:
        ended = Ended(time_s=time.time(), why=why, exit_code=code, note=note)
        self._platform.store.put(ENDED_KEY, msgspec.json.encode(ended))
        say(f"the run has ended: {why}{f' ({note})' if note else ''}")
        return ended

    def _after(self, ended: Ended, server: HeadRedis | None = None) -> int:
        """The machines' end, at once or when they have been kept long enough."""
        if self._spec.keep and ended.why in ("completed", "failed"):
            self._keep(server)
        while not self._stop:
            for end in (self._platform.end_workers, lambda: self._platform.end_machine(ended.why)):
                try:
                    end()
                except EsError as error:
                    say(f"{error}; trying again")
            self._stop.wait(_GONE_S)
        return 0

    def _keep(self, server: HeadRedis | None) -> None:
        say("the machines are kept (--keep)")
        usd, asked_s = None, float("-inf")
        while not self._stop and self._limit(usd) is None:
            if server is not None:
                server.tend()
            if time.monotonic() - asked_s >= _GONE_S:
                asked_s = time.monotonic()
                usd = self._reported()
            time.sleep(TICK_S)

    def _reported(self) -> float | None:
        try:
            usd = self._platform.usd_so_far()
            progress = progress_of(newest_run(self._runs_dir), usd)
            self._platform.store.put(PROGRESS_KEY, msgspec.json.encode(progress))
        except EsError as error:
            say(f"{error}; trying again")
            return None
        return usd


def _body(settings: MachineSettings, platform: Platform, stop: Stop) -> int:
    spec = await_spec(platform.store, stop)
    return 0 if spec is None else Head(settings, platform, spec, stop).run()


if __name__ == "__main__":
    sys.exit(run_program(sys.argv, _body))
