"""A model without its meshes: lines from joint to joint, and the picture they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.geometry import GROUND, body_index, transform_44
from env.musculoskeletal.model import MuscleModel, import_opensim

Point = NDArray[np.float64]
"""``(3,)`` float64, m."""

_SHORTEST_M = 1e-3


@dataclass(frozen=True)
class End:
    """A point fixed to a body: index of the body, and its place in the body's coordinates."""

    body: int
    place: Point

    def in_ground(self, bodies_b44: NDArray[np.float64]) -> Point:
        """``(3,)``, with the ``(B, 4, 4)`` poses of the bodies."""
        pose_44 = bodies_b44[self.body]
        point: Point = pose_44[:3, :3] @ self.place + pose_44[:3, 3]
        return point


@dataclass(frozen=True)
class Stick:
    """A line along a body, from the joint that carries it to one that it carries.

    The far end is fixed to the body beyond: a knee may slide in the thigh's coordinates.
    """

    start: End
    end: End

    def in_ground(self, bodies_b44: NDArray[np.float64]) -> tuple[Point, Point]:
        """Both ends."""
        return self.start.in_ground(bodies_b44), self.end.in_ground(bodies_b44)


@dataclass(frozen=True)
class Joint:
    """Where two bodies meet.

    Attributes:
        parent, child: their indices, `GROUND` among them.
        in_parent, in_child: the place, in the coordinates of each.
        is_free: whether it moves at all.
    """

    parent: int
    child: int
    in_parent: Point
    in_child: Point
    is_free: bool


def joints(model: MuscleModel) -> list[Joint]:
    """All joints of a model, in its order."""
    joint_set = model.model.getJointSet()
    return [_joint(model, joint_set.get(i)) for i in range(joint_set.getSize())]


def _joint(model: MuscleModel, joint: Any) -> Joint:
    parent, child = joint.getParentFrame(), joint.getChildFrame()
    return Joint(
        body_index(model, parent),
        body_index(model, child),
        transform_44(parent.findTransformInBaseFrame())[:3, 3],
        transform_44(child.findTransformInBaseFrame())[:3, 3],
        joint.numCoordinates() > 0,
    )


def sticks(model: MuscleModel) -> list[Stick]:
    """Lines through each body from the joint that carries it to those that it carries; where it
    carries none, through its centre of mass and as far again.
    """
    bodies = model.model.getBodySet()
    all_joints = joints(model)
    found = []
    for body in range(bodies.getSize()):
        start = _carried_at(body, all_joints)
        ends = [End(j.child, j.in_child) for j in all_joints if j.parent == body]
        tip = 2 * bodies.get(body).getMassCenter().to_numpy() - start
        if not ends and np.linalg.norm(tip - start) > _SHORTEST_M:
            ends = [End(body, tip)]
        found += [Stick(End(body, start), end) for end in ends]
    return found


def _carried_at(body: int, all_joints: list[Joint]) -> Point:
    """Where the joint that carries ``body`` is, in its coordinates."""
    return next((j.in_child for j in all_joints if j.child == body), np.zeros(3))


@dataclass(frozen=True)
class View:
    """What a picture of a model has to show, whatever it does.

    Attributes:
        floor_m: height of the ground that it walks on; ``None`` for a model that is fixed.
        root: index of the body that the camera follows, or `GROUND`.
        centre: of the picture; x and z are relative to the root.
        height_m: of what fits in the picture, at the centre.
    """

    floor_m: float | None
    root: int
    centre: Point
    height_m: float

    def focus(self, bodies_b44: NDArray[np.float64]) -> Point:
        """``(3,)``, the centre of the picture in ground. Height does not follow: a step's ups and
        downs are seen.
        """
        if self.root == GROUND:
            return self.centre
        followed = self.centre.copy()
        followed[[0, 2]] += bodies_b44[self.root, [0, 2], 3]
        return followed


def view_of(model: MuscleModel) -> View:
    """How to look at a model: one that has a ground to stand on is followed; one that hangs in the
    air is fixed, and everything within its reach is shown.
    """
    all_joints, lines = joints(model), sticks(model)
    bodies_b44 = _default_pose(model)
    root = next((j.child for j in all_joints if j.parent == GROUND and j.is_free), GROUND)
    floor_m = floor_height(model)
    if floor_m is not None and root != GROUND and lines:
        heights = [end[1] for line in lines for end in line.in_ground(bodies_b44)]
        # Sticks end in the middle of the head.
        height_m = float(max(heights) - min(heights))
        return View(floor_m, root, np.array([0.1, floor_m + 0.57 * height_m, 0]), 1.33 * height_m)
    hinge = next((j for j in all_joints if j.is_free and j.parent != GROUND), None)
    if hinge is None:
        return View(None, GROUND, np.zeros(3), 2.0)
    centre = End(hinge.child, hinge.in_child).in_ground(bodies_b44)
    return View(None, GROUND, centre, 2.6 * _reach(hinge.child, lines, bodies_b44))


def floor_height(model: MuscleModel) -> float | None:
    """Height of the ground that a model may stand on, m; ``None`` where it has none."""
    opensim = import_opensim()
    contacts = model.model.getContactGeometrySet()
    for i in range(contacts.getSize()):
        contact = contacts.get(i)
        if opensim.ContactHalfSpace.safeDownCast(contact) is not None:
            return float(contact.get_location().get(1))
    return None


def _reach(body: int, lines: list[Stick], bodies_b44: NDArray[np.float64]) -> float:
    """How far a body and those it carries stretch, m."""
    longest = 0.0
    for line in lines:
        if line.start.body == body:
            start, end = line.in_ground(bodies_b44)
            beyond = line.end.body
            rest = 0.0 if beyond == body else _reach(beyond, lines, bodies_b44)
            longest = max(longest, float(np.linalg.norm(end - start)) + rest)
    return longest


def _default_pose(model: MuscleModel) -> NDArray[np.float64]:
    """``(B, 4, 4)``, the bodies' poses at the model's own defaults; on a state of its own."""
    opensim = import_opensim()
    state = opensim.State(model.model.getWorkingState())
    coordinates = model.model.getCoordinateSet()
    for i in range(coordinates.getSize()):
        coordinate = coordinates.get(i)
        if not coordinate.getLocked(state):
            coordinate.setValue(state, coordinate.getDefaultValue(), False)
    model.model.realizePosition(state)
    bodies = model.model.getBodySet()
    return np.array(
        [transform_44(bodies.get(i).getTransformInGround(state)) for i in range(bodies.getSize())]
    )
