"""A program that a machine runs, which does not outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fleet.parent import dying_with

ROOT = Path(__file__).resolve().parents[2]
"""Where our commands are."""

_STEERING = ("ES_REDIS_", "ES_MONGO_", "ES_MIRROR_", "ES_NOTIFY_")
_ABOUT_THE_MACHINE = "ES_REDIS_SERVER"


class ChildProcess:
    """A program in our process group; what it says goes where ours does.

    Args:
        name: for people.
        command: argv; nothing secret.
        environment: added to ours, from which what steers our own commands is blotted out.
        cwd: where it runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(_STEERING) or key == _ABOUT_THE_MACHINE
        }
        self._process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            preexec_fn=dying_with(os.getpid()),
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code as `subprocess` has it; None: it is at work."""
        return self._process.poll()

    def stop(self, patience_s: float) -> int:
        """Ask it to end, kill it after ``patience_s``; its exit code. May be called twice."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()


def python(script: str, *words: str) -> list[str]:
    """The command line of one of our commands, such as ``es/head.py``."""
    return [sys.executable, str(ROOT / script), *words]


def in_words(code: int) -> str:
    """An exit code for people."""
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
