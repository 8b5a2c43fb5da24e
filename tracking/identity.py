"""Who a run is, wherever it lies: its uid, which no other run has."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from errors import ConfigError

_UID = re.compile(r"[0-9a-f]{32}")
_LONGEST_ID = 32


def new_uid() -> str:
    """128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def is_uid(text: str) -> bool:
    """Whether ``text`` is a uid."""
    return _UID.fullmatch(text) is not None


def check_run_id(text: str) -> None:
    """Refuse what can be nobody's id, before it is read as a number.

    Raises:
        ConfigError: it is longer than a uid.
    """
    if len(text) > _LONGEST_ID:
        raise ConfigError(
            f"no run {ascii(text[:_LONGEST_ID])[1:-1]}... ({len(text)} characters): a run is named "
            "by its number, or by its uid of 32 hexadecimal digits"
        )


def uid_of(entry: Mapping[str, Any]) -> str:
    """The uid of the run that ``entry``, its ``run.json``, describes.

    A run that was started by a release which did not note it has that of its result, or one that
    follows from when and where it was started.
    """
    result = entry.get("result")
    of_result = result.get("run_uid") if isinstance(result, Mapping) else None
    for uid in (entry.get("uid"), of_result):
        if isinstance(uid, str) and is_uid(uid):
            return uid
    host = entry.get("host")
    facts = (
        entry.get("start_time"),
        host.get("hostname") if isinstance(host, Mapping) else None,
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
