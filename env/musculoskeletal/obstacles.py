"""Balls in the runner's way: where they lie, and their contact with its feet.

After the 2017 challenge, "Learning to Run" (osim-rl 1.x, ``osim/env/run.py``), which sets the
numbers here. There a ball is a body of 0.1 g on a planar joint that is locked in place, three more
constraints for each; here it is fixed to the ground and costs its contact force alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

FIRST_BALLS = 3
MAX_BALLS = 20

_FOOT_CONTACTS = ("r_heel", "l_heel", "r_toe", "l_toe")
_UNUSED_X_M = -100.0
_PLAIN_RADIUS_M = 0.1


class Obstacle(NamedTuple):
    """A ball in the plane in which the runner moves: centre and radius, m."""

    x: float
    y: float
    radius: float


def draw_obstacles(rng: np.random.Generator, count: int) -> list[Obstacle]:
    """``count`` obstacles as the 2017 challenge drew them, the nearest first.

    The first three have their centres uniformly from 1 to 5 m ahead; the others follow from 5 m on,
    each uniformly 2 to 4 m after the one before. Radii are 0.05 m and more, exponentially with mean
    0.05 m; centres lie uniformly from -0.25 to 0.25 radii above the ground, those of the others
    from -0.05.
    """
    first = min(count, FIRST_BALLS)
    rest = count - first
    xs = np.append(rng.uniform(1.0, 5.0, first), 5.0 + np.cumsum(rng.uniform(2.0, 4.0, rest)))
    heights = np.append(rng.uniform(-0.25, 0.25, first), rng.uniform(-0.05, 0.25, rest))
    radii = 0.05 + rng.exponential(0.05, count)
    balls = zip(xs.tolist(), (heights * radii).tolist(), radii.tolist(), strict=True)
    return sorted(Obstacle(*ball) for ball in balls)


def next_obstacle(obstacles: Sequence[Obstacle], x: float) -> Obstacle | None:
    """The first of ``obstacles``, the nearest first, that a pelvis at ``x`` has not passed."""
    return next((ball for ball in obstacles if ball.x + ball.radius >= x), None)


class ObstacleCourse:
    """The contact balls of a model: made once, placed for each episode.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._balls: list[tuple[Any, Any, Any, Any]] = []
        self._vec3: Any = None

    def add_to(self, opensim: Any, model: Any) -> None:
        """Add the balls; before the model's system is built."""
        self._vec3 = opensim.Vec3
        for i in range(self._count):
            name = f"obstacle_{i}"
            frame = opensim.PhysicalOffsetFrame(
                f"{name}_place", model.getGround(), opensim.Transform(opensim.Vec3(0))
            )
            picture = opensim.Sphere(_PLAIN_RADIUS_M)
            picture.setColor(opensim.Vec3(0.9, 0.4, 0.1))
            frame.attachGeometry(picture)
            model.addComponent(frame)
            ball = opensim.ContactSphere(_PLAIN_RADIUS_M, opensim.Vec3(0), frame)
            ball.setName(name)
            model.addContactGeometry(ball)
            force = opensim.HuntCrossleyForce()
            force.setName(f"{name}_force")
            for geometry in (name, *_FOOT_CONTACTS):
                force.addGeometry(geometry)
            force.setDissipation(1e-5)
            force.setStaticFriction(0.0)
            force.setDynamicFriction(0.0)
            force.setViscousFriction(0.0)
            model.addForce(force)
            self._balls.append((frame, picture, ball, force))
        self.place(())

    def place(self, obstacles: Sequence[Obstacle]) -> None:
        """Put ``obstacles`` where they say, and the balls that are not needed out of the way.

        osim-rl 1.x changes radius and stiffness of a system that is built and has copied them, so
        that every ball is felt with the radius of 0.1 m it was made with, whatever is observed
        (seen with opensim 4.6). Here the model is to be built anew after this.
        """
        for i, (frame, picture, ball, force) in enumerate(self._balls):
            unused = Obstacle(_UNUSED_X_M, 0.0, _PLAIN_RADIUS_M)
            x, y, radius = obstacles[i] if i < len(obstacles) else unused
            frame.set_translation(self._vec3(x, y, 0))
            picture.set_radius(radius)
            ball.setRadius(radius)
            force.setStiffness(1e6 / radius)
