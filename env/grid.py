"""Several episodes in one film, side by side, each with its caption."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from env.drawing import DARK, Frame, caption
from env.film import Picture

MAX_TILES = 16
_MAX_WIDTH, _MAX_HEIGHT = 1920, 1080
_GAP = 4
_DIMMED = 0.5


def side_by_side(labels: Sequence[str], films: Sequence[Iterator[Picture]]) -> Iterator[Frame]:
    """Frames that show a moment of every film, until the longest is over.

    A film that has ended stays on its last picture, dimmed.

    Args:
        labels: what each film is called.
        films: at least one and at most `MAX_TILES`, each of one picture at least, all of one size
            and speed.
    """
    pictures = [next(film) for film in films]
    has_ended = [False] * len(films)
    while not all(has_ended):
        tiles = zip(labels, pictures, has_ended, strict=True)
        yield _arranged([_tile(*tile, len(films)) for tile in tiles])
        for number, film in enumerate(films):
            following = next(film, None)
            has_ended[number] = following is None
            pictures[number] = following or pictures[number]


def columns_of(num_tiles: int) -> int:
    """How many tiles stand in a row: all of a few, else so that the grid is about square."""
    return num_tiles if num_tiles <= 3 else math.ceil(math.sqrt(num_tiles))


def _tile(label: str, picture: Picture, has_ended: bool, num_tiles: int) -> Frame:
    image = Image.fromarray(picture.frame)
    columns = columns_of(num_tiles)
    rows = math.ceil(num_tiles / columns)
    scale = min(
        1.0, _MAX_WIDTH / (columns * image.width + _GAP), _MAX_HEIGHT / (rows * image.height + _GAP)
    )
    if scale < 1:
        size = (int(scale * image.width) - _GAP, int(scale * image.height) - _GAP)
        image = image.resize(size, Image.Resampling.BOX)
    if has_ended:
        image = Image.blend(image, Image.new("RGB", image.size, DARK), _DIMMED)
    return caption(np.asarray(image), label, picture.shown.caption.lstrip())


def _arranged(tiles: Sequence[Frame]) -> Frame:
    height, width, _ = tiles[0].shape
    columns = columns_of(len(tiles))
    rows = math.ceil(len(tiles) / columns)
    grid = np.empty((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), np.uint8)
    grid[:] = DARK
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        grid[top : top + height, left : left + width] = tile
    return grid
