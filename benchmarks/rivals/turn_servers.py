"""Contenders in processes of their own that work a turn at a time and rest between.

A server says ``ready`` once, then reads a number of seconds from its standard input, works for as
long and answers with its steps per second. It ends with its input, and so with whoever started it.

Imports nothing but the standard library: some servers run in a Python that has none of our
packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

Turn = Callable[[float], float]
"""Works for so many seconds, somewhat more where a turn is whole generations; steps per second."""

_READY = "ready\n"
_END_S = 60.0  # Ray takes its time


class ServerFailed(Exception):
    """A server ended when an answer was due; what it said is on standard error."""


@contextmanager
def turn_servers(commands: Sequence[Sequence[str]], cwd: Path | None = None) -> Iterator[Turn]:
    """Processes that take their turns at the same time; their rates are added up.

    Args:
        commands: one for each.
        cwd: the folder they are started in; ``None``: this process's.

    Raises:
        ServerFailed: one of them does not come up, or ends on the way.
    """
    processes = [
        subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]

    def turn(seconds: float) -> float:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        return sum(float(_line(process)) for process in processes)

    try:
        for process in processes:
            if (said := _line(process)) != _READY:
                raise ServerFailed(f"{process.args!r} began with {said!r}, not with {_READY!r}")
        yield turn
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in processes:
            _end(process)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ServerFailed(f"{process.args!r} ended; its reason is above")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def answers() -> TextIO:
    """Standard output for answers alone: what else is printed goes to standard error from now."""
    kept = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return kept


def serve(turn: Turn, out: TextIO) -> None:
    """Take turns for as long as somebody asks for them."""
    out.write(_READY)
    out.flush()
    for line in sys.stdin:
        out.write(f"{turn(float(line))}\n")
        out.flush()
