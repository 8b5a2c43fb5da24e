"""MongoDB and Omniboard on this machine, kept up together."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from shlex import quote
from typing import NoReturn

from errors import ConfigError, ResourceExhausted, ServiceUnavailable
from tracking.mongo.omniboard import LOG, Omniboard, omniboard_command
from tracking.mongo.place import PASSWORD_FILE_VARIABLE, URL_VARIABLE, url_file
from tracking.mongo.server import HOST, MongoServer

_LOOK_EVERY_S = 0.5
_INDENT = " " * 11


class Dashboard:
    """A MongoDB and an Omniboard that shows it.

    Args:
        folder: of the data.
        port: of MongoDB; ``omniboard_port``: of Omniboard; both on 127.0.0.1.

    Raises:
        EsError: either does not start; then neither runs.
    """

    def __init__(self, folder: Path, port: int, omniboard_port: int) -> None:
        omniboard_command()  # before a MongoDB is started that nobody could look into
        _check_free(omniboard_port)
        self._port = omniboard_port
        self.server = MongoServer(folder, port)
        try:
            self._log.unlink(missing_ok=True)
            self.omniboard = self._show()
        except BaseException:
            self.server.stop()
            raise

    def watch(self) -> NoReturn:
        """Start Omniboard anew where it ends by itself, until somebody interrupts this.

        Omniboard ends at the first file that it cannot find any more.

        Raises:
            ServiceUnavailable: MongoDB has ended, or Omniboard does not start again.
        """
        while True:
            time.sleep(_LOOK_EVERY_S)
            if self.server.poll() is not None:
                raise ServiceUnavailable(
                    f"mongod has ended (code {self.server.poll()}): see "
                    f"{self.server.folder / 'mongod.log'}, and start this again"
                )
            if self.omniboard.poll() is not None:
                self.omniboard = self._show()
                print(f"Omniboard had ended and was started anew: see {self._log}", flush=True)

    def stop(self) -> None:
        """End both. May be called twice."""
        self.omniboard.stop()
        self.server.stop()

    @property
    def _log(self) -> Path:
        return self.server.folder / LOG

    def _show(self) -> Omniboard:
        return Omniboard(self.server.url_with_password, self._port, self.server.folder)


def described(dashboard: Dashboard, remembered: Path | None) -> str:
    """Where it is and how runs get there, for people.

    Args:
        dashboard: that runs.
        remembered: the file that leads every run of this user there; ``None``: none does.
    """
    server = dashboard.server
    lines = [
        f"Omniboard  {dashboard.omniboard.url}",
        f"MongoDB    {HOST}:{server.port}, its data in {server.folder}",
    ]
    if remembered is not None:
        lines += [f"Runs       yours are recorded there from now on: {remembered} says so"]
    else:
        lines += [
            "Runs       are recorded there from terminals in which you say",
            f"{_INDENT}export {URL_VARIABLE}={quote(server.url)}",
            f"{_INDENT}export {PASSWORD_FILE_VARIABLE}={quote(str(server.password_file))}",
            f"{_INDENT}or all of them from now on: start this with --remember",
        ]
    lines += [
        f"{_INDENT}those that are over: python -m tracking.sync RUN",
        "Ctrl-C ends both; what was recorded stays",
    ]
    return "\n".join(lines)


def remember(server: MongoServer) -> Path:
    """Have every run of this user recorded in ``server``: write the file that they look into.

    Raises:
        ConfigError: it names another MongoDB, or cannot be written.
    """
    path, url = url_file(), server.url_with_password
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.read_text().strip() == url:
                return path
            raise ConfigError(
                f"{path} names another MongoDB: remove it first, or start without --remember"
            ) from None
        with os.fdopen(number, "w") as file:
            file.write(url + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from None
    return path


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            raise ResourceExhausted(
                f"port {port} of {HOST} cannot be had: stop what listens there, or choose another "
                "with --omniboard_port"
            ) from None
