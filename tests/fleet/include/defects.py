"""Defects of the very process that evaluates: it answers wrongly, twice, or not at all."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
from trouble import Trouble

from fleet.evaluation.channel import Channel, Kind
from search.messages import RecordBatch, decode, encode


def our_channel() -> Channel:
    """The one to our parent."""
    return next(thing for thing in gc.get_objects() if isinstance(thing, Channel))


def its_number() -> int:
    return int(sys.argv[sys.argv.index("--channel-fd") + 1])


class Defect(Trouble):
    """`Trouble` whose accidents befall the process around it."""

    def die_before_it_answers(self) -> None:
        def send(*_: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        our_channel().send = send  # type: ignore[assignment, method-assign]

    def die_when_it_has_answered(self) -> None:
        channel = our_channel()

        def send(kind: Kind, data: bytes = b"") -> None:
            Channel.send(channel, kind, data)
            os.kill(os.getpid(), signal.SIGKILL)

        channel.send = send  # type: ignore[assignment, method-assign]

    def answer_twice(self) -> None:
        channel = our_channel()

        def send(kind: Kind, data: bytes = b"") -> None:
            Channel.send(channel, kind, data)
            Channel.send(channel, kind, data)

        channel.send = send  # type: ignore[assignment, method-assign]

    def answer_the_question_before(self) -> None:
        channel = our_channel()

        def send(kind: Kind, data: bytes = b"") -> None:
            batch = decode(data, RecordBatch)
            (record,) = batch.records
            stale = msgspec.structs.replace(record, copy=record.copy - 1)
            Channel.send(channel, kind, encode(msgspec.structs.replace(batch, records=(stale,))))

        channel.send = send  # type: ignore[assignment, method-assign]

    def talk_nonsense(self) -> None:
        os.write(its_number(), b"GET / HTTP/1.1\r\n\r\n")

    def announce_too_much(self) -> None:
        os.write(its_number(), bytes([Kind.RECORDS]) + b"\xff\xff\xff\xff")

    def leave_a_twin(self) -> None:
        """A process that has our channel open too, and outlives us."""
        if os.fork() == 0:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)

    def hang_up(self) -> None:
        socket.socket(fileno=os.dup(its_number())).shutdown(socket.SHUT_RDWR)
        time.sleep(600)

    def stop_reading(self) -> None:
        def receive(*_: Any) -> None:
            time.sleep(600)

        our_channel().receive = receive  # type: ignore[assignment, method-assign]


class Stillborn(Trouble):
    """`Trouble` that does not come into being, from a given time on.

    Args:
        end: the method of `Defect` or `Trouble` that ends its making.
        folder: where each making is counted.
        births: how many succeed.
    """

    def __init__(
        self, end: str, folder: str, births: int = 0, kind: str = "", seeds: Sequence[int] = ()
    ) -> None:
        super().__init__(kind, seeds)
        made = len(list(Path(folder).glob("made-*")))
        (Path(folder) / f"made-{made}").touch()
        if made >= births:
            getattr(self, end)()


gymnasium.register("Defect-v0", entry_point="defects:Defect", max_episode_steps=100)
gymnasium.register("Stillborn-v0", entry_point="defects:Stillborn", max_episode_steps=100)
