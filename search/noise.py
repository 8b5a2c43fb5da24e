"""The noise table: one read-only file in memory for all processes of a user.

Perturbations are numbers, not vectors: an index into a table that every process holds alike
(Salimans et al. 2017, section 2.3). A machine holds the table once, in shared memory, for as long
as somebody uses it (see `search.shared_file`). Where all were killed it stays, and the next run
finds it. Names, where ``UID`` is the operating system's user id::

    es-noise-UID-SEED-LENGTH-CHECKSUM    complete, never written again
    es-noise-UID-SEED-LENGTH.building    being drawn, by the process that holds its lock
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import re
import shutil
import tempfile
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from errors import ConfigError, ResourceExhausted, VersionMismatch
from search import shared_file
from search.arithmetic import num_threads
from search.messages import NoiseSpec

# One table for all runs, so that runs side by side share its memory; a run's own seed draws the
# rows from it.
DEFAULT_SEED = 20170310
DEFAULT_LENGTH = 25_000_000
CHUNK = 2**20
_STREAM = int.from_bytes(b"noise", "big")
_PROBE = 1024
_POLL_S = 0.01
_SPACE_ERRORS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM)


def required_length(num_parameters: int) -> int:
    """Least length of a table for ``num_parameters``, so that two rows seldom overlap."""
    return max(DEFAULT_LENGTH, 10 * num_parameters)


def draw_chunk(seed: int, chunk: int, out: NDArray[np.float32]) -> None:
    """Write the first ``len(out)`` of the `CHUNK` values of chunk number ``chunk``.

    Standard normal float32 from Philox (Salmon et al. 2011), whose counter starts at the chunk's
    number: chunks are drawn alone, in any order, and share no random bits.
    """
    key = np.array([seed, _STREAM], dtype=np.uint64)
    generator = Generator(Philox(key=key, counter=[0, 0, 0, chunk]))
    generator.standard_normal(dtype=np.float32, out=out)


class NoiseTable:
    """An open noise table.

    Attributes:
        spec: seed, length and checksum, as workers are told.
        path: the file behind it.
        values: ``(length,)`` float32, read-only; empty once closed.
    """

    def __init__(self, spec: NoiseSpec, path: Path, fd: int) -> None:
        """Take over ``fd``, open on the complete file ``path`` and locked shared."""
        self.spec = spec
        self.path = path
        mapping = mmap.mmap(fd, 4 * spec.length, prot=mmap.PROT_READ)
        self.values: NDArray[np.float32] = np.frombuffer(mapping, dtype="<f4")
        self._leave = weakref.finalize(self, shared_file.leave, path, fd, os.getpid())

    def row(self, index: int, size: int) -> NDArray[np.float32]:
        """View of the ``(size,)`` float32 from ``index`` on.

        Raises:
            IndexError: the row does not lie within the table.
        """
        if not 0 <= index <= len(self.values) - size:
            raise IndexError(
                f"noise row of {size} from {index} does not lie in a table of {len(self.values)}"
            )
        return self.values[index : index + size]

    def close(self) -> None:
        """Let go of the table, and remove the file if nobody else uses it.

        Happens also when the table is collected and when the process ends. Views stay readable.
        """
        self.values = np.empty(0, dtype=np.float32)
        self._leave()

    def __enter__(self) -> NoiseTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_table(seed: int, length: int, directory: Path | None = None) -> NoiseTable:
    """The table of ``length`` float32 drawn from ``seed``: found in ``directory``, or drawn.

    Args:
        seed: 0 to 2**53.
        length: number of values, see `required_length`.
        directory: a folder in memory; default ``/dev/shm``, or the temporary folder without one.

    Raises:
        ConfigError: an argument that cannot be used.
        ResourceExhausted: the folder is too small, or holds a file of that name that is not ours.
    """
    return _Folder(seed, length, directory).open(checksum=None)


def open_declared(spec: NoiseSpec, directory: Path | None = None) -> NoiseTable:
    """The very table that a head has declared: found in ``directory``, or drawn.

    Raises:
        VersionMismatch: this machine draws other values than the head did.
        ConfigError, ResourceExhausted: as `open_table`.
    """
    return _Folder(spec.seed, spec.length, directory).open(spec.checksum)


class _Folder:
    """Where the tables of one seed and length are, or will be."""

    def __init__(self, seed: int, length: int, directory: Path | None) -> None:
        if length < 1:
            raise ConfigError(f"noise_table_size={length}: expected at least 1")
        if not 0 <= seed <= 2**53:
            raise ConfigError(f"noise table of seed {seed}: expected 0 to 2**53")
        self.seed = seed
        self.length = length
        self.directory = directory or _default_directory()
        self.stem = f"es-noise-{os.getuid()}-{seed}-{length}"
        self.building = self.directory / f"{self.stem}.building"

    def open(self, checksum: str | None) -> NoiseTable:
        """The table with ``checksum``; with ``None``, the one that this machine draws."""
        try:
            while True:
                found = self._find(checksum)
                if found is not None:
                    return found
                fd = shared_file.claim(self.building)
                if fd is not None:
                    return self._find_again_or_build(fd, checksum)
                time.sleep(_POLL_S)
        except OSError as error:
            raise self._explained(error) from None

    def _find(self, checksum: str | None) -> NoiseTable | None:
        pattern = re.compile(re.escape(self.stem) + f"-({checksum or '[0-9a-f]{16}'})")
        for path in sorted(self.directory.iterdir()):
            match = pattern.fullmatch(path.name)
            fd = shared_file.open_shared(path, 4 * self.length) if match else None
            if match is None or fd is None:
                continue
            table = NoiseTable(NoiseSpec(self.seed, self.length, match[1]), path, fd)
            if checksum is not None or self._draws_alike(table.values):
                return table
            table.close()
        return None

    def _draws_alike(self, values: NDArray[np.float32]) -> bool:
        """Whether this numpy would have drawn the table, by the starts of its outer chunks.

        Another numpy, in another environment of the same user, may have drawn otherwise.
        """
        for chunk in (0, (self.length - 1) // CHUNK):
            there = values[chunk * CHUNK :][:_PROBE]
            here = np.empty_like(there)
            draw_chunk(self.seed, chunk, here)
            if not np.array_equal(here, there):
                return False
        return True

    def _find_again_or_build(self, fd: int, checksum: str | None) -> NoiseTable:
        try:
            # Another builder may have finished between our look and our claim.
            found = self._find(checksum)
            if found is None:
                return self._build(fd, checksum)
            self.building.unlink()
        except BaseException:
            if shared_file.still_names(self.building, fd):
                self.building.unlink()
            os.close(fd)
            raise
        os.close(fd)
        return found

    def _build(self, fd: int, checksum: str | None) -> NoiseTable:
        shared_file.lay_out(fd, 4 * self.length)
        drawn = _draw_all(self.seed, self.length, fd)
        if checksum is not None and drawn != checksum:
            raise VersionMismatch(
                f"noise table of seed {self.seed} has checksum {drawn} here and {checksum} on the "
                "head: install the head's version of numpy here"
            )
        path = self.directory / f"{self.stem}-{drawn}"
        shared_file.publish(fd, self.building, path)
        return NoiseTable(NoiseSpec(self.seed, self.length, drawn), path, fd)

    def _explained(self, error: OSError) -> ConfigError | ResourceExhausted:
        advice = "set noise_dir=FOLDER (ES_NOISE_DIR)"
        if error.errno not in _SPACE_ERRORS:
            return ConfigError(
                f"noise table cannot be kept in {self.directory}: {error.strerror}; {advice}"
            )
        needs_mb = 4 * self.length / 1e6
        free_mb = shutil.disk_usage(self.directory).free / 1e6
        return ResourceExhausted(
            f"shared memory too small: needs {needs_mb:.0f} MB in {self.directory}, "
            f"{free_mb:.0f} MB free ({error.strerror}); free some or {advice}"
        )


def _default_directory() -> Path:
    shared_memory = Path("/dev/shm")
    return shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())


def _draw_all(seed: int, length: int, fd: int) -> str:
    """Fill the file and return the checksum: 64 bits of BLAKE2b over those of each chunk.

    Threads take chunks; the kernel, numpy and hashlib let go of the interpreter lock while they
    work.
    """
    values = np.frombuffer(mmap.mmap(fd, 4 * length), dtype="<f4")

    def draw_one(chunk: int) -> bytes:
        part = values[chunk * CHUNK : (chunk + 1) * CHUNK]
        shared_file.preallocate(fd, 4 * chunk * CHUNK, part.nbytes)
        draw_chunk(seed, chunk, part)
        return hashlib.blake2b(part.data, digest_size=8).digest()

    with ThreadPoolExecutor(num_threads()) as threads:
        digests = list(threads.map(draw_one, range(-(-length // CHUNK))))
    return hashlib.blake2b(b"".join(digests), digest_size=8).hexdigest()
