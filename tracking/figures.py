"""Figures as people read them, each at a bounded width."""

from __future__ import annotations

import math


def number_text(value: float | None) -> str:
    """At most 9 characters: ``103.2``, ``0.125``, ``1.25e+07``; ``-`` where there is none.

    >>> [number_text(v) for v in (103.24, 0.125, 0.0, -2e-7, 12_500_000.0, None)]
    ['103.2', '0.125', '0.000', '-2.00e-07', '1.25e+07', '-']
    """
    if value is None or math.isnan(value):
        return "-"
    size = abs(value)
    if size and not 1e-3 <= size < 1e5:
        return f"{value:.2e}"
    return f"{value:.1f}" if size >= 1 else f"{value:.3f}"


def rate_text(value: float | None) -> str:
    """At most 5 characters: ``950``, ``4.1k``, ``1.2M``.

    >>> [rate_text(v) for v in (4_100.0, 950.4, 12.34, 66_000.0, 1_234_567.0, None)]
    ['4.1k', '950', '12.3', '66.0k', '1.2M', '-']
    """
    if value is None or not math.isfinite(value):
        return "-"
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9995:
            return (
                f"{value / limit:.1f}{unit}"
                if value < 999.5 * limit
                else f"{value / limit:.0f}{unit}"
            )
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "worker"), counted(40, "worker")
    ('1 worker', '40 workers')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_text(num_bytes: float) -> str:
    """At most 7 characters, in powers of 1000: ``812 B``, ``4.1 kB``, ``120 MB``.

    >>> size_text(812), size_text(4_100), size_text(120e6), size_text(999_999)
    ('812 B', '4.1 kB', '120 MB', '1.0 MB')
    """
    size, units = float(num_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" or size >= 99.5 else f"{size:.1f} {units[0]}"


def duration_text(seconds: float) -> str:
    """``0:00:41``, ``27:46:40``.

    >>> duration_text(41.4), duration_text(100_000)
    ('0:00:41', '27:46:40')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
