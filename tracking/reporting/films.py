"""A run's videos in its page: within it while they are small together, else beside it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
_PLACES = ("*", "videos/*")


@dataclass(frozen=True)
class Film:
    """A video of a run.

    Attributes:
        name: of its file.
        address: what the page refers to: the video itself, or a path from the page to it.
        media_type: ``image/gif`` is shown as a picture.
        num_bytes: its size.
        is_embedded: whether the page holds it.
    """

    name: str
    address: str
    media_type: str
    num_bytes: int
    is_embedded: bool


class FilmStore:
    """Takes videos into a page as long as they are ``max_bytes`` at most, all together.

    Args:
        page: the file that the page becomes; others are named relative to it.
        max_bytes: of all that are taken in, before they are encoded.
    """

    def __init__(self, page: Path, max_bytes: int) -> None:
        self._folder = page.absolute().parent
        self._left = max_bytes

    def newest(self, directory: Path) -> Film | None:
        """The newest video in a run's ``directory``; ``None`` where there is none to read."""
        found = (path for place in _PLACES for path in directory.glob(place))
        films = [path for path in found if path.suffix in _TYPES and path.name[0] != "."]
        for path in sorted(films, key=lambda path: (_changed_s(path), path.name), reverse=True):
            film = self._film(path)
            if film is not None:
                return film
        return None

    def _film(self, path: Path) -> Film | None:
        try:
            num_bytes = path.stat().st_size
            is_embedded = 0 < num_bytes <= self._left
            data = path.read_bytes() if is_embedded else b""
        except OSError:
            return None
        if not num_bytes:
            return None
        media_type = _TYPES[path.suffix]
        self._left -= len(data)
        if is_embedded:
            address = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        else:
            address = quote(Path(os.path.relpath(path.absolute(), self._folder)).as_posix())
        return Film(path.name, address, media_type, num_bytes, is_embedded)


def _changed_s(path: Path) -> float:
    """When it was last written, 0 where it is gone: a run that goes on may replace it meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
