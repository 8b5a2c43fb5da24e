"""The dashboard's command as a user has it in a terminal."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 300.0


@dataclass
class Dashboard:
    """``python -m tracking.dashboard``, told what it has printed."""

    process: subprocess.Popen[str]
    said: str
    folder: Path
    port: int
    omniboard_port: int

    @property
    def url(self) -> str:
        found = re.search(r"^Omniboard +(\S+)$", self.said, re.MULTILINE)
        assert found is not None
        return found[1]

    @property
    def exported(self) -> dict[str, str]:
        """What it tells people to say in the terminals of their runs."""
        words = (shlex.split(line) for line in self.said.splitlines() if " export " in line)
        return dict(assignment.split("=", 1) for _, assignment in words)

    @property
    def processes(self) -> list[psutil.Process]:
        """The command itself and what it has started."""
        command = psutil.Process(self.process.pid)
        return [command, *command.children(recursive=True)]

    def end(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def rest(self) -> str:
        """What it still prints until it ends."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.end(signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_dashboard(folder: Path, *options: str) -> Dashboard:
    ports = free_port(), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tracking.dashboard", "--folder", str(folder)),
            *("--port", str(ports[0]), "--omniboard_port", str(ports[1]), *options),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            return Dashboard(process, said, folder, *ports)
    process.wait()
    process.stdout.close()
    pytest.fail(said)
