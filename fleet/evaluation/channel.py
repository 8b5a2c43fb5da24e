"""What a process of ours and the one that started it say to each other, over a pair of sockets.

Frames: a byte that says what it is, four bytes of length, and that many bytes of data.
"""

from __future__ import annotations

import socket
import struct
import time
from enum import IntEnum
from typing import NamedTuple

import msgspec

import errors
from errors import EsError, MessageError
from search.messages import MAX_GENERATION_BYTES, MAX_SMALL_BYTES

KEPT_GENERATIONS = 2
"""How many generations the child keeps, the newest; its parent counts along and sends no other."""

_HEADER = struct.Struct("<BI")
_CHUNK = 2**16


class Kind(IntEnum):
    """What a frame holds: the first three go to the child, the others come from it."""

    EXPERIMENT = 1
    GENERATION = 2
    TASK = 3
    READY = 4
    RECORDS = 5
    REFUSAL = 6


class Frame(NamedTuple):
    """One message as it travelled."""

    kind: Kind
    data: bytes


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the child cannot go on: the class of an error of ours, by name, and its line."""

    error: str
    line: str


def refusal(error: EsError) -> bytes:
    """What the other side is told of an error of ours: the data of a `Kind.REFUSAL`."""
    return msgspec.msgpack.encode(Refusal(type(error).__name__, str(error)))


def refused(frame: Frame) -> EsError:
    """The other side's error as one of this process."""
    if frame.kind is not Kind.REFUSAL:
        return MessageError(f"the evaluation's process said {frame.kind.name} out of turn")
    try:
        told = msgspec.msgpack.decode(frame.data, type=Refusal)
    except msgspec.MsgspecError as error:
        return MessageError(f"the evaluation's process refused, and nobody knows why: {error}")
    kind = getattr(errors, told.error, None)
    if not isinstance(kind, type) or not issubclass(kind, EsError):
        kind = EsError
    return kind(told.line)


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Our end, and the socket that the other process inherits."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def send(self, kind: Kind, data: bytes = b"", timeout_s: float | None = None) -> None:
        """Send a frame.

        Raises:
            OSError: the other side has gone, or has not read it all within ``timeout_s``.
        """
        self._socket.settimeout(timeout_s)
        header = _HEADER.pack(kind, len(data))
        if len(data) <= _CHUNK:
            self._socket.sendall(header + data)
            return
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._socket.sendall(header)
        if deadline_s is not None:
            self._socket.settimeout(max(1e-3, deadline_s - time.monotonic()))
        self._socket.sendall(data)

    def receive(self, timeout_s: float | None = None) -> Frame | None:
        """The next frame; ``None`` where it is not complete within ``timeout_s``.

        Raises:
            EOFError: the other side has gone.
            MessageError: it sent something that is no frame, or one beyond its size limit.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (frame := self._complete_frame()) is None:
            if deadline_s is not None:
                self._socket.settimeout(max(1e-6, deadline_s - time.monotonic()))
            else:
                self._socket.settimeout(None)
            try:
                received = self._socket.recv(_CHUNK)
            except TimeoutError:
                return None
            except ConnectionError:
                received = b""
            if not received:
                raise EOFError("the other side has gone")
            self._buffer += received
        return frame

    def is_quiet(self) -> bool:
        """Whether the other side is there, and has said nothing that was not received."""
        if self._buffer:
            return False
        self._socket.settimeout(0.0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Let go of this end; the other side reads an end of file."""
        self._socket.close()

    def _complete_frame(self) -> Frame | None:
        if len(self._buffer) < _HEADER.size:
            return None
        number, length = _HEADER.unpack_from(self._buffer)
        try:
            kind = Kind(number)
        except ValueError:
            raise MessageError(f"a frame of unknown kind {number}") from None
        limit = MAX_GENERATION_BYTES if kind is Kind.GENERATION else MAX_SMALL_BYTES
        if length > limit:
            raise MessageError(f"a {kind.name} of {length} bytes; the limit is {limit}")
        stop = _HEADER.size + length
        if len(self._buffer) < stop:
            return None
        data = bytes(self._buffer[_HEADER.size : stop])
        del self._buffer[:stop]
        return Frame(kind, data)
