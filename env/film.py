"""Episodes as pictures, from any environment that can be drawn."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from env import registry
from env.drawing import INSTALL_GL, Frame
from env.playback import Notice, Playback, Shown
from env.spec import EnvSpec
from errors import ConfigError, EnvUnavailable

_MUJOCO_PROBE = """
import mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100)
"""


@dataclass(frozen=True)
class Picture:
    """A moment of an episode: how it looks, and how far the episode has come by then."""

    frame: Frame
    shown: Shown


class Film:
    """Draws the episodes of a playback.

    Args:
        playback: in an environment from `drawable_env`.
        notice: told, in a line each, what a user should know.
    """

    def __init__(self, playback: Playback, notice: Notice) -> None:
        self._playback = playback
        self._notice = notice

    def pictures(
        self,
        seed: int,
        *,
        max_ep_length: int | None = None,
        reset_options: Mapping[str, Any] | None = None,
    ) -> Iterator[Picture]:
        """Run an episode and draw it; arguments and errors as `Playback.episode`."""
        env: Any = self._playback.env
        simulator: Any = env.unwrapped
        episode = self._playback.episode(
            seed, max_ep_length=max_ep_length, reset_options=reset_options
        )
        if not hasattr(simulator, "snapshot"):
            for shown in episode:
                yield Picture(env.render(), replace(shown))
            return
        # Taken first and drawn after, so that drawing never touches the simulation; and the artist
        # is asked for when the episode has arranged its model.
        moments = [(simulator.snapshot(), replace(shown)) for shown in episode]
        artist = simulator.artist(self._notice)
        for snapshot, shown in moments:
            yield Picture(artist.draw(snapshot), shown)


def drawable_env(spec: EnvSpec, include: Path | None) -> gym.Env[Any, Any]:
    """The environment, ready to be drawn.

    Raises:
        ConfigError: it cannot be drawn, or see `registry.make`.
        EnvUnavailable: something it needs is not installed.
    """
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
    reason = ""
    for way in [chosen] if chosen else ["egl", "osmesa", "glfw"]:
        reason = _why_not_by(way)
        if not reason:
            os.environ["MUJOCO_GL"] = way
            return
    raise EnvUnavailable(f"environment {name} cannot draw on this machine ({reason}): {INSTALL_GL}")


@functools.cache
def _why_not_by(way: str) -> str:
    """What keeps MuJoCo from drawing in this way; empty if nothing does."""
    found = subprocess.run(
        [sys.executable, "-c", _MUJOCO_PROBE],
        env={**os.environ, "MUJOCO_GL": way},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if found.returncode == 0:
        return ""
    return (found.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
