"""Episodes of a policy as frames, from any environment that can be drawn."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.drawing import INSTALL_GL, Frame, caption, frame_stride
from env.spec import EnvSpec
from env.wrappers import FrameSkip
from errors import ConfigError, EnvUnavailable, EsError, RunError
from policy.actor import Actor, build_actor
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

Notice = Callable[[str], None]

_MUJOCO_PROBE = """
import mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100)
"""


@dataclass
class Shown:
    """One episode that was drawn: total reward, simulator steps, metres where they are known."""

    reward: float = 0.0
    steps: int = 0
    distance_m: float | None = None


class Film:
    """Episodes of one policy, as frames.

    Args:
        env_spec, policy_spec: as the run has them.
        theta: ``(D,)`` float32.
        statistics: what observations are normalised with, or ``None``.
        include: folder of the user's own environments and modules.
        notice: told, in a line each, what a user should know.

    Attributes:
        shown: the episodes so far.
        frames_per_s: at which the frames play in real time.

    Raises:
        ConfigError: the environment cannot be drawn, or theta does not fit the policy.
        EnvUnavailable: something it needs is not installed.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        policy_spec: PolicySpec,
        theta: NDArray[np.float32],
        statistics: ObservationStatistics | None,
        *,
        include: Path | None = None,
        notice: Notice,
    ) -> None:
        self._spec, self._include, self._notice = env_spec, include, notice
        self.shown: list[Shown] = []
        self._env = _drawable_env(env_spec, include)
        try:
            self._actor = self._load_actor(policy_spec, theta, statistics)
        except BaseException:
            self._env.close()
            raise
        self._steps_per_s = float(self._env.metadata.get("render_fps") or 50)
        self._stride, self.frames_per_s = frame_stride(self._steps_per_s / env_spec.frame_skip)

    def _load_actor(
        self,
        spec: PolicySpec,
        theta: NDArray[np.float32],
        statistics: ObservationStatistics | None,
    ) -> Actor:
        actor = build_actor(
            spec,
            self._env.observation_space,
            self._env.action_space,
            include=self._include,
            notice=self._notice,
        )
        actor.load(theta, statistics)
        return actor

    def frames(
        self, *, seed: int, num_episodes: int, max_ep_length: int | None, sleep_s: float = 0.0
    ) -> Iterator[Frame]:
        """Run the episodes, one seed after the other from ``seed`` on, and draw them.

        Raises `RunError` when the environment raises.
        """
        limit = _lesser(registry.time_limit(self._spec, self._include), max_ep_length)
        for episode in range(num_episodes):
            shown = Shown()
            self.shown.append(shown)
            moments = self._moments(shown, seed + episode, limit, sleep_s)
            unwrapped: Any = self._env.unwrapped
            if hasattr(unwrapped, "snapshot"):
                # Taken first and drawn after, so that drawing never touches the simulation.
                artist = unwrapped.artist(self._notice)
                for snapshot, text in list(moments):
                    yield caption(artist.draw(snapshot), text)
            else:
                for frame, text in moments:
                    yield caption(frame, text)

    def _moments(
        self, shown: Shown, seed: int, limit: int | None, sleep_s: float
    ) -> Iterator[tuple[Any, str]]:
        """Every `_stride`-th moment of an episode, its first and its last, with its caption."""
        env, actor = self._env, self._actor
        skipping = _frame_skip_of(env)
        if skipping:
            skipping.max_steps = limit
        look = getattr(env.unwrapped, "snapshot", None) or env.render
        try:
            observation, _ = env.reset(seed=seed)
            actor.reset(np.random.Generator(np.random.Philox(seed)))
            yield look(), self._text(shown)
            ended, acts = False, 0
            while not ended:
                observation, reward, terminated, truncated, info = env.step(actor.act(observation))
                acts += 1
                shown.reward += float(reward)
                shown.steps = skipping.elapsed if skipping else acts
                shown.distance_m = info.get("distance_m", info.get("x_position"))
                ended = terminated or truncated or (limit is not None and shown.steps >= limit)
                if ended or acts % self._stride == 0:
                    time.sleep(sleep_s)
                    yield look(), self._text(shown)
        except EsError:
            raise
        except Exception as error:  # whatever a simulator does
            raise RunError(
                f"environment {self._spec.name} stopped after {shown.steps} steps: "
                f"{' '.join(str(error).split()) or type(error).__name__}"
            ) from error

    def _text(self, shown: Shown) -> str:
        parts = [f"{shown.steps / self._steps_per_s:5.2f} s", f"reward {shown.reward:.1f}"]
        if shown.distance_m is not None:
            parts.insert(1, f"{shown.distance_m:.2f} m")
        return "     ".join(parts)

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()


def _drawable_env(spec: EnvSpec, include: Path | None) -> gym.Env[Any, Any]:
    env = registry.make(spec, include=include)
    if hasattr(env.unwrapped, "snapshot"):
        return env
    modes = env.metadata.get("render_modes") or []
    is_mujoco = hasattr(env.unwrapped, "mujoco_renderer")
    env.close()
    if "rgb_array" not in modes:
        raise ConfigError(
            f"environment {spec.name} has no pictures: it renders "
            f"{' and '.join(modes) or 'nothing'}, and rgb_array was expected"
        )
    if is_mujoco:
        _choose_mujoco_gl(spec.name)
    return registry.make(spec, include=include, render_mode="rgb_array")


def _choose_mujoco_gl(name: str) -> None:
    """Settle by which of its ways MuJoCo draws off screen here; its environment variable is the
    only way to tell it.

    Children try: a viewer that fails to open prints a traceback when it is collected, and without
    EGL a MuJoCo that was told to use it cannot even be imported.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if platform.system() != "Linux":
        return
    reason = "no reason given"
    for way in [chosen] if chosen else ["egl", "osmesa", "glfw"]:
        found = subprocess.run(
            [sys.executable, "-c", _MUJOCO_PROBE],
            env={**os.environ, "MUJOCO_GL": way},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if found.returncode == 0:
            os.environ["MUJOCO_GL"] = way
            return
        reason = (found.stderr.strip().splitlines() or [reason])[-1][:200]
    raise EnvUnavailable(f"environment {name} cannot draw on this machine ({reason}): {INSTALL_GL}")


def _frame_skip_of(env: gym.Env[Any, Any]) -> FrameSkip | None:
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, FrameSkip):
            return layer
        layer = layer.env
    return None


def _lesser(*caps: int | None) -> int | None:
    return min((cap for cap in caps if cap is not None), default=None)
