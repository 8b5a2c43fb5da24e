"""A plain drawing of a snapshot, for machines on which VTK cannot draw.

A side view by Pillow: bones as lines from joint to joint, muscles as their paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from env.musculoskeletal.geometry import GROUND, Piece, pieces
from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.scene import HEIGHT, WIDTH, activation_colours
from env.musculoskeletal.snapshot import Snapshot
from env.musculoskeletal.sticks import sticks, view_of

Colour = tuple[int, int, int]

_OVERSAMPLED = 2
_SKY, _GROUND, _TILE = (232, 238, 244), (205, 207, 210), (170, 173, 178)
_NEAR, _FAR = np.array([70.0, 66.0, 60.0]), np.array([175.0, 169.0, 160.0])
_BALL = (150, 110, 80)
# How far apart, in the depth of the picture, the darkest and the palest line are.
_DEPTH_M = 0.2
_IN_FRONT_M = 0.02
_HEAD = "head"
_HEAD_RADIUS_M = 0.1


class StickFigure:
    """Draws snapshots of one model from the side; `view_of` says what it shows.

    Args:
        model: whose bodies these are.
    """

    def __init__(self, model: MuscleModel) -> None:
        self._view = view_of(model)
        self._sticks = sticks(model)
        self._balls = [piece for piece in pieces(model)[0] if piece.shape == "ellipsoid"]
        self._head = int(model.model.getBodySet().getIndex(_HEAD))

    def draw(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """``(480, 640, 3)`` uint8, rows from the top."""
        image = Image.new("RGB", (_OVERSAMPLED * WIDTH, _OVERSAMPLED * HEIGHT), _SKY)
        sheet = _Sheet(image, self._view.focus(snapshot.bodies_b44), self._view.height_m)
        if self._view.floor_m is not None:
            sheet.floor(self._view.floor_m)
        # The far side first, so that the near one covers it.
        for _, paint in sorted(self._strokes(snapshot, sheet), key=lambda stroke: stroke[0]):
            paint()
        small = image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        return np.asarray(small).copy()

    def close(self) -> None:
        """Nothing is held."""

    def _strokes(self, snapshot: Snapshot, sheet: _Sheet) -> list[tuple[float, Callable[[], None]]]:
        """All there is to draw: depth, towards the viewer, and what draws it."""
        bodies_b44 = snapshot.bodies_b44
        strokes: list[tuple[float, Callable[[], None]]] = []
        for stick in self._sticks:
            ends = stick.in_ground(bodies_b44)
            depth = (ends[0][2] + ends[1][2]) / 2
            strokes.append((depth, sheet.line(ends, sheet.bone_colour(depth), 8)))
        for ball in self._balls:
            pose_44 = (np.eye(4) if ball.body == GROUND else bodies_b44[ball.body]) @ ball.place_44
            radius_m = float(np.linalg.norm(pose_44[:3, 0]))
            strokes.append((pose_44[2, 3], sheet.disc(pose_44[:3, 3], radius_m, _colour(ball))))
        if self._head >= 0:
            head = bodies_b44[self._head, :3, 3]
            colour = sheet.bone_colour(head[2])
            strokes.append(
                (head[2] + _IN_FRONT_M, sheet.disc(head, _HEAD_RADIUS_M, _SKY, outline=colour))
            )
        for path, paint in zip(
            snapshot.paths, activation_colours(snapshot.activations).tolist(), strict=True
        ):
            # A muscle covers the bone it runs along.
            depth = float(path[:, 2].mean()) + _IN_FRONT_M
            strokes.append((depth, sheet.line(list(path), tuple(paint), 5)))
        return strokes


class _Sheet:
    """Paper with a scale: points in ground, m, become pixels.

    Args:
        image: what is drawn on, `_OVERSAMPLED` times as large as the picture.
        focus: ``(3,)``, the point in its middle.
        height_m: of what it shows.
    """

    def __init__(self, image: Image.Image, focus: NDArray[np.float64], height_m: float) -> None:
        self._pen = ImageDraw.Draw(image)
        self._size = image.size
        self._focus = focus
        self._pixels_per_m = image.height / height_m

    def bone_colour(self, depth: float) -> Colour:
        """Paler for what is farther from the viewer."""
        share = float(np.clip(0.5 - (depth - self._focus[2]) / _DEPTH_M, 0, 1))
        red, green, blue = np.rint(_NEAR + share * (_FAR - _NEAR)).astype(int).tolist()
        return red, green, blue

    def floor(self, height_m: float) -> None:
        """The ground, with a line at each metre."""
        width, height = self._size
        _, row = self._pixel(np.array([0.0, height_m, 0.0]))
        self._pen.rectangle((0, row, width, height), fill=_GROUND)
        half = width / 2 / self._pixels_per_m
        for metre in range(int(self._focus[0] - half) - 1, int(self._focus[0] + half) + 2):
            column, _ = self._pixel(np.array([float(metre), height_m, 0.0]))
            self._pen.line((column, row, column - 40, height), fill=_TILE, width=4)

    def line(
        self, points: Sequence[NDArray[np.float64]], colour: Colour, width: int
    ) -> Callable[[], None]:
        """What draws a line through ``points``."""
        pixels = [self._pixel(point) for point in points]
        return lambda: self._pen.line(pixels, fill=colour, width=width, joint="curve")

    def disc(
        self,
        centre: NDArray[np.float64],
        radius_m: float,
        colour: Colour,
        *,
        outline: Colour | None = None,
    ) -> Callable[[], None]:
        """What draws a disc."""
        column, row = self._pixel(centre)
        radius = radius_m * self._pixels_per_m
        box = (column - radius, row - radius, column + radius, row + radius)
        return lambda: self._pen.ellipse(box, fill=colour, outline=outline, width=8)

    def _pixel(self, point: NDArray[np.float64]) -> tuple[float, float]:
        width, height = self._size
        right, up = point[:2] - self._focus[:2]
        return width / 2 + self._pixels_per_m * right, height / 2 - self._pixels_per_m * up


def _colour(ball: Piece) -> Colour:
    if ball.colour is None:
        return _BALL
    red, green, blue = (round(255 * share) for share in ball.colour)
    return red, green, blue
