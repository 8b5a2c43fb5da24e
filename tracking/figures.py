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


def duration_text(seconds: float) -> str:
    """``0:00:41``, ``27:46:40``.

    >>> duration_text(41.4), duration_text(100_000)
    ('0:00:41', '27:46:40')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
