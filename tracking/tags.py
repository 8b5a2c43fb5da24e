"""``tags.json`` in a run's directory: words that people gave it, to find it again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from errors import ConfigError

FILE_NAME = "tags.json"
_TAG = re.compile(r"[^\W_][\w.:+-]{0,39}")


def check_tag(tag: str) -> str:
    """``tag``, if it can be one. Raises `ConfigError` otherwise."""
    if not _TAG.fullmatch(tag):
        raise ConfigError(
            f"{tag!r} is no tag: expected at most 40 letters, digits and -_.:+, a letter or digit "
            "first"
        )
    return tag


def read_tags(directory: Path) -> tuple[str, ...]:
    """The tags of the run in ``directory``, in order; none where it has none."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.MsgspecError):
        return ()


def write_tags(directory: Path, tags: Iterable[str]) -> None:
    """Let the run in ``directory`` have these tags and no others, all or nothing.

    Raises:
        ConfigError: they cannot be written.
    """
    path = directory / FILE_NAME
    aside = directory / f".{FILE_NAME}.new"
    try:
        if ordered := sorted(set(tags)):
            aside.write_bytes(msgspec.json.encode(ordered) + b"\n")
            aside.replace(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from None
