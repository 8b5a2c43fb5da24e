"""Figures and words of other machines as people read them, each of a bounded width.

What comes over the wire may hold anything: a number that is none, or characters that a terminal
would obey. `harmless` is what every such text goes through before anybody sees it.
"""

from __future__ import annotations

import math

_UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def harmless(text: str, max_chars: int = 500) -> str:
    r"""``text`` on one line, without anything that a terminal would obey or a reader not see.

    >>> harmless("two\nlines and \x1b[31ma colour")
    'two lines and ?[31ma colour'
    """
    text = " ".join(text[: 2 * max_chars].split())[:max_chars]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def count_text(value: float) -> str:
    """At most 5 characters: ``950``, ``12.3k``, ``1.4M``; ``-`` where it is no number.

    >>> [count_text(v) for v in (0, 7, 999, 1_000, 12_345, 999_999, 2**53, 0.25, float("nan"))]
    ['0', '7', '999', '1.0k', '12.3k', '1.0M', '9.0P', '0.2', '-']
    """
    if not math.isfinite(value) or value < 0 or value >= 1e20:
        return "-"
    for limit, unit in _UNITS:
        if value >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.1f}{unit}" if scaled < 99.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}" if value == int(value) or value >= 99.95 else f"{value:.1f}"


def bytes_text(count: float) -> str:
    """At most 7 characters: ``0 kB``, ``212 kB``, ``1.5 GB``.

    >>> [bytes_text(v) for v in (0, 40, 212_400, 1_500_000_000, 2.8e11, float("inf"))]
    ['0 kB', '0.0 kB', '212 kB', '1.5 GB', '280 GB', '-']
    """
    if not math.isfinite(count) or not 0 <= count < 1e18:
        return "-"
    units = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    limit, unit = next((u for u in units if count >= u[0] * 0.9995), units[-1])
    scaled = count / limit
    return f"{scaled:.1f} {unit}" if 0 < scaled < 9.95 else f"{scaled:.0f} {unit}"


def memory_text(megabytes: float) -> str:
    """At most 7 characters: ``212 MB``, ``1.5 GB``."""
    return bytes_text(megabytes * 1e6)


def age_text(seconds: float) -> str:
    """At most 10 characters: ``4.2 s``, ``12 s``, ``3 min``, ``2 h 5 min``, ``25 h``.

    >>> [age_text(v) for v in (0.0, 4.23, 12.4, 185, 7_510, 90_000, -1, float("nan"))]
    ['0.0 s', '4.2 s', '12 s', '3 min', '2 h 5 min', '25 h', '0.0 s', '-']
    """
    if not math.isfinite(seconds) or seconds >= 1e9:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min"
    return f"{hours} h" if hours < 72 else f"{hours // 24} days"


def plural(count: int, noun: str) -> str:
    """``1 worker``, ``3 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
