"""Ctrl-C while a cluster is being made: once, and what was made is removed in peace."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cluster.commands.desk import say


@contextmanager
def second_thoughts(name: str) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or closed terminal interrupts; further ones wait for the end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    asked = False

    def hear(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            say(f"{name} is being removed: wait, or it would go on costing")
            return
        asked = True
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
