"""Omniboard on a database of Sacred's: pages that show runs, on this machine only."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import TracebackType

from errors import ConfigError, ServiceUnavailable
from tracking.mongo.tied_process import TiedProcess

FOLDER = Path(__file__).resolve().parents[2] / "sacred"
"""Holds the preload and, once installed, the package."""

_START_S = 120.0
_STOP_S = 5.0
_LOOK_EVERY_S = 0.05
_INHERITED = ("PATH", "HOME", "LANG", "TZ")
LOG = "omniboard.log"
_UP = ("Omniboard is listening", "established successfully")


class Omniboard:
    """A running Omniboard, stopped by `stop`, by leaving the context, or by our death.

    Args:
        mongo_url: of the database, with user and password; handed over where only this user can
            read it, never in argv.
        port: of 127.0.0.1.
        log_folder: its log ``omniboard.log`` goes there, after what is there.

    Attributes:
        url: to be opened in a browser.

    Raises:
        ServiceUnavailable: node or the package are missing, or it does not start.
        ConfigError: the log cannot be written.
    """

    def __init__(self, mongo_url: str, port: int, log_folder: Path) -> None:
        self.url = f"http://localhost:{port}/sacred"
        self._log = log_folder / LOG
        self._port = port
        command = omniboard_command()
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= {"MONGO_URI": mongo_url, "PORT": str(port)}
        try:
            with self._log.open("ab") as output:
                self._before = output.tell()
                self._process = TiedProcess(command, log_folder, output, environment)
        except OSError as error:
            raise ConfigError(
                f"{self._log} cannot be written ({error.strerror}): give another folder"
            ) from None
        try:
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, if it has ended by itself; ``None`` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it. May be called twice."""
        self._process.stop(_STOP_S)

    def __enter__(self) -> Omniboard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            said = self._said()
            if all(words in said for words in _UP):
                return
            time.sleep(_LOOK_EVERY_S)
        last = self._said().strip().splitlines()[-1:] or ["no word"]
        raise ServiceUnavailable(
            f"Omniboard did not start at port {self._port} ({last[0]}): see {self._log}"
        )

    def _said(self) -> str:
        return self._log.read_bytes()[self._before :].decode(errors="replace")


def omniboard_command() -> list[str | Path]:
    """What starts it, without the settings that its environment holds.

    Raises:
        ServiceUnavailable: node or the package are missing.
    """
    node = shutil.which("node")
    if node is None:
        raise ServiceUnavailable(
            "Omniboard needs Node 18 or newer with npm: apt-get install nodejs npm"
        )
    start = FOLDER / "node_modules" / "omniboard" / "dist" / "start.js"
    if not start.exists():
        raise ServiceUnavailable("Omniboard is not installed: run `make dashboard`")
    return [node, "--require", FOLDER / "loopback.cjs", start]
