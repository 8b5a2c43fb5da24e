"""A plain drawing of a snapshot, for machines on which VTK cannot draw.

A side view by Pillow: bones as lines between the bodies' origins, muscles as their paths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.scene import HEIGHT, WIDTH, activation_colours
from env.musculoskeletal.snapshot import Snapshot

_PIXELS_PER_M = 205.0
_FLOOR_ROW = 425
_OVERSAMPLED = 2
_SKY, _GROUND, _TILE = (232, 238, 244), (205, 207, 210), (170, 173, 178)
_NEAR, _FAR = (70, 66, 60), (160, 154, 145)
# From the trunk's origin to the middle of the skull.
_HEAD_M = 0.57


class StickFigure:
    """Draws snapshots of one model from the side, the pelvis in the middle.

    Args:
        model: whose bodies these are.
    """

    def __init__(self, model: MuscleModel) -> None:
        bodies = model.model.getBodySet()
        names = [bodies.get(i).getName() for i in range(bodies.getSize())]
        self._index = {name: i for i, name in enumerate(names)}
        self._is_left_m = [muscle.getName().endswith("_l") for muscle in model.muscles]

    def draw(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """``(480, 640, 3)`` uint8, rows from the top."""
        scale = _OVERSAMPLED
        image = Image.new("RGB", (scale * WIDTH, scale * HEIGHT), _SKY)
        pen = ImageDraw.Draw(image)
        self._draw_ground(pen, snapshot.distance_m)
        for left in (True, False):
            self._draw_leg(pen, snapshot, left=left)
            if left:
                self._draw_trunk(pen, snapshot)
        small = image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        return np.asarray(small).copy()

    def close(self) -> None:
        """Nothing is held."""

    def _draw_ground(self, pen: ImageDraw.ImageDraw, distance_m: float) -> None:
        row = _OVERSAMPLED * _FLOOR_ROW
        pen.rectangle((0, row, _OVERSAMPLED * WIDTH, _OVERSAMPLED * HEIGHT), fill=_GROUND)
        first = int(np.floor(distance_m)) - 3
        for metre in range(first, first + 8):
            column, _ = self._pixel(np.array([metre, 0.0, 0.0]), distance_m)
            pen.line((column, row, column - 40, _OVERSAMPLED * HEIGHT), fill=_TILE, width=4)

    def _draw_leg(self, pen: ImageDraw.ImageDraw, snapshot: Snapshot, *, left: bool) -> None:
        side, colour = ("l", _FAR) if left else ("r", _NEAR)
        chain = [f"{name}_{side}" for name in ("femur", "tibia", "talus", "toes")]
        joints = [snapshot.bodies_b44[self._index[name], :3, 3] for name in chain]
        toes_44 = snapshot.bodies_b44[self._index[chain[-1]]]
        heel_44 = snapshot.bodies_b44[self._index[f"calcn_{side}"]]
        tip, heel = (toes_44 @ [0.07, 0, 0, 1])[:3], heel_44[:3, 3]
        self._line(pen, [*joints[:3], heel, joints[3], tip], snapshot, colour, 7)
        colours = activation_colours(snapshot.activations)
        for path, of_left, paint in zip(snapshot.paths, self._is_left_m, colours, strict=True):
            if of_left == left:
                red, green, blue = paint.tolist()
                self._line(pen, list(path), snapshot, (red, green, blue), 4)

    def _draw_trunk(self, pen: ImageDraw.ImageDraw, snapshot: Snapshot) -> None:
        hip = snapshot.bodies_b44[self._index["femur_r"], :3, 3]
        torso_44 = snapshot.bodies_b44[self._index["torso"]]
        neck, head = (torso_44 @ [0, _HEAD_M - 0.1, 0, 1])[:3], (torso_44 @ [0, _HEAD_M, 0, 1])[:3]
        self._line(pen, [hip, torso_44[:3, 3], neck], snapshot, _NEAR, 9)
        column, row = self._pixel(head, snapshot.distance_m)
        radius = 0.1 * _PIXELS_PER_M * _OVERSAMPLED
        pen.ellipse(
            (column - radius, row - radius, column + radius, row + radius), outline=_NEAR, width=8
        )

    def _line(
        self,
        pen: ImageDraw.ImageDraw,
        points: list[NDArray[np.float64]],
        snapshot: Snapshot,
        colour: tuple[int, int, int],
        width: int,
    ) -> None:
        pixels = [self._pixel(point, snapshot.distance_m) for point in points]
        pen.line(pixels, fill=colour, width=width, joint="curve")

    def _pixel(self, point: NDArray[np.float64], distance_m: float) -> tuple[float, float]:
        column = WIDTH / 2 + _PIXELS_PER_M * (float(point[0]) - distance_m)
        return _OVERSAMPLED * column, _OVERSAMPLED * (_FLOOR_ROW - _PIXELS_PER_M * float(point[1]))
