"""Numbers of the open generations as they stand in Redis: ``4,5,6``, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_MAX_DIGITS = 16


def format_numbers(numbers: Iterable[int]) -> str:
    """Open generations as they stand in Redis."""
    return ",".join(map(str, sorted(numbers)))


def parse_numbers(data: Any) -> list[int]:
    """What `format_numbers` wrote; nothing where it is missing or not ours."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else ""
    parts = text[:10_000].split(",")
    return [int(part) for part in parts if len(part) <= _MAX_DIGITS and part.isdecimal()]
