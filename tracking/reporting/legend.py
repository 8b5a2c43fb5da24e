"""Legends as lists in the page: they wrap where it is narrow, and are text."""

from __future__ import annotations

from typing import NamedTuple

from tracking.reporting.palette import Stroke

_MARKERS = {
    "o": '<circle cx="16" cy="6" r="3"/>',
    "s": '<rect x="13" y="3" width="6" height="6"/>',
    "^": '<path d="M16 2.5 19.5 9h-7z"/>',
    "v": '<path d="M16 9.5 12.5 3h7z"/>',
    "D": '<path d="M16 2l4 4-4 4-4-4z"/>',
    "P": '<path d="M15 2h2v3h3v2h-3v3h-2V7h-3V5h3z"/>',
    "": "",
}


class LegendEntry(NamedTuple):
    """A sample of how something is drawn, as SVG, and what it is."""

    swatch: str
    label: str


def line_entry(look: Stroke, label: str) -> LegendEntry:
    """For a line."""
    colour, dashes = look.css_colour, look.css_dashes
    swatch = (
        f'<svg viewBox="0 0 32 12" aria-hidden="true" style="stroke:{colour};fill:{colour}">'
        f'<path d="M0 6H32" fill="none" stroke-width="{look.width}" stroke-dasharray="{dashes}"/>'
        f"{_MARKERS[look.marker]}</svg>"
    )
    return LegendEntry(swatch, label)


def patch_entry(css_colour: str, label: str, opacity: float = 1.0) -> LegendEntry:
    """For an area."""
    swatch = (
        '<svg viewBox="0 0 16 12" class="patch" aria-hidden="true">'
        f'<rect width="16" height="12" style="fill:{css_colour};fill-opacity:{opacity:g}"/></svg>'
    )
    return LegendEntry(swatch, label)
