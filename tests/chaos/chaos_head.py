"""The real command, started again with ``resume=`` whenever it has been killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from chaos_machine import INCLUDE, ROOT
from own_processes import Mark

from errors import ServiceUnavailable

PATIENCE_S = 60.0
SLOW = (
    "env_name=slow_world:SlowWorld-v0",
    f"include={INCLUDE}",
    "network=linear",
    "pop_size=12",
    "validation_episodes=2",
    "final_episodes=2",
    "rollout_timeout_s=10",
    "seed=5",
)


def reference(runs_dir: Path, mark: Mark, *words: str) -> dict[str, Any]:
    """The result of the same run in one process, where nobody sleeps and nothing breaks."""
    head = Head(runs_dir, mark, *words, "pool=serial", "env_options={'pace': 0.0}")
    head.start()
    return head.result()


class Head:
    """One run over all the processes that work on it.

    Args:
        runs_dir: of this run alone: its id is 1.
        mark: of the test.
        words: after ``with``.
        environment: beside the usual one; may be changed for the next start.
    """

    def __init__(
        self, runs_dir: Path, mark: Mark, *words: str, environment: dict[str, str] | None = None
    ) -> None:
        runs_dir.mkdir(parents=True, exist_ok=True)
        self.runs_dir = runs_dir
        self._log = runs_dir / "head.log"
        self._mark = mark
        self.environment = environment or {}
        self._words = words
        self._again: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self, *words: str) -> None:
        """Begin the run or, where there is one, go on with it; ``words`` hold from now on."""
        resumed = ["resume=1"] if self.is_resumable else []
        self._again = (*self._again, *words)
        command = [sys.executable, str(ROOT / "es" / "experiment.py"), "with"]
        command += [*self._words, *self._again, *resumed, f"runs_dir={self.runs_dir}"]
        self.starts += 1
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self._mark.environment, **self.environment},
                stdout=log,
                stderr=log,
            )

    def tend(self) -> bool:
        """Start it again where it was killed or found no Redis; whether the run is done."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            return False
        if code == 0:
            return True
        assert code in (-signal.SIGKILL, ServiceUnavailable.exit_code), self.output[-3000:]
        self.start()
        return False

    def kill(self) -> bool:
        """By SIGKILL; whether it was there and can be resumed."""
        if self.process is None or self.process.poll() is not None or not self.is_resumable:
            return False
        self.process.kill()
        self.process.wait()
        return True

    def end(self) -> None:
        """Let nothing of it be left, however it stands."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def is_resumable(self) -> bool:
        """Whether a generation has been told: a run without one is begun anew."""
        return self.told > 0

    @property
    def told(self) -> int:
        """Generations that are complete."""
        path = self.runs_dir / "1" / "metrics.jsonl"
        if not path.exists():
            return 0
        lines = [line for line in path.read_text().split("\n")[:-1] if line]
        return int(json.loads(lines[-1])["generation"]) + 1 if lines else 0

    @property
    def output(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    def result(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for its end, which has to be a good one; the run's result."""
        assert self.process is not None
        code = self.process.wait(patience_s)
        assert code == 0, self.output[-3000:]
        last = self.output.splitlines()[-1]
        match = re.fullmatch(r"run 1 done: .*theta_sha256=([0-9a-f]{64})", last)
        assert match is not None, last
        result: dict[str, Any] = json.loads((self.runs_dir / "1" / "run.json").read_text())[
            "result"
        ]
        assert result["theta_sha256"] == match[1]
        return result
