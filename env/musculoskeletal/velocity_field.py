"""Where a walker should go: velocities over the ground plane, and the 11 by 11 of them it sees.

After osim-rl 3.0.11's ``envs/target/v_tgt_field.py``. That one interpolates each of the 242
numbers by a call of its own, through scipy's ``interp2d``, which is gone since scipy 1.14, and
draws from numpy's global generator; fields here write one array and hold no hidden randomness.

Plane coordinates are x forward and y to the left, m; a pose is (x, y, yaw), yaw in rad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FIELD_SHAPE = (2, 11, 11)
FIELD_SIZE = 2 * 11 * 11


class ConstantField:
    """The same velocity everywhere: the walk-around challenge's difficulty 0.

    Args:
        forward_m_s, left_m_s: the velocity in ground; osim-rl's ``ver00`` walks at 1.4 m/s.
    """

    def __init__(self, forward_m_s: float = 1.4, left_m_s: float = 0.0) -> None:
        self._velocity = (forward_m_s, left_m_s)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The target velocity in ground at (x, y), m/s."""
        return self._velocity

    def write_local(self, pose: tuple[float, float, float], out_field: NDArray[np.float64]) -> None:
        """Write what the walker at ``pose`` sees: ``(2, 11, 11)`` float64, forward and left
        velocities in its own frame, over a grid of 10 by 10 m around it.
        """
        forward, left = self._velocity
        cosine, sine = np.cos(-pose[2]), np.sin(-pose[2])
        out_field[0] = cosine * forward - sine * left
        out_field[1] = sine * forward + cosine * left
