"""What tests of machines share: a head's Redis, and ``python es/worker.py`` as a user types it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from real_fleet import DEADLINE_S, INCLUDE, expected, experiment_of

from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from fleet.server.redis_server import RedisServer
from search.messages import Experiment, Generation, GuardSpec
from search.noise import NoiseTable, open_table

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A command of ours that runs, and everything that it has started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def family(self) -> list[psutil.Process]:
        try:
            return list(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def those(self, what: str) -> list[psutil.Process]:
        """Its processes: ``relay``, ``mirror`` or ``child``."""
        modules = {"relay": "fleet.relay.process", "child": "fleet.machine.child"}
        found = []
        for process in self.family:
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if "-m" not in line if what == "mirror" else modules[what] in line:
                found.append(process)
        return found

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(DEADLINE_S)


class Site:
    """A head's Redis, a noise table, and machines."""

    def __init__(
        self, folder: Path, runtime: Path, noise: NoiseTable, server: RedisServer, port: int
    ) -> None:
        self.folder, self.runtime = folder, runtime
        self.noise, self.server, self.port = noise, server, port

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Site]:
        """One with nothing on it, in ``folder`` but for what must have a short path."""
        port = free_port()
        with (
            tempfile.TemporaryDirectory(prefix="es-t", dir="/tmp") as runtime,
            open_table(1, 10_000, folder) as noise,
            RedisServer(port) as server,
        ):
            yield cls(folder, Path(runtime), noise, server, port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def words(self, num_workers: int = 2) -> list[str]:
        """The command that makes a machine part of this fleet."""
        return [
            "workers",
            "--master_host=127.0.0.1",
            f"--master_port={self.port}",
            f"--num_workers={num_workers}",
            *self.folders,
        ]

    @property
    def folders(self) -> list[str]:
        return [f"--include={INCLUDE}", f"--noise_dir={self.folder}"]

    @contextmanager
    def machine(self, *words: str, **environment: str) -> Iterator[Machine]:
        with started(self, words or self.words(), environment) as machine:
            yield machine

    @contextmanager
    def pool(self, experiment: Experiment) -> Iterator[tuple[RedisPool, Client]]:
        with connect(self.url) as client:
            pool = RedisPool(client, experiment)
            try:
                yield pool, client
            finally:
                pool.shutdown()

    def experiment(
        self, env: str = "trouble:Trouble-v0", guard: GuardSpec | None = None, **options: Any
    ) -> Experiment:
        options.setdefault("folder", str(self.folder))
        return experiment_of(self.noise.spec, guard, env, **options)

    def wanted(self, experiment: Experiment, generation: Generation) -> dict[int, Any]:
        return expected(experiment, generation, self.noise)


@contextmanager
def started(
    site: Site, words: tuple[str, ...] | list[str], environment: dict[str, str]
) -> Iterator[Machine]:
    """``python es/worker.py`` with these words; ended, and with it all that it started."""
    number = len(list(site.folder.glob("machine-*.log")))
    log = site.folder / f"machine-{number}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "es" / "worker.py"), *words],
            env={**os.environ, "XDG_RUNTIME_DIR": str(site.runtime), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=site.folder,
            start_new_session=True,
        )
    machine = Machine(process, log)
    try:
        yield machine
    finally:
        if process.poll() is None:
            family = machine.family
            machine.end()
            _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
            assert not alive
        process.wait()


def once(condition: Callable[[], Any], act: Callable[[Any], None]) -> Callable[[Any], None]:
    """For `real_fleet.collect`: do ``act`` on what ``condition`` gives when first it is true."""
    done: list[Any] = []

    def look(_answers: Any) -> None:
        if not done and (found := condition()):
            done.append(found)
            act(found)

    return look
