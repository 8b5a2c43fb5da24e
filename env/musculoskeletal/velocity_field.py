"""Where a walker should go: velocities over the ground plane, and the 11 by 11 of them it sees.

After osim-rl 3.0.11's ``envs/target/v_tgt_field.py``. That one interpolates each of the 242
numbers by a call of its own, through scipy's ``interp2d``, which is gone since scipy 1.14, and
draws from numpy's global generator, which its ``if seed:`` leaves alone for seed 0; its parameters
are one dictionary for all instances. Fields here are evaluated as one array and draw from the
generator that they are given.

Plane coordinates are x forward and y to the left, m; a pose is (x, y, yaw), yaw in rad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import STEP_S

FIELD_SHAPE = (2, 11, 11)
FIELD_SIZE = 2 * 11 * 11

Pose = tuple[float, float, float]
"""Where the walker is and how far it has turned to the left: x, y (m), yaw (rad)."""

_MAP_HALF_M = 20.0
_MAP_STEPS_PER_M = 2
_MAP_POINTS = 81
_SLOWEST_M_S, _FASTEST_M_S = 0.8, 1.8
_SLOWS_DOWN_WITHIN_M = 1.0
_NEAREST_M, _FARTHEST_M = 5.0, 7.0
_ARRIVED_WITHIN_M = 0.3
_SHORTEST_STAY_S, _LONGEST_STAY_S = 2.0, 4.0

# The points seen, over 10 by 10 m around the walker, in its own frame.
_SEEN_X, _SEEN_Y = np.mgrid[-5.0:6.0, -5.0:6.0]


class VelocityField(Protocol):
    """Target velocities, m/s, that may change while the walker walks."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode at the origin; what is random in it is drawn from ``rng``."""
        ...

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The target velocity in ground at (x, y): forward and left, m/s."""
        ...

    def update(self, pose: Pose) -> bool:
        """Another `STEP_S` has passed and the walker is at ``pose``; True when it has now stayed at
        its target for long enough.
        """
        ...

    def write_local(self, pose: Pose, out_field: NDArray[np.float64]) -> None:
        """Write what the walker at ``pose`` sees: ``(2, 11, 11)`` float64, forward and left
        velocities in its own frame, over a grid of 10 by 10 m around it: first axis forward, second
        to the left.
        """
        ...


class ConstantField:
    """The same velocity everywhere: the walk-around challenge's difficulty 0.

    Args:
        forward_m_s, left_m_s: the velocity in ground; osim-rl's ``ver00`` walks at 1.4 m/s.
    """

    def __init__(self, forward_m_s: float = 1.4, left_m_s: float = 0.0) -> None:
        self._velocity = (forward_m_s, left_m_s)

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is drawn."""

    def at(self, x: float, y: float) -> tuple[float, float]:
        """See `VelocityField.at`."""
        return self._velocity

    def update(self, pose: Pose) -> bool:
        """There is no target to reach."""
        return False

    def write_local(self, pose: Pose, out_field: NDArray[np.float64]) -> None:
        """See `VelocityField.write_local`."""
        forward, left = self._velocity
        cosine, sine = np.cos(-pose[2]), np.sin(-pose[2])
        out_field[0] = cosine * forward - sine * left
        out_field[1] = sine * forward + cosine * left


@dataclass(frozen=True)
class Course:
    """How targets follow on each other.

    Attributes:
        turn_rad: how far the way to a target may turn from the way to the one before.
        num_targets: after these there is no new one, and the walker should stay.
    """

    turn_rad: float
    num_targets: float


COURSES = {1: Course(0.0, math.inf), 2: Course(math.pi / 2, math.inf), 3: Course(math.pi, 2)}
"""Of osim-rl's difficulties (``ver01`` to ``ver03``)."""


class SinkField:
    """Velocities that all point to a target, which moves on once it is reached.

    Target: uniformly 5 to 7 m from the last one (from the origin, the first), its direction turned
    by up to ``course.turn_rad``. It is reached when the walker has been within 0.3 m of it for a
    time without a break, uniform in 2 to 4 s. Speed changes as a sine over the way from where the
    walker stood when the target came, one period with a random phase, between 0.8 and 1.8 m/s; it
    is 1.8 farther away than that and 1 m more, and falls to zero over the last metre.

    Known on a map of 40 by 40 m around that place, in steps of 0.5 m; between them linear, beyond
    the edge as at its nearest point.

    Attributes:
        target: where to go, x and y, m.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self.target = np.zeros(2)
        self._path_rad = 0.0
        self._stayed_s = self._stay_s = 0.0
        self._num_reached = 0
        self._rng: np.random.Generator = np.random.default_rng(0)
        self._x: NDArray[np.float64] = np.zeros(0)
        self._y: NDArray[np.float64] = np.zeros(0)
        self._map: NDArray[np.float64] = np.zeros((2, 0, 0))

    def reset(self, rng: np.random.Generator) -> None:
        """See `VelocityField.reset`."""
        self._rng = rng
        self.target = np.zeros(2)
        self._path_rad = 0.0
        self._stayed_s = 0.0
        self._num_reached = 0
        self._new_target(0.0, 0.0)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """See `VelocityField.at`."""
        forward, left = self._interpolated(np.asarray(x), np.asarray(y))
        return float(forward), float(left)

    def update(self, pose: Pose) -> bool:
        """See `VelocityField.update`."""
        x, y, _ = pose
        distance_m = math.sqrt((self.target[0] - x) ** 2 + (self.target[1] - y) ** 2)
        self._stayed_s = self._stayed_s + STEP_S if distance_m < _ARRIVED_WITHIN_M else 0.0
        if self._stayed_s <= self._stay_s or self._num_reached >= self._course.num_targets:
            return False
        self._num_reached += 1
        self._stayed_s = 0.0
        if self._num_reached < self._course.num_targets:
            self._new_target(x, y)
        return True

    def write_local(self, pose: Pose, out_field: NDArray[np.float64]) -> None:
        """See `VelocityField.write_local`."""
        x, y, yaw = pose
        cosine, sine = np.cos(yaw), np.sin(yaw)
        forward, left = self._interpolated(
            cosine * _SEEN_X - sine * _SEEN_Y + x, sine * _SEEN_X + cosine * _SEEN_Y + y
        )
        cosine, sine = np.cos(-yaw), np.sin(-yaw)
        out_field[0] = cosine * forward - sine * left
        out_field[1] = sine * forward + cosine * left

    def _new_target(self, x: float, y: float) -> None:
        """The next target, for a walker at (x, y). The order of draws is the original's."""
        rng, turn_rad = self._rng, self._course.turn_rad
        radius_m = rng.uniform(_NEAREST_M, _FARTHEST_M)
        self._path_rad += rng.uniform(-turn_rad, turn_rad)
        self.target = self.target + radius_m * np.array(
            [np.cos(self._path_rad), np.sin(self._path_rad)]
        )
        phase_rad = rng.uniform(-np.pi, np.pi)
        self._stay_s = rng.uniform(_SHORTEST_STAY_S, _LONGEST_STAY_S)
        self._draw_map(x, y, phase_rad)

    def _draw_map(self, x: float, y: float, phase_rad: float) -> None:
        self._x, self._y = _map_points(x, 0.0), _map_points(y, 0.0)
        towards = np.meshgrid(
            -_map_points(x, self.target[0]), -_map_points(y, self.target[1]), indexing="ij"
        )
        across = np.meshgrid(self._x - self.target[0], self._y - self.target[1], indexing="ij")
        distance = _length(*across)
        whole_m = math.sqrt((self.target[0] - x) ** 2 + (self.target[1] - y) ** 2)
        mean_m_s = (_FASTEST_M_S + _SLOWEST_M_S) / 2
        swing_m_s = (_FASTEST_M_S - _SLOWEST_M_S) / 2
        within = np.maximum(distance, _SLOWS_DOWN_WITHIN_M)
        speed = swing_m_s * np.sin(phase_rad + within / whole_m * 2 * np.pi) + mean_m_s
        speed = np.where(distance > whole_m + _SLOWS_DOWN_WITHIN_M, _FASTEST_M_S, speed)
        speed = np.where(distance > _SLOWS_DOWN_WITHIN_M, speed, distance * speed)
        length = _length(*towards)
        # A point of the map exactly at the target is 0/0 in osim-rl.
        length[length == 0.0] = 1.0
        self._map = np.stack([speed * component / length for component in towards])

    def _interpolated(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Forward and left velocities in ground, of the shape of ``x`` and ``y``."""
        i, left, right = _between(self._x, x)
        j, down, up = _between(self._y, y)
        field = self._map
        forward, leftward = (
            field[:, i, j] * left * down
            + field[:, i, j + 1] * left * up
            + field[:, i + 1, j] * right * down
            + field[:, i + 1, j + 1] * right * up
        )
        return forward, leftward


def _map_points(middle: float, origin: float) -> NDArray[np.float64]:
    """The map's 81 places along an axis, from ``origin``; rounded as osim-rl rounds them.

    That one counts them from the rounded borders and so has 82 at times, of places or of
    velocities: at one new target in 30 these differ, and `interp2d` raises. Here are always 81.
    """
    low, high = middle - _MAP_HALF_M - origin, middle + _MAP_HALF_M - origin
    centre = 0.5 * (low + high)
    half_steps = (high - centre) * _MAP_STEPS_PER_M
    return (np.arange(_MAP_POINTS) - half_steps) / _MAP_STEPS_PER_M + centre


def _length(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(x * x + y * y))


def _between(
    points: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Which two of ``points`` each value lies between, the first one's index, and the weights of
    both; a value outside is moved to the edge.
    """
    values = np.minimum(np.maximum(values, points[0]), points[-1])
    first = ((values - points[0]) * _MAP_STEPS_PER_M).astype(np.intp)
    first = np.minimum(first, len(points) - 2)
    return (
        first,
        (points[first + 1] - values) * _MAP_STEPS_PER_M,
        (values - points[first]) * _MAP_STEPS_PER_M,
    )
