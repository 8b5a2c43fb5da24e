"""What a bit-exact resume needs: an append-only log of what was learnt, and snapshots beside it.

The log holds the whole history of a run as checksummed frames: generations opened, records as
they arrived, generations closed with the figures that were told. `Journal.sync` makes it durable;
the loop calls that before it publishes anything drawn from a tell. A process killed in the middle
of a write leaves a torn last frame, which is cut when the journal is opened again; damage anywhere
else is an error, since everything after it would silently be another run.

A snapshot holds the state after some tell, and where in the log to go on from. Two are kept, each
written aside and renamed, so that one is always whole.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from errors import JournalDamaged, ResourceExhausted, RunError, RunLocked
from policy.statistics import ObservationStatistics
from search.messages import RecordBatch
from search.totals import Totals

FORMAT = 1
_MAGIC = b"ESJOURNAL%d\n" % FORMAT
_HEADER = struct.Struct("<4sII")
_MARK = b"ESJF"
_MAX_FRAME_BYTES = 2**30
_GLANCE_S = 0.5
"""Who only wants to know whether a head is there (`tracking.run_lock`) has the lock for less."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """Generation ``number`` was published under ``digest``."""

    number: int
    digest: str


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """Records that the pool accepted."""

    batch: RecordBatch


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """Generation ``number`` is complete: what was told, and what people were shown.

    Attributes:
        fitness_bytes: ``(C, E)`` float64, NaN where a rollout failed.
        statistics: observation moments after this generation's were merged.
        metrics: the generation's metrics by name.
        totals: the run's totals after it.
    """

    number: int
    fitness_bytes: bytes
    num_episodes: int
    statistics: ObservationStatistics | None
    metrics: dict[str, float]
    totals: Totals

    @property
    def fitness_ce(self) -> NDArray[np.float64]:
        return np.frombuffer(self.fitness_bytes, dtype="<f8").reshape(-1, self.num_episodes)


Entry = Opened | Answered | Closed


class StoredArray(msgspec.Struct, frozen=True):
    """A numpy array of numbers, written out."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> StoredArray:
        """A copy of ``array``."""
        return cls(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())

    def array(self) -> NDArray[Any]:
        """The array, writable."""
        return np.frombuffer(self.data, dtype=np.dtype(self.dtype)).reshape(self.shape).copy()


class BestPolicy(msgspec.Struct, frozen=True):
    """Theta, and the observation moments beside it, of the generation that validated best."""

    theta: StoredArray
    statistics: ObservationStatistics | None


class Snapshot(msgspec.Struct, frozen=True):
    """The loop after generation ``told - 1`` was told.

    Attributes:
        offset: bytes of the log that this state already contains.
        numbers, arrays: the strategy's state.
        open_generations: encoded messages of the generations asked and not yet told, in order.
        best: what validated best, in a run that may end with it.
    """

    run_uid: str
    told: int
    offset: int
    numbers: dict[str, Any]
    arrays: dict[str, StoredArray]
    open_generations: list[bytes]
    statistics: ObservationStatistics | None
    totals: Totals
    best: BestPolicy | None = None


_encoder = msgspec.msgpack.Encoder()
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)


class Journal:
    """The journal of one run, in a folder of its own, held by one head at a time.

    Raises (on opening):
        RunLocked: another process holds it.
        RunError: the folder cannot be written.
        JournalDamaged: the log is not one of ours, or is damaged before its end.
    """

    def __init__(self, folder: Path, notice: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder
        self._notice = notice
        self._lock = self._file = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._take_lock()
            self._file = os.open(folder / "log", os.O_RDWR | os.O_CREAT, 0o600)
            self.offset = self._recover()
        except OSError as error:
            self._let_go()
            raise RunError(
                f"run directory {folder.parent} is not writable ({error.strerror}); "
                "choose another with runs_dir=FOLDER"
            ) from None
        except BaseException:
            self._let_go()
            raise

    def append(self, *entries: Entry) -> None:
        """Add ``entries`` to the log, in one write; durable after the next `sync`."""
        frames = b"".join(_framed(_encoder.encode(entry)) for entry in entries)
        try:
            _write_all(self._file, frames)
        except OSError as error:
            # Half a frame would read as damage once another followed it.
            os.ftruncate(self._file, self.offset)
            os.lseek(self._file, self.offset, os.SEEK_SET)
            raise ResourceExhausted(
                f"cannot write the journal in {self.folder} ({error.strerror}): "
                "free some space, then resume the run"
            ) from None
        self.offset += len(frames)

    def sync(self) -> None:
        """Return once all that was appended is on the disk."""
        os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)

    def entries(self, offset: int = 0) -> Iterator[Entry]:
        """Every entry from byte ``offset`` on, as of now."""
        with (self.folder / "log").open("rb") as log:
            log.seek(offset or len(_MAGIC))
            while log.tell() < self.offset:
                _, length, _ = _HEADER.unpack(log.read(_HEADER.size))
                yield _entry_decoder.decode(log.read(length))

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Keep ``snapshot`` durably, and the one before it."""
        payload = _encoder.encode(snapshot)
        path = self.folder / f"snapshot-{snapshot.told:09d}"
        aside = path.with_suffix(".new")
        try:
            with aside.open("wb") as file:
                file.write(_framed(payload))
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
            _sync_folder(self.folder)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise ResourceExhausted(
                f"cannot write a snapshot in {self.folder} ({error.strerror}): "
                "free some space, then resume the run"
            ) from None
        for old in self._snapshot_paths()[:-2]:
            old.unlink(missing_ok=True)

    def latest_snapshot(self) -> Snapshot:
        """The newest snapshot that is whole.

        Raises:
            JournalDamaged: there is none.
        """
        paths = self._snapshot_paths()
        if not paths:
            raise JournalDamaged(
                f"no snapshot in {self.folder}: the run ended before it had saved anything; "
                "start it anew"
            )
        for path in reversed(paths):
            snapshot = _read_snapshot(path)
            if snapshot is not None and snapshot.offset <= self.offset:
                return snapshot
            self._notice(f"snapshot {path} is damaged; going on from the one before it")
        raise JournalDamaged(
            f"no whole snapshot in {self.folder}: the run cannot be resumed; "
            "start a new one with load_from=<run id>"
        )

    def close(self) -> None:
        """Make everything durable and let another head have the run. May be called twice."""
        if self._file >= 0:
            self.sync()
        self._let_go()

    def _let_go(self) -> None:
        for number in (self._file, self._lock):
            if number >= 0:
                os.close(number)
        self._file = self._lock = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        until_s = time.monotonic() + _GLANCE_S
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    break
            time.sleep(_GLANCE_S / 50)
        raise RunLocked(
            f"another head is at work on {self.folder.parent}; stop it first, or start a run "
            "of your own from it with load_from=<run id>"
        )

    def _recover(self) -> int:
        """Check every frame, cut a torn tail, and stand at the end."""
        size = os.fstat(self._file).st_size
        if size < len(_MAGIC):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            _write_all(self._file, _MAGIC)
            return len(_MAGIC)
        with (self.folder / "log").open("rb") as log:
            if log.read(len(_MAGIC)) != _MAGIC:
                raise JournalDamaged(
                    f"{self.folder / 'log'} is not a journal of format {FORMAT}: resume it with "
                    "the release that wrote it, or start a new run with load_from=<run id>"
                )
            good = len(_MAGIC)
            while (end := _whole_frame_end(log, good, size)) is not None:
                good = end
            if good < size:
                self._cut(log, good, size)
        os.lseek(self._file, good, os.SEEK_SET)
        return good

    def _cut(self, log: BinaryIO, good: int, size: int) -> None:
        log.seek(good)
        tail = log.read()
        next_mark = tail.find(_MARK, 1)
        while next_mark > 0:
            if _whole_frame_end(log, good + next_mark, size) is not None:
                raise JournalDamaged(
                    f"{self.folder / 'log'} is damaged at byte {good} of {size}: restore it from "
                    "a copy, or start a new run with load_from=<run id>"
                )
            next_mark = tail.find(_MARK, next_mark + 1)
        self._notice(f"cut a torn write of {size - good} bytes from the end of the journal")
        os.ftruncate(self._file, good)

    def _snapshot_paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("snapshot-*") if not path.suffix)


def _framed(payload: bytes) -> bytes:
    return _HEADER.pack(_MARK, len(payload), zlib.crc32(payload)) + payload


def _whole_frame_end(log: BinaryIO, start: int, size: int) -> int | None:
    log.seek(start)
    header = log.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    mark, length, checksum = _HEADER.unpack(header)
    end: int = start + _HEADER.size + length
    if mark != _MARK or length > _MAX_FRAME_BYTES or end > size:
        return None
    return end if zlib.crc32(log.read(length)) == checksum else None


def _read_snapshot(path: Path) -> Snapshot | None:
    with path.open("rb") as file:
        size = path.stat().st_size
        if _whole_frame_end(file, 0, size) != size:
            return None
        file.seek(_HEADER.size)
        return _snapshot_decoder.decode(file.read())


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
