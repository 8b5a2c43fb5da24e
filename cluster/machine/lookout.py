"""A worker machine's thread that looks out: for the head, for its sign of life, for notices."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import msgspec

from cluster.machine.machine_program import say
from cluster.machine.platform import Notice, Platform
from cluster.store import ENDED_KEY, HEAD_KEY, PROGRESS_KEY, Ended, HeadAddress, Progress
from errors import EsError

LOOK_EVERY_S = 5.0
_KNOCK_S = 3.0
_WAITING_S = 1.0
_CALM_S = 30.0


class Lookout:
    """What is known of the outside; a store that hangs holds up nobody but this thread.

    Args:
        platform: the machine's.
        look_every_s: seconds between two looks.
        clock: seconds since 1970.

    Attributes:
        head: where the head is, as last said; None: not yet.
        notice: that this machine will be taken away; None: it will not.
        ended: the run's end; None: it goes on.
        seen_s: when the head last gave a sign of life, or this machine came, seconds since 1970.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        look_every_s: float = LOOK_EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._platform = platform
        self._look_every_s = look_every_s
        self._clock = clock
        self._trouble = ""
        self.head: HeadAddress | None = None
        self.notice: Notice | None = None
        self.ended: Ended | None = None
        self.seen_s = clock()

    def start(self) -> None:
        """Look from now on, for as long as this process lives."""
        threads = (self._follow_head, "head"), (self._follow_notices, "notices")
        for follow, name in threads:
            threading.Thread(target=follow, name=f"lookout-{name}", daemon=True).start()

    def knock(self) -> bool:
        """Whether the head's Redis is there, which needs no store to be seen."""
        is_there = self.head is not None and _is_listening(self.head.host, self.head.port)
        if is_there:
            self.seen_s = max(self.seen_s, self._clock())
        return is_there

    def look(self) -> None:
        """Look at the store.

        Raises:
            ServiceUnavailable: it cannot be reached.
        """
        store = self._platform.store
        data = store.get(HEAD_KEY)
        if data is not None:
            self.head = msgspec.json.decode(data, type=HeadAddress)
        data = store.get(ENDED_KEY)
        self.ended = None if data is None else msgspec.json.decode(data, type=Ended)
        data = store.get(PROGRESS_KEY)
        if data is not None:
            # Its clock is not ours; a minute more or less does not matter here.
            self.seen_s = max(self.seen_s, msgspec.json.decode(data, type=Progress).time_s)

    def _follow_head(self) -> None:
        looked_s = float("-inf")
        while True:
            # Where the head answers the store has little to tell, and hundreds of machines that ask
            # it every few seconds are an item on the bill.
            every_s = _CALM_S if self.knock() else 0.0
            if time.monotonic() - looked_s >= every_s:
                looked_s = time.monotonic()
                self._look_again()
            # The head boots longer than its workers, who are paid for while they wait.
            time.sleep(self._look_every_s if self.head is not None else _WAITING_S)

    def _look_again(self) -> None:
        try:
            self.look()
            self._trouble = ""
        except (EsError, msgspec.DecodeError) as error:
            self._complain(str(error))
        except Exception as error:  # nobody would look out any more
            self._complain(f"{type(error).__name__}: {error}")

    def _follow_notices(self) -> None:
        while True:
            try:
                self.notice = self._platform.notice()
            except Exception as error:  # the same
                self._complain(f"{type(error).__name__}: {error}")
            time.sleep(self._look_every_s)

    def _complain(self, line: str) -> None:
        if line != self._trouble:
            self._trouble = line
            say(f"cannot look out for the head: {line}; trying again")


def _is_listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_KNOCK_S).close()
    except OSError:
        return False
    return True
