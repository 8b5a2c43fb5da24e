"""Our commands as somebody types them who has no settings of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from real_fleet import DEADLINE_S

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """Runs our commands in a folder, which holds whatever they keep, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "settings"),
        }

    def run(
        self, *words: str, password: str | None = None, timeout_s: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(words),
            env=self.with_password(password),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @contextmanager
    def start(self, *words: str, password: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A command that stays; its output goes to the file ``log`` in the folder."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(words),
                env=self.with_password(password),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 0

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def with_password(self, password: str | None) -> dict[str, str]:
        return {**self.environment, **({"ES_REDIS_PASSWORD": password} if password else {})}

    def command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(ROOT / "es" / f"{words[0]}.py"), *words[1:]]


def refused(finished: subprocess.CompletedProcess[str], exit_code: int) -> str:
    """The one line that a refused command says."""
    assert "Traceback" not in finished.stderr
    assert finished.returncode == exit_code, finished.stderr
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line
