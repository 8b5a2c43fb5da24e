"""Being told to stop: Ctrl-C, SIGTERM and a terminal that goes away, as one exception."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A second Ctrl-C by an impatient hand would interrupt the cleaning up that the first one began.
GRACE_S = 5.0


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop. Sacred notes the run as ``INTERRUPTED``.

    Not an ``Exception``: what catches those to go on must not catch this.
    """

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """As a shell reports it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, SIGINT, SIGTERM and SIGHUP raise `Interrupted` in the main thread.

    Those that follow within `GRACE_S` seconds are ignored. Signals that were ignored before
    (``nohup``) stay so. In another thread than the main one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised_s = float("-inf")

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal raised_s
        if time.monotonic() - raised_s > GRACE_S:
            raised_s = time.monotonic()
            raise Interrupted(signum)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
