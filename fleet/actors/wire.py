"""What the head and an actor of ours say to each other: bytes that Ray only carries.

An actor's answer is one byte that says what it is (`fleet.evaluation.channel.Kind`), one that says
whether its process has done enough and should make way for a fresh one, and the data.
"""

from __future__ import annotations

import re
import socket
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from errors import MessageError
from fleet.evaluation.channel import Frame, Kind
from search.messages import MAX_BATCH_BYTES

_Text = Annotated[str, Meta(max_length=300)]


class Reply(NamedTuple):
    """An answer as it was meant."""

    frame: Frame
    is_worn: bool


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an actor is: its host, Ray's name of the node, its process id."""

    host: _Text
    node: _Text
    pid: int


def packed(kind: Kind, data: bytes = b"", *, is_worn: bool = False) -> bytes:
    """An answer as it travels."""
    return bytes([kind, is_worn]) + data


def unpacked(answer: object) -> Reply:
    """What ``packed`` was given.

    Raises:
        MessageError: it is no answer of an actor of ours.
    """
    if not isinstance(answer, bytes) or not 2 <= len(answer) <= MAX_BATCH_BYTES:
        raise MessageError("an actor's answer is no message, or too long")
    try:
        return Reply(Frame(Kind(answer[0]), answer[2:]), bool(answer[1]))
    except ValueError:
        raise MessageError(f"an actor's answer is of unknown kind {answer[0]}") from None


def place_of(frame: Frame) -> Place:
    """Where an actor says it is.

    Raises:
        MessageError: it says something else.
    """
    try:
        return msgspec.msgpack.decode(frame.data, type=Place)
    except msgspec.MsgspecError:
        raise MessageError("an actor does not say where it is") from None


def worker_name(pid: int) -> str:
    """A `search.messages.WorkerId` for a process of this host."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:50]
    return f"{host}-ray-{pid}"
