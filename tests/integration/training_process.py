"""``python es/experiment.py``, or another such command, as people run it, watched from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
WORLDS = Path(__file__).parent / "include"
PATIENCE_S = 110.0


class TrainingProcess:
    """One command with its own runs_dir; a context manager that leaves nothing running."""

    def __init__(self, runs_dir: Path, *words: str, script: str = "es/experiment.py") -> None:
        self.runs_dir = runs_dir
        command = [sys.executable, str(ROOT / script), "with", *words]
        self.process = subprocess.Popen(
            [*command, f"runs_dir={runs_dir}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.output = ""

    def wait_for(self, text: str) -> None:
        """Read until ``text`` has been printed."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        raise AssertionError(f"{text!r} never came:\n{self.output}")

    def finish(self) -> int:
        """Read to the end; the exit code."""
        self.output += self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode

    def family(self) -> list[psutil.Process]:
        """Every process that this one started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        return [p for p in self.family() if "fleet.machine.child" in p.cmdline()]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            for process in self.family():
                process.kill()
            self.process.kill()
        self.process.communicate()


def train(runs_dir: Path, *words: str, script: str = "es/experiment.py") -> dict[str, Any]:
    """Run a command to its end; its result."""
    with TrainingProcess(runs_dir, *words, script=script) as running:
        code = running.finish()
        assert code == 0, running.output
        last = running.output.splitlines()[-1]
        match = re.fullmatch(r"run (\d+) done: .*theta_sha256=([0-9a-f]{64})", last)
        assert match is not None, last
    result: dict[str, Any] = json.loads((runs_dir / match[1] / "run.json").read_text())["result"]
    assert result["theta_sha256"] == match[2]
    return result


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of ``processes`` end within the patience."""
    deadline_s = time.monotonic() + 20.0
    while time.monotonic() < deadline_s:
        if not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
            return True
        time.sleep(0.05)
    return False
