"""What local machines say: files that grow, read from near their end and followed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.provider import LogLine

_LOOK_EVERY_S = 0.25
_BLOCK = 2**16
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")


def log_lines(
    path: Path, machine: str, lines: int, is_over: Callable[[], bool] | None
) -> Iterator[LogLine]:
    """The last ``lines`` of a log, then what comes.

    Args:
        path: it need not be there yet.
        machine: whose it is.
        lines: at least 0.
        is_over: whether nothing more will come; None: what comes is not waited for.
    """
    place = _end_but(path, lines)
    rest = b""
    while True:
        over = is_over is None or is_over()  # before reading: what came before that is still told
        data = _read(path, place)
        place += len(data)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield LogLine(_written_s(path), machine, printable(line))
        if over and not data:
            break
        if not data:
            time.sleep(_LOOK_EVERY_S)
    if rest:
        yield LogLine(_written_s(path), machine, printable(rest))


def printable(line: bytes) -> str:
    """A line as a terminal may show it: no escape sequences, no control characters."""
    # What a carriage return went back over has been seen and is gone.
    text = _ESCAPES.sub("", line.decode(errors="replace").rstrip("\r").rpartition("\r")[2])
    return "".join(sign for sign in text.expandtabs() if sign.isprintable())


def _end_but(path: Path, lines: int) -> int:
    """Where the last ``lines`` begin."""
    try:
        with path.open("rb") as file:
            end = place = file.seek(0, os.SEEK_END)
            tail = b""
            # One more line end than lines: the first of them is where they begin.
            while place and tail[:-1].count(b"\n") < lines + 1:
                start = max(0, place - _BLOCK)
                file.seek(start)
                tail = file.read(place - start) + tail
                place = start
    except OSError:
        return 0
    if not lines:
        return end
    whole = tail.splitlines(keepends=True)
    return end - sum(len(line) for line in whole[-lines:])


def _read(path: Path, place: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return file.read(_BLOCK)
    except OSError:
        return b""


def _written_s(path: Path) -> float:
    """When the file was last written to: its lines bear no time of their own."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
