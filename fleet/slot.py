"""What a child is doing, where its parent can read it even when the child is stuck or dead.

A simulator in C++ holds the interpreter's lock, so a child cannot be asked. It writes a few bytes
to a memory-mapped file before each rollout instead; a checksum tells the parent whether it caught
the child in the middle of that.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from typing import Self

import msgspec

SIZE = 4096

RECYCLE = 75
"""Exit code of a child that left to be replaced: sysexits' EX_TEMPFAIL, try again."""

_MAX_REFUSAL_CHARS = 500
_HEADER = struct.Struct("<II")


class Doing(msgspec.Struct, frozen=True):
    """The task in hand.

    Attributes:
        unsent, stop: rollouts of the task whose records have not been sent yet.
        rollout: the one that runs, or ``None`` between rollouts.
        started_s: when it started, on the system-wide monotonic clock.
    """

    run_uid: str
    number: int
    digest: str
    attempt: int
    copy: int
    unsent: int
    stop: int
    rollout: int | None
    started_s: float
    timeout_s: float


class State(msgspec.Struct, frozen=True):
    """What a child says of itself: its rollouts so far, its task, and why it serves no run."""

    rollouts: int = 0
    doing: Doing | None = None
    refusal: str = ""


_decoder = msgspec.msgpack.Decoder(State)


class Slot:
    """A file of `SIZE` bytes, mapped by parent and child alike."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, SIZE)

    @classmethod
    def create(cls) -> Self:
        """A new one, without a name; the file lives as long as somebody has it open."""
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.ftruncate(fd, SIZE)
        slot = cls(fd)
        slot.write(State())
        return slot

    def write(self, state: State) -> None:
        """Let the other side see ``state``."""
        data = msgspec.msgpack.encode(state)
        if len(data) > SIZE - _HEADER.size:
            raise ValueError(f"a state of {len(data)} bytes does not fit the slot")
        self._map[: _HEADER.size + len(data)] = _HEADER.pack(len(data), zlib.crc32(data)) + data

    def read(self) -> State | None:
        """What the other side last wrote; ``None`` where it was just writing."""
        length, checksum = _HEADER.unpack_from(self._map, 0)
        data = self._map[_HEADER.size : _HEADER.size + min(length, SIZE)]
        if len(data) != length or zlib.crc32(data) != checksum:
            return None
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError:
            return None

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        os.close(self.fd)


class Bulletin:
    """The child's side of its slot: what it does, how much it has done, why it does nothing."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._rollouts = 0

    def show(self, doing: Doing | None) -> None:
        """The task in hand, if there is one."""
        self._slot.write(State(self._rollouts, doing))

    def count_rollout(self) -> int:
        """One more rollout by this process; how many there are now."""
        self._rollouts += 1
        return self._rollouts

    def refuse(self, why: str) -> None:
        """Nothing in hand, and why."""
        self._slot.write(State(self._rollouts, None, why[:_MAX_REFUSAL_CHARS]))
