"""What all environments on an OpenSim model have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from env.musculoskeletal.integration import Integration, choose_integration
from env.musculoskeletal.model import STEP_S, MuscleModel, osim_rl_folder
from env.musculoskeletal.own_reward import Moment, OwnReward, own_terms
from env.musculoskeletal.pose import posed
from errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from env.musculoskeletal.artist import Artist
    from env.musculoskeletal.snapshot import Snapshot

Pose = tuple[list[float] | None, list[float] | None]
"""Generalised coordinates and speeds; None: the model's own."""


class SimulationOptions(TypedDict, total=False):
    """Options of every OpenSim environment.

    Attributes:
        preset: ``exact``, the original's own integrator and accuracy and the default, or ``fast``,
            to search with; see `env.musculoskeletal.integration.PRESETS`.
        integrator, accuracy: instead of the preset's.
        fresh_derivatives: begin each step with derivatives of its own action: more exact, but not
            the original's numbers; see `env.musculoskeletal.model.MuscleModel.advance`.
        time_limit_steps: when an episode is truncated; the data sheets say what is usual.
            (Gymnasium keeps the name ``max_episode_steps`` for a wrapper of its own.)
        model: an ``.osim`` file of your own, which must have all that the environment reads; from a
            config, a file in the ``include`` folder.
        reward: a function of your own instead of the environment's; see
            `env.musculoskeletal.own_reward`. From a config, ``module:function`` in that folder.
        pose: where an episode starts: coordinate to value; see `env.musculoskeletal.pose.posed`.
        render_mode: ``rgb_array`` or None.
    """

    preset: str
    integrator: str | None
    accuracy: float | None
    fresh_derivatives: bool
    time_limit_steps: int | None
    model: str | Path | None
    reward: OwnReward | None
    pose: Mapping[str, float] | Sequence[float] | None
    render_mode: str | None


class OpenSimEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.floating]]):
    """Excitations in, an observation and a reward out, every 0.01 s of simulated time.

    A subclass names its model and says how an episode begins, what is observed, what is rewarded
    and when it is over. ``info`` has the reward's summands as ``reward_terms``, ``distance_m``, how
    far forward the model is, and ``time_s``, the simulated time.

    Args:
        file: the model: a name among osim-rl's, or a path.
        time_limit_steps: the subclass's own.
        prepare: see `env.musculoskeletal.model.MuscleModel`.
        options: see `SimulationOptions`.

    Raises:
        ConfigError: an option that cannot work.
        EnvUnavailable: opensim or osim-rl is not installed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / STEP_S)}  # noqa: RUF012

    dt = STEP_S
    """Seconds of simulated time a step."""

    def __init__(
        self,
        file: str,
        time_limit_steps: int,
        options: SimulationOptions,
        prepare: Callable[[Any, Any], None] | None = None,
    ) -> None:
        _check_known(options)
        limit = options.get("time_limit_steps")
        self._time_limit_steps = _checked_limit(time_limit_steps if limit is None else limit)
        self.render_mode = _checked_render_mode(options.get("render_mode"))
        self._own_reward = _checked_reward(options.get("reward"))
        integration = choose_integration(
            options.get("preset", "exact"), options.get("integrator"), options.get("accuracy")
        )
        own_model = options.get("model")
        self.model = MuscleModel(
            osim_rl_folder() / "models" / file if own_model is None else Path(own_model),
            integration,
            fresh_derivatives=bool(options.get("fresh_derivatives", False)),
            prepare=prepare,
        )
        self._muscle_places = self._action_order()
        pose = options.get("pose")
        self._own_pose = None if pose is None else self._pose_of(pose)
        self.action_space = spaces.Box(0.0, 1.0, (len(self._muscle_places),), np.float32)
        self._excitations: NDArray[np.float64] = np.zeros(len(self._muscle_places))
        self._terms: dict[str, float] = {}
        self._artist: Artist | None = None

    def _pose_of(self, pose: Mapping[str, float] | Sequence[float]) -> Pose:
        """The state vectors of the option ``pose``."""
        if not isinstance(pose, Mapping):
            raise ConfigError(f"pose={pose!r}: expected values by coordinate, {{'name': value}}")
        return posed(self.model, pose)

    def _action_order(self) -> NDArray[np.intp]:
        """For each muscle of the model, in its order, its place in the action."""
        return np.arange(len(self.model.muscles))

    def _arrange(self) -> None:
        """Change the model for the episode that is about to start, or draw what it will need from
        ``self.np_random``; nothing by default.
        """

    @abstractmethod
    def _start_pose(self) -> Pose:
        """Where an episode starts; what is random is drawn from ``self.np_random``."""

    @abstractmethod
    def _begin(self) -> None:
        """Forget the episode before; called when the model is at its start."""

    @abstractmethod
    def _observe(self) -> NDArray[np.float64]:
        """Read the model's state; a new array."""

    @abstractmethod
    def _has_ended(self) -> bool:
        """Whether the state last read ends the episode."""

    @abstractmethod
    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        """The reward of the step just taken, and its terms.

        Args:
            succeeded: the time limit is reached and the episode has not ended before it.
        """

    @property
    @abstractmethod
    def distance_m(self) -> float:
        """How far forward the model is, as last read."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """The start of an episode, whatever ran before, to the bit.

        ``options`` may hold ``preset``, ``integrator`` and ``accuracy``: for this episode only.
        Everything random is drawn from ``seed``.
        """
        super().reset(seed=seed)
        self._arrange()
        pose_q, speed_u = self._own_pose or self._start_pose()
        self.model.start(pose_q, speed_u, _episode_integration(options))
        self._terms = {}
        self._excitations[:] = 0.0
        self._begin()
        observation = self._observe()
        if self._own_reward is not None:
            # Not counted: a function with a memory of its own begins anew, and one that cannot
            # work says so before anything has been simulated.
            terms: Mapping[str, float] = defaultdict(float)
            own_terms(self._own_reward, self._moment(observation, terms, terminated=False))
        return observation, self._info()

    def step(
        self, action: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Hold ``action`` for 0.01 s.

        Raises:
            ValueError: the action has another size, or a NaN; or the user's reward function fails.
            RuntimeError: OpenSim cannot integrate on; its message.
        """
        if self.model.state is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        self._excite(action)
        self.model.advance()
        observation = self._observe()
        terminated = self._has_ended()
        truncated = self.model.num_steps >= self._time_limit_steps
        reward, self._terms = self._rewarded(succeeded=truncated and not terminated)
        if self._own_reward is not None:
            moment = self._moment(observation, self._terms, terminated=terminated)
            self._terms = own_terms(self._own_reward, moment)
            reward = math.fsum(self._terms.values())
        return observation, reward, terminated, truncated, self._info()

    def rehearse(self) -> None:
        """Start an episode to see whether the user's own model, pose and reward function work.

        Raises:
            ConfigError: they do not.
        """
        try:
            self.reset(seed=0)
            self._np_random = None  # the next reset without a seed is random again
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"{type(self).__name__} cannot start with model {self.model.path.name}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error

    def snapshot(self) -> Snapshot:
        """Where everything is now, to be drawn at any later time."""
        from env.musculoskeletal.snapshot import take_snapshot

        return take_snapshot(self.model)

    def artist(self, notice: Callable[[str], None] = gymnasium.logger.warn) -> Artist:
        """Who draws this environment's snapshots: bones, or lines where ``notice`` is told why."""
        if self._artist is None:
            from env.musculoskeletal.artist import find_artist

            self._artist = find_artist(self.model, notice)
        return self._artist

    def render(self) -> Any:
        """The present as ``(480, 640, 3)`` uint8, or ``None`` without a render mode."""
        if self.render_mode is None:
            return None
        return self.artist().draw(self.snapshot())

    def close(self) -> None:
        """Let go of the drawing, if there was one."""
        if self._artist is not None:
            self._artist.close()
            self._artist = None

    def _moment(
        self, observation: NDArray[np.float64], terms: Mapping[str, float], *, terminated: bool
    ) -> Moment:
        return Moment(
            observation,
            self._excitations.copy(),
            terms,
            self.distance_m,
            self.model.time_s,
            terminated,
            self.model,
        )

    def _excite(self, action: NDArray[np.floating]) -> None:
        # osim-rl takes an action that is too long without a word.
        values = np.asarray(action, dtype=np.float64)
        if values.shape != self._excitations.shape:
            raise ValueError(
                f"action of shape {values.shape}, expected {self._excitations.shape}: "
                "one excitation for each muscle"
            )
        # Out of range is clipped, as in the original; NaN would be kept by a clip.
        np.clip(values, 0.0, 1.0, self._excitations)
        ordered = self._excitations[self._muscle_places].tolist()
        if any(map(math.isnan, ordered)):
            raise ValueError("action with NaN, expected excitations in [0, 1]")
        self.model.set_excitations(ordered)

    def _info(self) -> dict[str, Any]:
        return {
            "reward_terms": self._terms,
            "distance_m": self.distance_m,
            "time_s": self.model.time_s,
        }


def check_difficulty(difficulty: int, known: range, env_name: str) -> int:
    """``difficulty``, if it is one of ``known``; a `ConfigError` otherwise."""
    if type(difficulty) is not int or difficulty not in known:
        raise ConfigError(
            f"difficulty={difficulty!r} of {env_name}: expected {known.start} to {known.stop - 1}"
        )
    return difficulty


def _check_known(options: SimulationOptions) -> None:
    known = SimulationOptions.__annotations__
    for name in options:
        if name not in known:
            raise ConfigError(
                f"unknown option {name!r} of an OpenSim environment{did_you_mean(name, known)}; "
                f"common to all: {', '.join(known)}"
            )


def _episode_integration(options: dict[str, Any] | None) -> Integration | None:
    if not options:
        return None
    known = ("preset", "integrator", "accuracy")
    unknown = set(options) - set(known)
    if unknown:
        raise ConfigError(
            f"reset options {', '.join(sorted(unknown))} of an OpenSim environment: "
            f"known: {', '.join(known)}"
        )
    return choose_integration(**options)


def _checked_limit(steps: int) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"time_limit_steps={steps!r}: expected an integer above 0")
    return steps


def _checked_render_mode(mode: str | None) -> str | None:
    if mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode={mode!r}: expected rgb_array or None")
    return mode


def _checked_reward(reward: OwnReward | None) -> OwnReward | None:
    if reward is not None and not callable(reward):
        raise ConfigError(
            f"reward={reward!r}: expected a function, or module:function with include=FOLDER"
        )
    return reward
