"""A machine of the fleet, as an operator keeps it: its command is started again when it ends."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from own_processes import Mark, by_kind

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = Path(__file__).resolve().parent / "include"
_STOP_S = 20.0


class Command:
    """One of ``python es/worker.py``, started again for as long as one looks after it.

    Args:
        log: file for what it says.
        mark: of the test.
        words: what follows.
        prefix: what to put before the command, to run it in a network of its own, say.
        environment: beside the usual one.
        rng: how long it takes to be started again.
    """

    def __init__(
        self,
        log: Path,
        mark: Mark,
        *words: str,
        prefix: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._log = log
        self._words = [*prefix, sys.executable, str(ROOT / "es" / "worker.py"), *words]
        self._environment = {**mark.environment, **(environment or {})}
        self._rng = rng or random.Random(0)
        self._start_at_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def tend(self) -> None:
        """Start what is not there; call it several times a second."""
        if self.process is not None and self.process.poll() is not None:
            self.process = None
            self._start_at_s = time.monotonic() + self._rng.uniform(0.0, 1.0)
        if self.process is None and time.monotonic() >= self._start_at_s:
            self.starts += 1
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    self._words,
                    env=self._environment,
                    cwd=self._log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    def family(self) -> dict[str, list[psutil.Process]]:
        """Its processes by kind, as `fault_count.KILLS` has them."""
        if self.process is None or self.process.poll() is not None:
            return {"worker": [], "relay": [], "local redis": [], "supervisor": []}
        own = psutil.Process(self.process.pid)
        return {**by_kind(self.process.pid), "supervisor": [own]}

    def stop(self) -> int:
        """Ask it to leave; its exit code, or minus the signal that was needed."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code


class Machine(Command):
    """``workers`` (with a relay) or ``start-workers`` (without).

    Args:
        upstream_url: where its work comes from.
        log, mark: see `Command`, as for ``rng``.
        num_workers: children.
        is_relayed: whether it has a relay and a Redis of its own.
        noise_dir: folder of the noise table, where it is not the usual one.
    """

    def __init__(
        self,
        upstream_url: str,
        log: Path,
        mark: Mark,
        *,
        num_workers: int = 2,
        is_relayed: bool = True,
        noise_dir: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        # A unix socket's path may be 107 bytes long: a test's own folder is too deep.
        self._folder = Path(tempfile.mkdtemp(prefix="es-chaos-"))
        if is_relayed:
            words = ["workers", f"--master_host={upstream_url}"]
            words += [f"--relay_socket_path={self.socket}"]
        else:
            words = ["start-workers", f"--redis_url={upstream_url}"]
        words += [f"--num_workers={num_workers}", f"--include={INCLUDE}"]
        if noise_dir is not None:
            words.append(f"--noise_dir={noise_dir}")
        super().__init__(log, mark, *words, rng=rng)

    @property
    def socket(self) -> Path:
        """Of its own Redis, where it has one."""
        return self._folder / "redis.sock"

    def stop(self) -> int:
        """See `Command.stop`."""
        code = super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        return code


@contextmanager
def kept(*commands: Command) -> Iterator[None]:
    """Start each again whenever it is gone; ask them to leave in the end, the last one first."""
    over = threading.Event()

    def tend() -> None:
        while not over.wait(0.05):
            for command in commands:
                command.tend()

    thread = threading.Thread(target=tend)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for command in reversed(commands):
            command.stop()
