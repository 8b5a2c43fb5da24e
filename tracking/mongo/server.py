"""A MongoDB of our own, for those who have none: on this machine only, behind a password."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pymongo
import yaml
from pymongo.errors import OperationFailure, PyMongoError

from errors import ConfigError, EsError, ResourceExhausted, ServiceUnavailable
from tracking.mongo.mongod_binary import mongod_binary
from tracking.mongo.tied_process import TiedProcess

USER = "es"
DATABASE = "sacred"
HOST = "127.0.0.1"

_START_S = 120.0
_STOP_S = 20.0
_ASK_MS = 2000
_LOOK_EVERY_S = 0.02
_CACHE_GB = 0.25
_ATTEMPTS = 3
_TAKEN = 48
_PREFIX = "es-mongo-"
_LOCK = "lock"
_SETTINGS = "mongod.yml"
_NEW_USER_ROLES = ["readWriteAnyDatabase", "dbAdminAnyDatabase"]
_CODES = {
    -4: "this processor lacks AVX, which MongoDB 5 and later need",
    _TAKEN: "its port is taken",
    62: "its data was written by another version of MongoDB",
    100: "its data folder is used by another mongod, or cannot be written",
}


class MongoServer:
    """A running mongod, stopped by `stop`, by leaving the context, or by our death.

    At the first start in a folder the user ``es`` is made, who may read and write every database
    and nothing else, with a password that is drawn then. Until that is done nothing but a socket
    in a folder of ours leads in.

    Args:
        folder: of the data, made where it is missing, readable by us only; ``None``: a
            temporary one, removed at the end.
        port: of 127.0.0.1; ``None``: any that is free.

    Attributes:
        port: it listens here.
        url: of the database ``sacred`` with the user's name, without the password.
        password: of the user.
        password_file: holds the password in the data folder, readable by us only; stays.

    Raises:
        ConfigError: the folder cannot be used.
        ServiceUnavailable: there is no mongod here, or it does not start.
        ResourceExhausted: the port is taken, or another mongod has the folder.
    """

    def __init__(self, folder: Path | None = None, port: int | None = None) -> None:
        self._binary = mongod_binary()
        self._temporary = folder is None
        self.folder = _private_folder(folder)
        self.port = 0
        self.password_file = self.folder / "password"
        self._process: TiedProcess | None = None
        self._lock = (self.folder / _LOCK).open("w")
        try:
            self._claim()
            if not self.password_file.exists():
                self._make_user()
            self.password = self.password_file.read_text()
            self._listen(port)
            with self.client() as client:
                client[DATABASE].list_collection_names()
        except PyMongoError as error:
            self.stop()
            raise ServiceUnavailable(
                f"mongod in {self.folder} does not take the password of {self.password_file} "
                f"({_first_line(error)}): remove the folder to begin with an empty one"
            ) from None
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """``mongodb://es@127.0.0.1:PORT/sacred?authSource=admin``."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """As ``url``, of another database."""
        return f"mongodb://{USER}@{HOST}:{self.port}/{database}?authSource=admin"

    @property
    def url_with_password(self) -> str:
        """As ``url``, for what cannot be told the password otherwise; never for a command line."""
        return self.url.replace(f"{USER}@", f"{USER}:{quote(self.password)}@", 1)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running.pid

    def client(self, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        """A client that is logged in; ``options`` are pymongo's."""
        return _client(self.url, **({"password": self.password} | options))

    def stop(self) -> None:
        """End the server, all written; remove a temporary folder. May be called twice."""
        if self._process is not None:
            self._process.stop(_STOP_S)
        self._lock.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server as a power cut would; its data stays, for a next one in this folder."""
        self._running.kill()
        self._lock.close()

    def poll(self) -> int | None:
        """The exit code of a server that has ended, by itself or not; ``None`` while it runs."""
        return self._running.poll()

    @property
    def _running(self) -> TiedProcess:
        assert self._process is not None
        return self._process

    def __enter__(self) -> MongoServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _claim(self) -> None:
        """One server a folder: a second one would write over the first one's log and settings."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResourceExhausted(
                f"{self.folder} is in use by another mongod of ours: end that one, "
                "or give another folder"
            ) from None

    def _make_user(self) -> None:
        """On a server that is reached by a socket in a private folder only.

        Whoever comes first to a mongod without users may make the first one.
        """
        # A socket's path may be 107 bytes long, and a data folder's own may be longer.
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_short_folder()) as private:
            path = Path(private, "s.sock")
            self._start({"bindIp": str(path), "unixDomainSocket": {"enabled": True}}, path)
            # Kept before it holds, and tried if a start was killed just after it did.
            kept = self.password_file.with_suffix(".new")
            if not kept.exists():
                _write_private(kept, secrets.token_urlsafe(24))
            password = kept.read_text()
            url = f"mongodb://{quote(str(path), safe='')}"
            with _client(url) as client:
                try:
                    client.admin.command("createUser", USER, pwd=password, roles=_NEW_USER_ROLES)
                except OperationFailure:
                    with _client(url, username=USER, password=password) as again:
                        again[DATABASE].list_collection_names()
            kept.replace(self.password_file)
            self._running.stop(_STOP_S)

    def _listen(self, port: int | None) -> None:
        """Start for good; at a port that was free, and is not any more, another one is tried."""
        for attempt in range(_ATTEMPTS):
            self.port = _free_port(port)
            try:
                self._start(
                    {"bindIp": HOST, "port": self.port, "unixDomainSocket": {"enabled": False}}
                )
                return
            except ResourceExhausted:
                taken = self._running.poll() == _TAKEN
                if port is not None or not taken or attempt == _ATTEMPTS - 1:
                    raise

    def _start(self, net: dict[str, Any], socket_path: Path | None = None) -> None:
        settings = {
            "storage": {
                "dbPath": str(self.folder),
                "wiredTiger": {"engineConfig": {"cacheSizeGB": _CACHE_GB}},
            },
            "systemLog": {"destination": "file", "path": str(self._log), "logAppend": False},
            "net": net,
            "security": {"authorization": "enabled"},
            # Once a second, day and night, it would measure itself.
            "setParameter": {"diagnosticDataCollectionEnabled": False},
        }
        config = self.folder / _SETTINGS
        config.write_text(yaml.safe_dump(settings))
        self._log.unlink(missing_ok=True)
        with (self.folder / "mongod.out").open("wb") as output:
            self._process = TiedProcess([self._binary, "--config", config], self.folder, output)
        self._wait_until_up(socket_path)

    def _wait_until_up(self, socket_path: Path | None) -> None:
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s:
            if self._running.poll() is not None:
                raise self._did_not_start()
            if _listens(socket_path or (HOST, self.port)):
                return
            time.sleep(_LOOK_EVERY_S)
        raise self._did_not_start()

    @property
    def _log(self) -> Path:
        return self.folder / "mongod.log"

    def _did_not_start(self) -> EsError:
        code = self._running.poll()
        said = _CODES.get(code or 0) or _last_complaint(self._log, self.folder / "mongod.out")
        kind = ResourceExhausted if code in (_TAKEN, 100) else ServiceUnavailable
        at = f" at port {self.port}" if self.port else ""
        return kind(
            f"mongod in {self.folder} did not start{at} ({said}): "
            "mend that, or give another folder or port"
        )


def _client(url: str, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(url, **({"serverSelectionTimeoutMS": _ASK_MS} | options))


def _private_folder(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if names - {_LOCK} and _SETTINGS not in names:
            raise ConfigError(f"{folder} holds other things: give an empty folder, or a new one")
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot hold a database ({error.strerror or error}): give another folder"
        ) from None
    return folder


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise ResourceExhausted(
                    f"port {port} of {HOST} is taken: stop what listens there, or choose another"
                ) from None
            raise ConfigError(
                f"port {port} cannot be had: expected a free one, 1024 to 65535"
            ) from None
        return int(probe.getsockname()[1])


def _listens(address: Path | tuple[str, int]) -> bool:
    if isinstance(address, Path):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(address)) == 0
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def _short_folder() -> str:
    standard = tempfile.gettempdir()
    return standard if len(standard) < 60 else "/tmp"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _last_complaint(log: Path, output: Path) -> str:
    """The last line that mongod calls an error or fatal; else the last that it printed."""
    said = ""
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("s") in ("E", "F"):
            said = str(entry.get("attr", {}).get("error") or entry.get("msg"))
    printed = output.read_text(errors="replace").strip().splitlines()
    return said or (printed[-1] if printed else f"see {log}")
