"""Figures of matplotlib's as SVG that lives in a page: its fonts, its colours, its width."""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tracking.reporting.palette import CSS_NAMES, GRID, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Size(NamedTuple):
    """A figure's size in CSS pixels, and how many points of a curve and columns of a grid it can
    show.
    """

    name: str
    width: int
    height: int
    max_points: int
    max_columns: int


WIDE = Size("wide", 640, 290, 400, 96)
NARROW = Size("narrow", 348, 240, 160, 40)
SIZES = (WIDE, NARROW)

Draw = Callable[["Axes", Size], None]

_TEXT_PX = 11.0
_DIGIT_PX = 6.2
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": _TEXT_PX,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": _TEXT_PX,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.titlesize": _TEXT_PX,
    "axes.titlecolor": MUTED,
    "axes.titlelocation": "left",
    "axes.titleweight": "normal",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": _TEXT_PX,
    "ytick.labelsize": _TEXT_PX,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": True,
}

_TAG = re.compile(r"<[^>]*>")
_NUMBER = re.compile(r"(?<![#\w.])-?\d+\.\d{2,}")
_FONT = re.compile(r"font-family: [^;\"]*;? ?")
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r"(url\(#|xlink:href=\"#)([^)\"]+)")


class SvgMaker:
    """Makes the figures of one page; their ids differ from each other's."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def both(self, draw: Draw, *, says: str, height: Callable[[Size], int] | None = None) -> str:
        """The figure for wide and for narrow places; the style sheet shows the one that fits.

        Args:
            draw: called with axes and size for each.
            says: what the figure shows, for those who do not see it.
            height: in pixels, where it is not the size's own.
        """
        sizes = [size._replace(height=height(size)) if height else size for size in SIZES]
        return "".join(
            f'<div class="{size.name}">{self._one(draw, size, says)}</div>' for size in sizes
        )

    def _one(self, draw: Draw, size: Size, says: str) -> str:
        # Imported here: half a second, and most who import this package draw nothing.
        import matplotlib as mpl
        from matplotlib.figure import Figure

        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(size.width / 72, size.height / 72), dpi=72)
            axes = figure.subplots()
            draw(axes, size)
            figure.subplots_adjust(*_margins(axes, size))
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata=_NO_METADATA)
        return self._in_page(text.getvalue(), size, says)

    def _in_page(self, svg: str, size: Size, says: str) -> str:
        """``svg`` without what is about a file of its own, and with the page's colours."""
        body = svg[svg.index("<svg") :]
        body = body[body.index("</defs>") + len("</defs>") :]  # a style that would reach the page
        body = _FONT.sub("", body)
        body = _TAG.sub(lambda tag: _NUMBER.sub(_tenth, tag.group()), body)
        for colour, name in CSS_NAMES.items():
            body = body.replace(colour, f"var({name})")
        prefix = f"f{next(self._numbers)}"
        used = {found.group(2) for found in _REFERENCE.finditer(body)}
        body = _ID.sub(lambda i: f' id="{prefix}-{i.group(1)}"' if i.group(1) in used else "", body)
        body = _REFERENCE.sub(rf"\g<1>{prefix}-\g<2>", body)
        body = "\n".join(_without_blanks(body))
        return (
            f'<svg viewBox="0 0 {size.width} {size.height}" role="img" '
            f'aria-label="{html.escape(says)}" xmlns:xlink="http://www.w3.org/1999/xlink">{body}'
        )


def _tenth(number: re.Match[str]) -> str:
    """To a tenth of a pixel."""
    return f"{float(number.group()):.1f}".removesuffix(".0")


def _without_blanks(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


def _margins(axes: Any, size: Size) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of the axes as shares of the figure: as much as their labels
    need. matplotlib's own layout takes as long as all the rest.
    """
    labels = axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks())
    left = 9 + _DIGIT_PX * max(map(len, labels), default=0)
    return (
        left / size.width,
        36 / size.height,
        1 - 14 / size.width,
        1 - 24 / size.height,
    )


def plain_axes(axes: Any, *, x_label: str, y_label: str) -> None:
    """Grid lines behind, the unit of the vertical axis above it, where it can be read."""
    axes.grid(axis="y")
    axes.set_xlabel(x_label)
    if x_label == "generation":
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(y_label, pad=8)
    axes.margins(x=0.01)
