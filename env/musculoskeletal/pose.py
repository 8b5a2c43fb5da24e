"""Start poses: a mapping of a model's coordinates, made into OpenSim's state vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from env.musculoskeletal.model import MuscleModel
from errors import ConfigError, did_you_mean

SPEED = "/speed"


def posed(model: MuscleModel, pose: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Generalised coordinates and speeds, in the order of OpenSim's state vector, of ``pose``.

    Args:
        model: whose coordinates these are.
        pose: coordinate to value, m or rad; ``name/speed`` to its speed, m/s or rad/s. What is not
            named keeps the model's default. Constraints are assembled to fit.

    Raises:
        ConfigError: an unknown, locked or out-of-range coordinate, a value that is no finite
            number, or a pose that the model's constraints do not allow.
    """
    coordinates = {
        str(coordinate.getName()): coordinate
        for coordinate in _items(model.model.getCoordinateSet())
    }
    state = model.model.initializeState()
    for key, value in pose.items():
        name = key.removesuffix(SPEED)
        if name not in coordinates:
            raise ConfigError(
                f"pose: model {model.path.name} has no coordinate {name!r}"
                f"{did_you_mean(name, coordinates)}; it has {', '.join(coordinates)}"
            )
        _set(coordinates[name], key, value, state)
    try:
        model.model.assemble(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"pose: model {model.path.name} cannot be assembled so ({reason}); "
            "change or leave out the coordinates that its constraints tie together"
        ) from None
    q, u = state.getQ(), state.getU()
    return [q[i] for i in range(q.size())], [u[i] for i in range(u.size())]


def _set(coordinate: Any, key: str, value: float, state: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ConfigError(f"pose: {key}={value!r}: expected a finite number, in m or rad")
    if key.endswith(SPEED):
        coordinate.setSpeedValue(state, float(value))
        return
    if coordinate.getLocked(state):
        raise ConfigError(f"pose: coordinate {key} is locked in this model; leave it out")
    low, high = coordinate.getRangeMin(), coordinate.getRangeMax()
    if coordinate.getClamped(state) and not low <= value <= high:
        raise ConfigError(f"pose: {key}={value}: the model allows {low:.4g} to {high:.4g}")
    coordinate.setValue(state, float(value), False)


def _items(opensim_set: Any) -> list[Any]:
    return [opensim_set.get(i) for i in range(opensim_set.getSize())]
