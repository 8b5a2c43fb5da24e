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
from collections.abc import Callable
from typing import Literal, Self

import msgspec

SIZE = 8192

RECYCLE = 75
"""Exit code of a child that left to be replaced: sysexits' EX_TEMPFAIL, try again."""

_MAX_LINE_CHARS = 500
_HEADER = struct.Struct("<II")
_WORD_BYTES = 8
_WORD = slice(SIZE - _WORD_BYTES, SIZE)
_NO_WORD = bytes(_WORD_BYTES)


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


class Building(msgspec.Struct, frozen=True):
    """A run's environment, being built or closed: that may hang or crash as a rollout may."""

    run_uid: str
    environment: str
    started_s: float
    timeout_s: float
    what: Literal["building", "closing"] = "building"


class State(msgspec.Struct, frozen=True):
    """What a child says of itself.

    Attributes:
        rollouts, env_steps, failures: so far, of this process.
        run_uid: the run that it serves; empty where none.
        refusal: why it serves none.
        last_error: what the last failed rollout said.
    """

    rollouts: int = 0
    env_steps: int = 0
    failures: int = 0
    run_uid: str = ""
    doing: Doing | None = None
    building: Building | None = None
    refusal: str = ""
    last_error: str = ""


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
        if len(data) > _WORD.start - _HEADER.size:
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

    def disown(self, digest: str | None) -> None:
        """The parent's word to its child: nobody wants the generation of this digest any more."""
        word = _NO_WORD if digest is None else _word_of(digest)
        if self._map[_WORD] != word:
            self._map[_WORD] = word

    def disowned(self, digest: str) -> Callable[[], bool]:
        """Asks, in well under a microsecond, whether that has been said of ``digest``."""
        said, word = self._map, _word_of(digest)
        return lambda: said[_WORD] == word

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        os.close(self.fd)


class Bulletin:
    """The child's side of its slot: what it does, how much it has done, why it does nothing."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._state = State()

    def show(self, doing: Doing | None) -> None:
        """The task in hand, if there is one."""
        self._write(msgspec.structs.replace(self._state, doing=doing, building=None, refusal=""))

    def serve(self, run_uid: str, building: Building | None = None) -> None:
        """The run that is served from now on, and what has to be built or closed first.

        A task stays in hand: who leaves with one closes its environment on the way.
        """
        self._write(
            msgspec.structs.replace(self._state, run_uid=run_uid, building=building, refusal="")
        )

    def refuse(self, why: str) -> None:
        """Nothing in hand, and why."""
        self._write(
            msgspec.structs.replace(
                self._state, run_uid="", doing=None, building=None, refusal=why[:_MAX_LINE_CHARS]
            )
        )

    def count(self, env_steps: int, error: str | None = None) -> int:
        """One more rollout by this process, and what it failed of; how many there are now.

        The other side sees it with the next thing that it is shown.
        """
        state = self._state
        self._state = msgspec.structs.replace(
            state,
            rollouts=state.rollouts + 1,
            env_steps=state.env_steps + env_steps,
            failures=state.failures + (error is not None),
            last_error=state.last_error if error is None else error[:_MAX_LINE_CHARS],
        )
        return self._state.rollouts

    def disowned(self, digest: str) -> Callable[[], bool]:
        """Asks whether nobody wants the generation of this digest any more."""
        return self._slot.disowned(digest)

    def _write(self, state: State) -> None:
        self._state = state
        self._slot.write(state)


def _word_of(digest: str) -> bytes:
    return bytes.fromhex(digest)[:_WORD_BYTES]
