"""Episodes of a policy for people: stopped at the moments that a film shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.drawing import frame_stride
from env.rollout import distance_of
from env.spec import EnvSpec
from env.wrappers import FrameSkip
from errors import ConfigError, EsError, RunError
from policy.actor import Actor, build_actor
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

if TYPE_CHECKING:
    from env.musculoskeletal.motion import Motion, RecordedEnv

Notice = Callable[[str], None]


@dataclass
class Shown:
    """One episode, as far as it has come.

    Attributes:
        reward: summed.
        steps: of the simulator.
        time_s: simulated.
        distance_m: how far forward, where the environment says.
        target_distance_m: how far from what it is to reach, where the environment says.
    """

    reward: float = 0.0
    steps: int = 0
    time_s: float = 0.0
    distance_m: float | None = None
    target_distance_m: float | None = None

    @property
    def place(self) -> str | None:
        """Where it is, in the words that fit the task."""
        if self.target_distance_m is not None:
            return f"{self.target_distance_m:.3f} m to target"
        return None if self.distance_m is None else f"{self.distance_m:.2f} m"

    @property
    def caption(self) -> str:
        """A line for the picture."""
        parts = [f"{self.time_s:5.2f} s", self.place, f"reward {self.reward:.1f}"]
        return "     ".join(part for part in parts if part)


class Playback:
    """Episodes of one policy in one environment.

    Args:
        env: the environment, which is closed with this, or when this cannot be made.
        env_spec, policy_spec: as the run has them.
        theta: ``(D,)`` float32.
        statistics: what observations are normalised with, or ``None``.
        every: simulator steps from one moment to the next; by default as many as play well.
        include: folder of the user's own environments and modules.
        notice: told, in a line each, what a user should know.

    Attributes:
        env: the environment.
        shown: the episodes so far.
        steps_per_s: of the simulator, in a second of its time.
        frames_per_s: at which the moments play in real time.

    Raises:
        ConfigError: theta does not fit the policy.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        env_spec: EnvSpec,
        policy_spec: PolicySpec,
        theta: NDArray[np.float32],
        statistics: ObservationStatistics | None,
        *,
        every: int | None = None,
        include: Path | None = None,
        notice: Notice,
    ) -> None:
        self.env = env
        self.shown: list[Shown] = []
        self._spec, self._include = env_spec, include
        self._recorded: RecordedEnv | None = None
        try:
            self._actor: Actor = build_actor(
                policy_spec,
                env.observation_space,
                env.action_space,
                include=include,
                notice=notice,
            )
            self._actor.load(theta, statistics)
        except BaseException:
            env.close()
            raise
        self.steps_per_s = float(env.metadata.get("render_fps") or 50)
        skip = env_spec.frame_skip
        acts = None if every is None else math.ceil(every / skip)
        self._stride, self.frames_per_s = frame_stride(self.steps_per_s / skip, acts)

    def record(self) -> None:
        """Take down every step of the simulator from the next reset on; see `motion`.

        Raises:
            ConfigError: the environment is not one on OpenSim.
        """
        from env.musculoskeletal.motion import RecordedEnv
        from env.musculoskeletal.opensim_env import OpenSimEnv

        simulator = self.env.unwrapped
        if not isinstance(simulator, OpenSimEnv):
            raise ConfigError(
                f"environment {self._spec.name} has no motion to write: "
                "--sto is for environments on OpenSim"
            )
        self._recorded = RecordedEnv(simulator, simulator.model)
        if self.env is simulator:
            self.env = self._recorded
            return
        # Beneath frame skip, which shows its own steps only.
        layer: Any = self.env
        while layer.env is not simulator:
            layer = layer.env
        layer.env = self._recorded

    def motion(self) -> Motion:
        """What was taken down of the last episode, as far as it has come."""
        assert self._recorded is not None, "call record first"
        return self._recorded.recorder.motion()

    def episode(
        self,
        seed: int,
        *,
        max_ep_length: int | None = None,
        reset_options: Mapping[str, Any] | None = None,
    ) -> Iterator[Shown]:
        """Run an episode; stop at its first moment, its last, and between as ``every`` says.

        Args:
            seed: of environment and policy.
            max_ep_length: cap in simulator steps, beside the environment's own.
            reset_options: of the environment's reset.

        Raises:
            RunError: the environment raises.
        """
        limit = _lesser(registry.time_limit(self._spec, self._include), max_ep_length)
        shown = Shown()
        self.shown.append(shown)
        try:
            yield from self._moments(shown, seed, limit, reset_options)
        except EsError:
            raise
        except Exception as error:  # whatever a simulator does
            raise RunError(
                f"environment {self._spec.name} stopped after {shown.steps} steps: "
                f"{' '.join(str(error).split()) or type(error).__name__}"
            ) from error

    def _moments(
        self,
        shown: Shown,
        seed: int,
        limit: int | None,
        reset_options: Mapping[str, Any] | None,
    ) -> Iterator[Shown]:
        env, actor = self.env, self._actor
        skipping = _frame_skip_of(env)
        if skipping:
            skipping.max_steps = limit
        # A simple environment's reset may know of no options.
        options = {"options": dict(reset_options)} if reset_options else {}
        observation, info = env.reset(seed=seed, **options)
        self._read(shown, info)
        actor.reset(np.random.Generator(np.random.Philox(seed)))
        yield shown
        ended, acts = False, 0
        while not ended:
            observation, reward, terminated, truncated, info = env.step(actor.act(observation))
            acts += 1
            shown.reward += float(reward)
            shown.steps = skipping.elapsed if skipping else acts
            self._read(shown, info)
            ended = terminated or truncated or (limit is not None and shown.steps >= limit)
            if ended or acts % self._stride == 0:
                yield shown

    def _read(self, shown: Shown, info: Mapping[str, Any]) -> None:
        shown.time_s = shown.steps / self.steps_per_s
        shown.distance_m = distance_of(info)
        shown.target_distance_m = info.get("target_distance_m")

    def close(self) -> None:
        """Let go of the environment."""
        self.env.close()


def _frame_skip_of(env: gym.Env[Any, Any]) -> FrameSkip | None:
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, FrameSkip):
            return layer
        layer = layer.env
    return None


def _lesser(*caps: int | None) -> int | None:
    return min((cap for cap in caps if cap is not None), default=None)
