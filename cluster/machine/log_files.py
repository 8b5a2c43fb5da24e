"""Files that grow by lines, read as they grow; how far is remembered beyond a restart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from errors import ResourceExhausted

MOST_BEHIND_BYTES = 8 * 2**20
_KEPT_BYTES = 2**20
_MOST_AT_ONCE_BYTES = 2**19
_LONG_LINE_BYTES = 2**16


class Place(msgspec.Struct, frozen=True):
    """How far a file has been read.

    Attributes:
        inode: of the file that was read; another under the same name is read from its beginning.
        offset: bytes.
    """

    inode: int = 0
    offset: int = 0


Places = dict[str, Place]


class Read(NamedTuple):
    """Lines that were read.

    Attributes:
        lines: without their ends.
        places: where reading goes on once they have been taken care of.
    """

    lines: list[str]
    places: Places


class LogFiles:
    """What several files say, those that are there; a file that fills faster than it is read loses
    what is oldest, and says so.

    Args:
        paths: of the files; an earlier one is read before a later one.
        state: file of ours that remembers how far.
    """

    def __init__(self, paths: Sequence[Path], state: Path) -> None:
        self._paths = paths
        self._state = state
        self._places = self._remembered()

    def read(self) -> Read:
        """New whole lines; the same again until `forget` is told of them."""
        lines: list[str] = []
        places = dict(self._places)
        for path in self._paths:
            found, places[str(path)] = _read(path, places.get(str(path), Place()))
            lines += found
        return Read(lines, places)

    def forget(self, read: Read) -> None:
        """What was read has been taken care of.

        Raises:
            ResourceExhausted: that cannot be written down.
        """
        if read.places == self._places:
            return
        self._places = read.places
        aside = self._state.with_suffix(".new")
        try:
            aside.write_bytes(msgspec.json.encode(self._places))
            aside.replace(self._state)
        except OSError as error:
            raise ResourceExhausted(f"{self._state} cannot be written ({error.strerror})") from None

    def _remembered(self) -> Places:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=Places)
        except (OSError, msgspec.DecodeError):
            return {}


def _read(path: Path, place: Place) -> tuple[list[str], Place]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            offset = place.offset
            if found.st_ino != place.inode or found.st_size < offset:
                offset = 0
            notes = []
            if found.st_size - offset > MOST_BEHIND_BYTES:
                left_out = found.st_size - _KEPT_BYTES - offset
                offset += left_out
                notes = [f"[{left_out} bytes of {path.name} are left out: it grows too fast]"]
            file.seek(offset)
            data = file.read(_MOST_AT_ONCE_BYTES)
    except OSError:
        return [], place
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) >= _LONG_LINE_BYTES:
        whole = len(data)  # a line without an end must not hold up the others
    text = data[:whole].decode(errors="replace")
    return notes + text.splitlines(), Place(found.st_ino, offset + whole)
