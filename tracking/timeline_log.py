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
    """Drop what is about other generations than ``numbers``, all or nothing."""
    kept = [times for times in read(path) if times.number in numbers]
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(b"".join(msgspec.json.encode(times) + b"\n" for times in kept))
    beside.replace(path)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
