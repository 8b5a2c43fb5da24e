"""A run's directory, kept in a store: what lies there can be resumed to the bit at any moment.

The journal's log only grows, and a snapshot says from which byte of the log on it wants to be
replayed. So the log goes first, and the snapshots that want it after; what they replace goes last.
The log lies in pieces, ``journal/log.000000`` and on, all but the last of one size, since a store
replaces files whole: a minute's work costs the last piece, not the history of the run. Whatever
upload is cut off, the pieces that are there are a beginning of the log, and `Journal` cuts a torn
end itself.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.store import RUNS_PREFIX, Entry, Store
from errors import MessageError, ServiceUnavailable

PIECE_BYTES = 4 * 2**20
HEAVY_BYTES = 2**20
HEAVY_EVERY_S = 60.0

_LOG = "journal/log"
_SNAPSHOT = "journal/snapshot-"
_DESCRIPTION = ("config.json", "run.json")
_LAST = ("checkpoints/best.json",)  # names another file, which comes before it
_NOT_KEPT = ("lock",)
_RUN = re.compile(r"(\d{1,9})/(.+)")
_ATTEMPTS = 20

_Mark = tuple[int, int, int]


class RunUploader:
    """Carries one run's directory into a store, again and again, each time what has changed.

    One process writes a directory's log at a time; make another uploader when another one begins:
    it may have cut what its predecessor left, and all is carried anew.

    Args:
        store: the cluster's.
        directory: ``.../<id>``, as the experiment makes it.
        piece_bytes: of the log, in one file of the store.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        *,
        piece_bytes: int = PIECE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._directory = directory
        self._prefix = f"{RUNS_PREFIX}{directory.name}/"
        self._piece_bytes = piece_bytes
        self._clock = clock
        self._there: set[str] | None = None
        self._marks: dict[str, _Mark] = {}
        self._log_bytes = 0
        self._heavy_s = -HEAVY_EVERY_S

    def upload(self, *, everything: bool = False) -> int:
        """Carry what is new; how many files that were.

        Files of a megabyte and more that are no part of the journal wait up to a minute, unless
        ``everything`` is wanted: those that grow are carried whole each time.

        Raises:
            ServiceUnavailable: the store cannot be reached. What is there can be resumed, and the
                next call goes on.
        """
        if self._there is None:
            entries = self._store.entries(self._prefix)
            self._there = {entry.key.removeprefix(self._prefix) for entry in entries}
        # The names first: a snapshot seen now wants no more of the log than is read after.
        files = dict(_files(self._directory))
        heavy = everything or self._clock() - self._heavy_s >= HEAVY_EVERY_S
        snapshots = sorted(name for name in files if name.startswith(_SNAPSHOT))
        others = sorted(set(files) - set(snapshots) - {*_DESCRIPTION, *_LAST})
        num = sum(self._carry(name, files) for name in _DESCRIPTION)
        num += self._carry_log()
        num += sum(self._carry_snapshot(name, files) for name in snapshots)
        num += sum(
            self._carry(name, files) for name in others if heavy or files[name][0] < HEAVY_BYTES
        )
        num += sum(self._carry(name, files) for name in _LAST)
        if heavy:
            self._heavy_s = self._clock()
        self._drop_all_but(files)
        return num

    def _carry(self, name: str, files: dict[str, _Mark]) -> bool:
        if name not in files or self._marks.get(name) == files[name]:
            return False
        try:
            self._store.put_file(self._prefix + name, self._directory / name)
        except FileNotFoundError:
            # A checkpoint that a better one has replaced in the meantime.
            del files[name]
            return False
        self._names.add(name)
        self._marks[name] = files[name]
        return True

    def _carry_snapshot(self, name: str, files: dict[str, _Mark]) -> bool:
        """As it was when the log was read, or not at all: a later one wants more of the log."""
        if self._marks.get(name) == files[name]:
            return False
        try:
            with (self._directory / name).open("rb") as file:
                data = file.read()
                if _mark(os.fstat(file.fileno())) != files[name]:
                    return False
        except FileNotFoundError:
            return False
        self._store.put(self._prefix + name, data)
        self._names.add(name)
        self._marks[name] = files[name]
        return True

    def _carry_log(self) -> int:
        try:
            log = (self._directory / _LOG).open("rb")
        except FileNotFoundError:
            return 0
        with log:
            size = os.fstat(log.fileno()).st_size
            if size == self._log_bytes:
                return 0
            # Shorter than what is there: another process' torn end, which it has cut.
            self._drop_pieces(-(-size // self._piece_bytes))
            first = min(size, self._log_bytes) // self._piece_bytes
            last = max(0, size - 1) // self._piece_bytes
            for number in range(first, last + 1):
                start = number * self._piece_bytes
                log.seek(start)
                piece = log.read(min(self._piece_bytes, size - start))
                self._store.put(f"{self._prefix}{_piece(number)}", piece)
                self._names.add(_piece(number))
                self._log_bytes = start + len(piece)
        return last + 1 - first

    def _drop_pieces(self, number: int) -> None:
        """Those from ``number`` on, the last one first: what stays is a beginning."""
        for name in sorted(filter(_is_piece, self._names), reverse=True):
            if name >= _piece(number):
                self._drop(name)

    def _drop_all_but(self, files: dict[str, _Mark]) -> None:
        is_new = any(self._marks.get(n) == files[n] for n in files if n.startswith(_SNAPSHOT))
        for name in sorted(self._names - set(files)):
            # Where all that were seen have gone in the meantime, an old one is what there is.
            if not _is_piece(name) and (is_new or not name.startswith(_SNAPSHOT)):
                self._drop(name)

    def _drop(self, name: str) -> None:
        self._store.delete(self._prefix + name)
        for gone in [other for other in self._names if other.startswith(name)]:
            self._names.discard(gone)
            self._marks.pop(gone, None)

    @property
    def _names(self) -> set[str]:
        assert self._there is not None
        return self._there


def resumable_runs(store: Store) -> list[int]:
    """Ids of the runs in ``store`` that can be gone on with, in order."""
    names = ((run, name) for run, name, _ in _stored(store))
    return sorted({run for run, name in names if name.startswith(_SNAPSHOT)})


def stored_runs(store: Store) -> list[int]:
    """Ids of the runs of which ``store`` has anything, in order."""
    return sorted({run for run, _, _ in _stored(store)})


def download_run(store: Store, run_id: int, directory: Path) -> None:
    """Make ``directory``, which is not there yet, the run's; whole or not at all. The run may go on
    meanwhile.

    Raises:
        ServiceUnavailable: the store cannot be reached, or does not hold still.
        MessageError: it holds something that is no file of a run.
    """
    aside = directory.with_name(f".{directory.name}.coming")
    try:
        for _ in range(_ATTEMPTS):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            if _download(store, run_id, aside):
                aside.rename(directory)
                return
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    raise ServiceUnavailable(f"run {run_id} changes faster than it can be read: try again")


def _download(store: Store, run_id: int, directory: Path) -> bool:
    """False: a snapshot that was listed went before it came."""
    prefix = f"{RUNS_PREFIX}{run_id}/"
    names = {name for _, name, _ in _stored(store, prefix)}
    snapshots = sorted(name for name in names if name.startswith(_SNAPSHOT))
    # Before the log: it then has all that they want.
    came = [_fetch(store, prefix, name, directory) for name in snapshots]
    _join_log(store, prefix, directory)
    for name in sorted(names - set(snapshots)):
        if not _is_piece(name):
            _fetch(store, prefix, name, directory)
    return any(came) or not snapshots


def _join_log(store: Store, prefix: str, directory: Path) -> None:
    first = store.get(prefix + _piece(0))
    if first is None:
        return
    path = directory / _LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as log:
        log.write(first)
        number, piece = 0, first
        while piece and len(piece) == len(first):
            number += 1
            piece = store.get(prefix + _piece(number)) or b""
            log.write(piece)


def _fetch(store: Store, prefix: str, name: str, directory: Path) -> bool:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return store.get_file(prefix + name, path)


def _stored(store: Store, prefix: str = RUNS_PREFIX) -> Iterator[tuple[int, str, Entry]]:
    for entry in store.entries(prefix):
        found = _RUN.fullmatch(entry.key.removeprefix(RUNS_PREFIX))
        parts = Path(found[2]).parts if found else ()
        # The store's names become paths here, and machines that we trust less may write there.
        if found is None or ".." in parts or "\0" in found[2] or Path(found[2]).is_absolute():
            raise MessageError(f"{entry.key!r} in the cluster's store is no file of a run")
        yield int(found[1]), "/".join(parts), entry


def _files(directory: Path) -> Iterator[tuple[str, _Mark]]:
    """Files that are whole or only grow, with what tells that they have changed; not the log."""
    for folder, inner, names in os.walk(directory):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(directory).as_posix()
            if name.startswith(".") or path.suffix == ".new" or name in _NOT_KEPT:
                continue
            if relative == _LOG or path.is_symlink():
                continue
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            yield relative, _mark(found)


def _mark(found: os.stat_result) -> _Mark:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _piece(number: int) -> str:
    return f"{_LOG}.{number:06d}"


def _is_piece(name: str) -> bool:
    return name.startswith(f"{_LOG}.")
