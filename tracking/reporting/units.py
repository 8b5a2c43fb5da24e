"""Figures in a page as people read them: units that fit, digits that align."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"


def count(value: float | None) -> str:
    """A whole number, thousands apart.

    >>> count(2_000_130), count(None)
    ('2,000,130', '–')
    """
    return NONE if value is None or not math.isfinite(value) else f"{value:,.0f}"


def decimal(value: float | None, digits: int = 1) -> str:
    """With so many digits after the point and a true minus; in powers of ten where very small or
    large.

    >>> decimal(-103.24), decimal(0.0), decimal(1.5e9), decimal(2e-7), decimal(math.nan)
    ('−103.2', '0.0', '1.50e+09', '2.00e-07', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    is_far = value and not 10.0**-digits / 2 <= abs(value) < 1e8
    text = f"{value:.2e}" if is_far else f"{value:,.{digits}f}"
    return f"−{text[1:]}" if text.startswith("-") else text


def percent(share: float | None) -> str:
    """A share of one.

    >>> percent(0.9312), percent(None)
    ('93.1 %', '–')
    """
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """In the two largest units that fit.

    >>> [duration(s) for s in (0.0312, 8.25, 41.4, 125, 7_260, 200_000)]
    ['31 ms', '8.2 s', '41 s', '2 min 05 s', '2 h 01 min', '2 d 08 h']
    """
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if abs(seconds) < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def size(num_bytes: int) -> str:
    """In MB of a million bytes.

    >>> size(462_930)
    '0.5 MB'
    """
    return f"{num_bytes / 1e6:.1f} MB"


def moment(unix_s: float) -> str:
    """A moment in UTC, to the minute.

    >>> moment(0.0)
    '1970-01-01 00:00 UTC'
    """
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M} UTC"


def unix_of(sacred_time: object) -> float | None:
    """Unix seconds of a time as Sacred writes it: ISO 8601 in UTC; ``None`` of anything else."""
    try:
        return datetime.fromisoformat(str(sacred_time)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def ago(seconds: float) -> str:
    """How long ago something was.

    >>> ago(30.0)
    '30 s ago'
    """
    return f"{duration(max(1.0, seconds))} ago"
