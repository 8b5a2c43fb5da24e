"""What a model did in an episode, as arrays over time, and who takes it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel, import_opensim
from env.musculoskeletal.sticks import floor_height

Rows = NDArray[np.float64]
"""``(T, ...)`` float64, a row for each moment, the first at reset."""

# Below this the ground holds nothing up, and the quotient that is its point of attack is noise.
_LEAST_LOAD_N = 1.0


@dataclass(frozen=True)
class GroundReaction:
    """What the ground does to one foot.

    Attributes:
        name: the model's name of the contact force.
        force_t3: ``(T, 3)``, N, in ground: x forward, y up, z to the right.
        point_t3: ``(T, 3)``, m, centre of pressure on the ground; 0 without load.
        torque_t3: ``(T, 3)``, N m, about that point; without load about the origin.
    """

    name: str
    force_t3: Rows
    point_t3: Rows
    torque_t3: Rows


@dataclass(frozen=True)
class Motion:
    """One episode.

    Attributes:
        model: name of the model's file.
        time_s: ``(T,)``.
        states: by OpenSim's path of a state variable, ``(T,)`` in its unit.
        coordinates: by name, ``(T,)``, rad or m.
        rotations: which of the coordinates are angles.
        activations: by muscle, ``(T,)`` in [0, 1].
        controls: by actuator, ``(T,)``: what is held from this moment to the next; the last row
            repeats the one before.
        reactions: one for each foot, in the model's order.
        terms: by name, ``(T,)``: the reward's summands in the step that ends here; 0 at reset.
    """

    model: str
    time_s: Rows
    states: Mapping[str, Rows]
    coordinates: Mapping[str, Rows]
    rotations: frozenset[str]
    activations: Mapping[str, Rows]
    controls: Mapping[str, Rows]
    reactions: tuple[GroundReaction, ...]
    terms: Mapping[str, Rows]


@dataclass(frozen=True)
class _Row:
    time_s: float
    states: Rows
    coordinates: list[float]
    activations: list[float]
    controls: Rows
    on_ground: list[list[float]]
    terms: Mapping[str, float]


class MotionRecorder:
    """Takes down what a model does: `start` after reset, `record` after each step.

    Reads from a copy of the state, so that nothing changes for the simulation.

    Args:
        model: whose motion it is.
    """

    def __init__(self, model: MuscleModel) -> None:
        self._opensim = import_opensim()
        self._model = model
        opensim_model = model.model
        names = opensim_model.getStateVariableNames()
        self._states = [str(names.get(i)) for i in range(names.getSize())]
        self._coordinates = _items(opensim_model.getCoordinateSet())
        self._actuators = [str(a.getName()) for a in _items(opensim_model.getActuators())]
        self._contacts = _contacts_with_ground(opensim_model)
        self._floor_m = floor_height(model) or 0.0
        self._rows: list[_Row] = []

    def start(self) -> None:
        """Forget what was; take down the start of an episode."""
        self._rows = []
        self.record({})

    def record(self, terms: Mapping[str, float]) -> None:
        """Take down the present, and the ``terms`` of the reward that led to it."""
        model = self._model.model
        state = self._opensim.State(self._model.state)
        model.realizeDynamics(state)
        on_ground = []
        for force, first in self._contacts:
            record = force.getRecordValues(state)
            on_ground.append([record.get(first + i) for i in range(6)])
        self._rows.append(
            _Row(
                self._model.time_s,
                model.getStateVariableValues(state).to_numpy().copy(),
                [coordinate.getValue(state) for coordinate in self._coordinates],
                [muscle.getActivation(state) for muscle in self._model.muscles],
                model.getControls(state).to_numpy().copy(),
                on_ground,
                dict(terms),
            )
        )

    def motion(self) -> Motion:
        """What was taken down since `start`."""
        rows = self._rows
        # A row has what was held until then; a file of controls, what is held from then on.
        controls = [row.controls for row in rows[1:] + rows[-1:]]
        names = dict.fromkeys(name for row in rows for name in row.terms)
        return Motion(
            model=self._model.path.name,
            time_s=np.array([row.time_s for row in rows]),
            states=_columns(self._states, [row.states for row in rows]),
            coordinates=_columns(
                [str(c.getName()) for c in self._coordinates], [row.coordinates for row in rows]
            ),
            rotations=frozenset(
                str(c.getName())
                for c in self._coordinates
                if c.getMotionType() == self._opensim.Coordinate.Rotational
            ),
            activations=_columns(
                [str(m.getName()) for m in self._model.muscles], [row.activations for row in rows]
            ),
            controls=_columns(self._actuators, controls),
            reactions=tuple(
                _reaction(
                    str(force.getName()),
                    np.array([row.on_ground[i] for row in rows]),
                    self._floor_m,
                )
                for i, (force, _) in enumerate(self._contacts)
            ),
            terms={name: np.array([row.terms.get(name, 0.0) for row in rows]) for name in names},
        )


class RecordedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An OpenSim environment with a `MotionRecorder` that misses no step.

    Attributes:
        recorder: has the episode since the last reset.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], model: MuscleModel) -> None:
        super().__init__(env)
        self.recorder = MotionRecorder(model)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.recorder.start()
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.recorder.record(info["reward_terms"])
        return observation, reward, terminated, truncated, info


def _items(opensim_set: Any) -> list[Any]:
    return [opensim_set.get(i) for i in range(opensim_set.getSize())]


def _columns(names: list[str], rows: list[Any]) -> dict[str, Rows]:
    table = np.array(rows, dtype=np.float64)
    return {name: table[:, i] for i, name in enumerate(names)}


def _contacts_with_ground(model: Any) -> list[tuple[Any, int]]:
    """Each contact force with the ground, and where in its record the ground's share begins: three
    numbers of force and three of torque about the origin, both on the ground.
    """
    found = []
    for force in _items(model.getForceSet()):
        labels = force.getRecordLabels()
        wanted = f"{force.getName()}.ground.force.X"
        first = next((i for i in range(labels.getSize()) if labels.get(i) == wanted), None)
        if first is not None:
            found.append((force, first))
    return found


def _reaction(name: str, on_ground_t6: Rows, floor_m: float) -> GroundReaction:
    """The same force at the point of the floor where its torque has only a vertical part."""
    # Subtracted and not negated: no -0.
    force, about_origin = 0.0 - on_ground_t6[:, :3], 0.0 - on_ground_t6[:, 3:]
    loaded = force[:, 1] > _LEAST_LOAD_N
    upward = np.where(loaded, force[:, 1], 1.0)
    point = np.zeros_like(force)
    point[:, 0] = (about_origin[:, 2] + floor_m * force[:, 0]) / upward
    point[:, 1] = floor_m
    point[:, 2] = (floor_m * force[:, 2] - about_origin[:, 0]) / upward
    point[~loaded] = 0.0
    return GroundReaction(name, force, point, about_origin - np.cross(point, force))
