"""Start poses: a mapping of a model's coordinates, made into OpenSim's state vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from env.musculoskeletal.model import MuscleModel
from errors import ConfigError, did_you_mean

SPEED = "/speed"

# Of what assembling may move a coordinate by, m or rad.
_ASSEMBLED_WITHIN = 1e-4


def places(model: MuscleModel) -> dict[str, int]:
    """Index in OpenSim's generalised coordinates and speeds, by a coordinate's name."""
    state = model.model.initializeState()
    q = state.getQ()
    for i in range(q.size()):
        q[i] = i
    state.setQ(q)
    return {
        name: round(coordinate.getValue(state)) for name, coordinate in _coordinates(model).items()
    }


def default_state(model: MuscleModel) -> tuple[list[float], list[float]]:
    """The model's own generalised coordinates and speeds, in the order of its state vector."""
    return _state_vectors(model.model.initializeState())


def posed(model: MuscleModel, pose: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Generalised coordinates and speeds, in the order of OpenSim's state vector, of ``pose``.

    Args:
        model: whose coordinates these are.
        pose: coordinate to value, m or rad; ``name/speed`` to its speed, m/s or rad/s. What is not
            named keeps the model's default, or what the model's constraints make of it.

    Raises:
        ConfigError: an unknown, locked or out-of-range coordinate, a value that is no finite
            number, or a pose that the model's constraints do not allow.
    """
    coordinates = _coordinates(model)
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
        raise _not_assembled(model, " ".join(str(error).split())[:300]) from None
    for key, value in pose.items():
        # OpenSim is content with the nearest pose that its constraints allow.
        if not key.endswith(SPEED):
            got = coordinates[key].getValue(state)
            if abs(got - value) > _ASSEMBLED_WITHIN:
                raise _not_assembled(model, f"{key} would be {got:.4g} instead of {value:.4g}")
    return _state_vectors(state)


def _state_vectors(state: Any) -> tuple[list[float], list[float]]:
    q, u = state.getQ(), state.getU()
    return [q[i] for i in range(q.size())], [u[i] for i in range(u.size())]


def _not_assembled(model: MuscleModel, reason: str) -> ConfigError:
    return ConfigError(
        f"pose: model {model.path.name} cannot be assembled so ({reason}); "
        "change or leave out the coordinates that its constraints tie together"
    )


def _set(coordinate: Any, key: str, value: float, state: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ConfigError(f"pose: {key}={value!r}: expected a finite number, in m or rad")
    if coordinate.getLocked(state):
        raise ConfigError(f"pose: coordinate {key} is locked in this model; leave it out")
    if key.endswith(SPEED):
        coordinate.setSpeedValue(state, float(value))
        return
    # Also where the range is only advice to OpenSim: an angle in degrees is found out.
    low, high = coordinate.getRangeMin(), coordinate.getRangeMax()
    if not low <= value <= high:
        raise ConfigError(
            f"pose: {key}={value}: the model allows {low:.4g} to {high:.4g}, in m or rad"
        )
    coordinate.setValue(state, float(value), False)


def _coordinates(model: MuscleModel) -> dict[str, Any]:
    coordinates = model.model.getCoordinateSet()
    found = (coordinates.get(i) for i in range(coordinates.getSize()))
    return {str(coordinate.getName()): coordinate for coordinate in found}
