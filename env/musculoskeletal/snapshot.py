"""Where bones and muscles are at one moment, as arrays that outlive the state they came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.geometry import transform_44
from env.musculoskeletal.model import MuscleModel


@dataclass(frozen=True)
class Snapshot:
    """One moment of an episode.

    Attributes:
        bodies_b44: ``(B, 4, 4)`` float64, pose in ground of each body, in the model's order.
        paths: for each muscle, in the model's order, ``(P, 3)`` float64: the points its path runs
            through in ground, m; P may change as it wraps around a bone.
        activations: ``(M,)`` float64 in [0, 1].
        time_s: simulated time.
    """

    bodies_b44: NDArray[np.float64]
    paths: tuple[NDArray[np.float64], ...]
    activations: NDArray[np.float64]
    time_s: float


def take_snapshot(model: MuscleModel) -> Snapshot:
    """The present of ``model``; half a millisecond. Changes nothing in it."""
    state = model.state
    # Muscles state their activation from this stage on.
    model.model.realizeVelocity(state)
    bodies = model.model.getBodySet()
    paths = []
    for muscle in model.muscles:
        points = muscle.getGeometryPath().getCurrentPath(state)
        paths.append(
            np.array(
                [
                    points.get(i).getLocationInGround(state).to_numpy()
                    for i in range(points.getSize())
                ]
            )
        )
    return Snapshot(
        np.array(
            [
                transform_44(bodies.get(i).getTransformInGround(state))
                for i in range(bodies.getSize())
            ]
        ),
        tuple(paths),
        np.array([muscle.getActivation(state) for muscle in model.muscles]),
        model.time_s,
    )
