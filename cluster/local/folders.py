"""Where a cluster of this machine keeps what it is made of.

::

    ~/.walking-es/clusters/KEY/       0700; WALKING_ES_HOME names another folder than ~/.walking-es
        store/                        what its machines share; see `cluster.store`
        secrets/NAME                  0600
        source/  include/             our code and the user's folder, unpacked
        wanted.json                   how many worker machines there are to be
        launched                      there when launch came to its end
        lock                          held by who changes it
        machines/head/                and worker-0, worker-1, ...
            machine.json              MachineSettings
            leader.json               its first process
            log                       what it says
            work/                     its own files
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from cluster.local.processes import Leader
from cluster.spec import SPEC_KEY, ClusterSpec, read_spec
from cluster.store import FolderStore
from errors import ConfigError

HOME_VARIABLE = "WALKING_ES_HOME"
HEAD = "head"
_WORKER = re.compile(r"worker-(\d+)")


def home_folder() -> Path:
    """Where clusters of this machine, and settings, are kept."""
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".walking-es").absolute()


class MachineFolder:
    """One machine's folder; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The machine's: ``head``, ``worker-3``."""
        return self.path.name

    @property
    def role(self) -> Literal["head", "worker"]:
        """What the machine is there for."""
        return "head" if self.name == HEAD else "worker"

    @property
    def number(self) -> int:
        """Which worker machine it is, from 0; the head is -1."""
        matched = _WORKER.fullmatch(self.name)
        return int(matched[1]) if matched else -1

    @property
    def settings(self) -> Path:
        """What it is told of itself."""
        return self.path / "machine.json"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.path / "log"

    @property
    def work(self) -> Path:
        """Its own files."""
        return self.path / "work"

    @property
    def leader(self) -> Leader | None:
        """Its first process; None: it has not been started."""
        try:
            return msgspec.json.decode((self.path / "leader.json").read_bytes(), type=Leader)
        except (OSError, msgspec.DecodeError):
            return None

    @leader.setter
    def leader(self, leader: Leader) -> None:
        FolderStore(self.path).put("leader.json", msgspec.json.encode(leader))

    @property
    def since_s(self) -> float:
        """When it was last started, seconds since 1970; 0.0: never."""
        try:
            return (self.path / "leader.json").stat().st_mtime
        except OSError:
            return 0.0


class ClusterFolder:
    """A cluster's folder; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_store(cls, store: str) -> ClusterFolder:
        """The folder that a machine's ``store`` setting belongs to."""
        return cls(Path(store).absolute().parent)

    @property
    def key(self) -> str:
        """The cluster's."""
        return self.path.name

    @property
    def source(self) -> Path:
        """Our code, as it was at launch."""
        return self.path / "source"

    @property
    def include(self) -> Path:
        """The user's own folder, if there is one."""
        return self.path / "include"

    @property
    def store_path(self) -> Path:
        """Where its store's files are."""
        return self.path / "store"

    @property
    def store(self) -> FolderStore:
        """What its machines share; made where it is missing."""
        return FolderStore(self.store_path)

    @property
    def is_launched(self) -> bool:
        """Whether launch came to its end, and kill did not."""
        return (self.path / "launched").exists()

    def mark_launched(self) -> None:
        """Say that launch came to its end."""
        (self.path / "launched").touch()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command changes a cluster at a time; the others wait."""
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cluster {self.key} cannot be changed ({error.strerror}): is it still there?"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @property
    def is_being_changed(self) -> bool:
        """Whether some command has it locked."""
        try:
            lock = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    @property
    def spec(self) -> ClusterSpec | None:
        """None: launch did not come so far."""
        try:
            return read_spec((self.store_path / SPEC_KEY).read_bytes())
        except (OSError, ConfigError):
            return None

    @property
    def wanted(self) -> int:
        """How many worker machines there are to be."""
        try:
            return msgspec.json.decode((self.path / "wanted.json").read_bytes(), type=int)
        except (OSError, msgspec.DecodeError):
            return 0

    @wanted.setter
    def wanted(self, size: int) -> None:
        FolderStore(self.path).put("wanted.json", msgspec.json.encode(size))

    def secret(self, name: str) -> str:
        """A secret of that name; empty: there is none."""
        try:
            return (self.path / "secrets" / name).read_text()
        except FileNotFoundError:
            return ""

    def keep_secret(self, name: str, value: str) -> None:
        """Write it so that only its owner can read it."""
        folder = FolderStore(self.path / "secrets")
        folder.put(name, value.encode())  # of mode 0600 from its first byte on, as mkstemp makes it

    def machine(self, name: str) -> MachineFolder:
        """The machine of that name."""
        return MachineFolder(self.path / "machines" / name)

    def machines(self) -> list[MachineFolder]:
        """Those that have a folder: the head first, then workers by number."""
        return sorted(self._machines(), key=lambda machine: machine.number)

    def _machines(self) -> Iterator[MachineFolder]:
        for path in (self.path / "machines").glob("*"):
            if path.name == HEAD or _WORKER.fullmatch(path.name):
                yield MachineFolder(path)

    def remove(self, *, keep_store: bool) -> None:
        """Remove it; with ``keep_store`` all but its store."""
        if not keep_store:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for path in list(self.path.iterdir()):
            if path != self.store_path:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
