"""What a cluster's machines and its owner share: small files by key, in a bucket or a folder.

Keys are relative to the cluster's own place::

    spec.json                      ClusterSpec; written at launch
    head.json                      HeadAddress; written by the head when its Redis answers
    progress.json                  Progress; written by the head every few seconds
    ended.json                     Ended; written by the head when the run has ended, and why
    runs/<id>/...                  the run's directory, as `es/experiment.py` makes it, but its log
                                   in pieces; see `cluster.machine.run_files`

Archives (``source/<sha256>.tar.gz`` and the like) lie beside the clusters' places: one for all that
use the same content.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import msgspec

from errors import ConfigError

HEAD_KEY = "head.json"
PROGRESS_KEY = "progress.json"
ENDED_KEY = "ended.json"
RUNS_PREFIX = "runs/"


class HeadAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where workers find the head.

    Attributes:
        host, port: of its Redis.
        certificate: PEM of its Redis' certificate; empty: it speaks plainly.
        since_s: when this head began, seconds since 1970; a later one is another machine's.
        machine: the machine's name.
    """

    host: str
    port: int
    certificate: str = ""
    since_s: float
    machine: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How the run stands, as its head last said.

    Attributes:
        time_s: when that was, seconds since 1970.
        run_id: of the run in ``runs/``; 0: none yet.
        generation, fitness: of the last complete generation; None before the first.
        num_workers: who evaluates.
        usd: what the cluster has cost so far, estimated; None: nothing is paid for.
        note: why nothing moves, or nothing.
    """

    time_s: float
    run_id: int = 0
    generation: int | None = None
    fitness: float | None = None
    num_workers: int = 0
    usd: float | None = None
    note: str = ""


Why = Literal["completed", "failed", "budget", "max_hours", "killed"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The run's end.

    Attributes:
        time_s: seconds since 1970.
        why: one of the reasons there are.
        exit_code: the experiment's; None where it was not let run to its end.
        note: a line for people.
    """

    time_s: float
    why: Why
    exit_code: int | None = None
    note: str = ""


class Entry(NamedTuple):
    """A file in a store: its key, and its size in bytes."""

    key: str
    size: int


class Store(Protocol):
    """Files by key. Writing is atomic: a reader sees all of a file, or what was there before."""

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data`` under ``key``, instead of what is there.

        Raises:
            ServiceUnavailable: it cannot be reached; trying again may help.
        """

    def put_file(self, key: str, path: Path) -> None:
        """The same with a file's content."""

    def get(self, key: str) -> bytes | None:
        """What is under ``key``; None: nothing."""

    def get_file(self, key: str, path: Path) -> bool:
        """Write what is under ``key`` to ``path``; False: there is nothing."""

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Every file whose key begins so, by key."""

    def delete(self, prefix: str) -> None:
        """Remove every file whose key begins so; none is no error."""


class FolderStore:
    """A store in a folder of this machine, which only its owner can look into."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".aside-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def put_file(self, key: str, path: Path) -> None:
        """See `Store.put_file`."""
        self.put(key, path.read_bytes())

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def get_file(self, key: str, path: Path) -> bool:
        """See `Store.get_file`."""
        data = self.get(key)
        if data is not None:
            path.write_bytes(data)
        return data is not None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.entries`."""
        found = []
        for folder, _, names in os.walk(self._folder):
            paths = (Path(folder, name) for name in names if not name.startswith(".aside-"))
            for path in paths:
                key = path.relative_to(self._folder).as_posix()
                if key.startswith(prefix):
                    with suppress(FileNotFoundError):  # others write here too
                        found.append(Entry(key, path.stat().st_size))
        yield from sorted(found)

    def delete(self, prefix: str) -> None:
        """See `Store.delete`."""
        for entry in list(self.entries(prefix)):
            self._path(entry.key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        path = self._folder / key
        if not key or ".." in Path(key).parts or Path(key).is_absolute():
            raise ConfigError(f"{key!r} is no key of a store")
        return path
