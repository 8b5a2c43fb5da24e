"""``timeline.jsonl``: where each generation's time went, one `search.timeline.GenerationTimes` a
line, only ever appended while a run goes on.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import msgspec

from search.timeline import GenerationTimes

FILE_NAME = "timeline.jsonl"


def append(path: Path, times: GenerationTimes) -> None:
    """Write ``times`` as one more line. Raises `OSError` where it cannot be written."""
    with path.open("ab") as file:
        # A line that a kill left half-written stays apart from this one; reading leaves it out.
        torn = file.tell() > 0 and not _ends_with_newline(path)
        file.write((b"\n" if torn else b"") + msgspec.json.encode(times) + b"\n")


def read(path: Path) -> list[GenerationTimes]:
    """What is there, in order of generation; of two for one generation the later line counts."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: dict[int, GenerationTimes] = {}
    for line in lines:
        try:
            times = msgspec.json.decode(line, type=GenerationTimes)
        except msgspec.MsgspecError:
            continue
        found[times.number] = times
    return [found[number] for number in sorted(found)]


def keep_only(path: Path, numbers: Container[int]) -> None:
    """Drop what is about other generations than ``numbers``, all or nothing.

    Line by line: with some hundred workers the whole of a long run fills a gigabyte.
    """
    if not path.exists():
        return
    beside = path.with_name(path.name + ".new")
    with path.open("rb") as file, beside.open("wb") as kept:
        for line in file:
            if line.endswith(b"\n") and _number_of(line) in numbers:
                kept.write(line)
    beside.replace(path)


class _Numbered(msgspec.Struct):
    number: int


def _number_of(line: bytes) -> int | None:
    try:
        return msgspec.json.decode(line, type=_Numbered).number
    except msgspec.MsgspecError:
        return None


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
