"""Colours of figures, named by what they are for. The page's style sheet says what each is, by day
and by night; no two series differ by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

INK, MUTED, GRID, PAPER = "#000001", "#000002", "#000003", "#000004"
"""Text and axes, what is beside the point, lines behind, the page."""

COMPUTE, WAIT, UPDATE = "#000021", "#000022", "#000023"
HEAT = "#000024"

_SERIES = ("#000011", "#000012", "#000013", "#000014", "#000015", "#000016")

CSS_NAMES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    COMPUTE: "--compute",
    WAIT: "--wait",
    UPDATE: "--update",
    HEAT: "--heat",
    **{colour: f"--s{number}" for number, colour in enumerate(_SERIES, 1)},
}
"""What stands for each colour in the page, by what stands for it in matplotlib."""

_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.5), (6, 2, 1, 2), (9, 3), (3, 1, 1, 1))
_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn: a colour, a dash pattern in line widths, a marker of matplotlib's."""

    colour: str
    dashes: tuple[float, ...] = ()
    marker: str = ""
    width: float = 1.6

    def of_width(self, width: float) -> Stroke:
        """The same, so wide."""
        return replace(self, width=width)

    @property
    def css_colour(self) -> str:
        return f"var({CSS_NAMES[self.colour]})"

    @property
    def css_dashes(self) -> str:
        """As SVG's ``stroke-dasharray`` wants them."""
        return " ".join(f"{length * self.width:g}" for length in self.dashes) or "none"


def stroke(index: int) -> Stroke:
    """The stroke of series ``index``: 36 of them differ, by more than colour each."""
    colour = _SERIES[index % len(_SERIES)]
    turn = index + index // len(_SERIES)
    return Stroke(colour, _DASHES[turn % len(_DASHES)], _MARKERS[turn % len(_MARKERS)])
