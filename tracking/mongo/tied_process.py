"""A program that is not ours and ends when we do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from fleet.parent import dying_with


class TiedProcess:
    """A running program: ended by `stop`, or by the death of the thread that started it (Linux).

    Args:
        command: program and arguments; any user of the machine can read them.
        folder: where it runs.
        output: what it prints goes here.
        environment: all of what it inherits; ``None``: ours.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        output: IO[bytes],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            # Ctrl-C is for us: we end it when whoever needs it is done.
            start_new_session=True,
            preexec_fn=dying_with(os.getpid()),
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; ``None`` while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code; ``None`` if it still runs after ``timeout_s``."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, patience_s: float) -> None:
        """End it: politely, and after ``patience_s`` for sure. May be called twice."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            if self.wait(patience_s) is None:
                self.kill()

    def kill(self) -> None:
        """End it as a power cut would, and reap it."""
        if self.poll() is None:
            self._process.kill()
        self._process.wait()
