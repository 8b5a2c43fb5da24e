"""Watch a run's policy: ``python env/render.py <run id> [--out FILE.mp4]``.

Environment, policy, parameters and observation statistics come from the run itself, also while it
is still training. A window where there is a display and no ``--out``, a video otherwise.
"""

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

import click
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.drawing import (
    INSTALL_GL,
    Frame,
    Window,
    WindowClosed,
    caption,
    check_video_name,
    frame_stride,
    write_video,
)
from env.spec import EnvSpec
from env.wrappers import FrameSkip
from errors import ConfigError, EnvUnavailable, EsError, RunError
from policy.actor import Actor, build_actor
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

Notice = Callable[[str], None]


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


def render_run_video(
    env_spec: EnvSpec,
    policy_spec: PolicySpec,
    theta: NDArray[np.float32],
    statistics: ObservationStatistics | None,
    out: Path,
    *,
    seed: int,
    num_episodes: int = 1,
    max_ep_length: int | None = None,
    notice: Notice,
    include: Path | None = None,
    sleep_s: float = 0.0,
) -> list[tuple[float, int]]:
    """Draw episodes into ``out`` and say so in a line.

    Args:
        env_spec, policy_spec, theta, statistics, include, notice: as `Film`.
        out: ``.mp4`` or ``.gif``.
        seed: of the first episode.
        num_episodes: at least 1.
        max_ep_length: cap in simulator steps, beside the environment's own.
        sleep_s: pause before each frame.

    Returns:
        (reward, simulator steps) of each episode.

    Raises:
        ConfigError, EnvUnavailable, RunError: as `Film`.
        ResourceExhausted: the file cannot be written.
    """
    check_video_name(out)
    film = Film(env_spec, policy_spec, theta, statistics, include=include, notice=notice)
    try:
        frames = film.frames(
            seed=seed, num_episodes=num_episodes, max_ep_length=max_ep_length, sleep_s=sleep_s
        )
        count = write_video(out, frames, film.frames_per_s)
    finally:
        film.close()
    notice(f"{out}: {count} frames, {_summary(film.shown)}")
    return [(shown.reward, shown.steps) for shown in film.shown]


def show_window(film: Film, title: str, frames: Iterator[Frame], notice: Notice) -> None:
    """Show ``frames`` until they end or somebody shuts the window."""
    window = Window(title, film.frames_per_s)
    try:
        for frame in frames:
            window.show(frame)
    except WindowClosed:
        return
    finally:
        window.close()
        film.close()
    notice(_summary(film.shown))


def _summary(shown: list[Shown]) -> str:
    reward = sum(episode.reward for episode in shown) / len(shown)
    steps = sum(episode.steps for episode in shown) / len(shown)
    distances = [episode.distance_m for episode in shown if episode.distance_m is not None]
    parts = [f"reward {reward:.1f}", f"{steps:.0f} steps"]
    if distances:
        parts.append(f"{sum(distances) / len(distances):.2f} m")
    episodes = f"mean of {len(shown)} episodes: " if len(shown) > 1 else ""
    return episodes + ", ".join(parts)


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
    if not _has_display():
        _draw_without_display()
        if is_mujoco:
            _check_mujoco_draws(spec.name)
    return registry.make(spec, include=include, render_mode="rgb_array")


def _check_mujoco_draws(name: str) -> None:
    """In a child: the viewer that fails to open prints a traceback when it is collected."""
    found = subprocess.run(
        [sys.executable, "-c", "import mujoco; mujoco.GLContext(8, 8).make_current()"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if found.returncode != 0:
        reason = (found.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        raise EnvUnavailable(
            f"environment {name} cannot draw on this machine, by MUJOCO_GL="
            f"{os.environ.get('MUJOCO_GL')} ({reason}): {INSTALL_GL}"
        )


def _draw_without_display() -> None:
    """MuJoCo draws by EGL and pygame in memory, if they are told before they begin."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


def _has_display() -> bool:
    if platform.system() == "Linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _frame_skip_of(env: gym.Env[Any, Any]) -> FrameSkip | None:
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, FrameSkip):
            return layer
        layer = layer.env
    return None


def _lesser(*caps: int | None) -> int | None:
    return min((cap for cap in caps if cap is not None), default=None)


@click.command()
@click.argument("run_id")
@click.option("--gen", type=int, help="Generation of the checkpoint; the newest by default.")
@click.option("--num_episodes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--max_ep_length", type=click.IntRange(1), help="Cap of an episode in steps.")
@click.option("--sleep", type=click.FloatRange(0), default=0.0, help="Pause before a frame, s.")
@click.option("--out", type=click.Path(path_type=Path), help="FILE.mp4 or FILE.gif.")
@click.option("--runs_dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--include", type=click.Path(path_type=Path), help="Folder of your own modules.")
def main(
    run_id: str,
    gen: int | None,
    num_episodes: int,
    max_ep_length: int | None,
    sleep: float,
    out: Path | None,
    runs_dir: Path,
    include: Path | None,
) -> None:
    """Show what the policy of run RUN_ID does: in a window, or as a video."""
    try:
        _render(run_id, gen, num_episodes, max_ep_length, sleep, out, runs_dir, include)
    except EsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def _render(
    run_id: str,
    gen: int | None,
    num_episodes: int,
    max_ep_length: int | None,
    sleep_s: float,
    out: Path | None,
    runs_dir: Path,
    include: Path | None,
) -> None:
    from tracking.store import open_run

    run = open_run(run_id, runs_dir)
    checkpoint = run.checkpoint(gen)
    statistics = checkpoint.statistics if run.policy_spec.normalize_observations else None
    title = f"run {run_id}, generation {checkpoint.number}"
    if out is None and _has_display():
        film = Film(
            run.env_spec,
            run.policy_spec,
            checkpoint.theta,
            statistics,
            include=include,
            notice=click.echo,
        )
        frames = film.frames(
            seed=run.seed,
            num_episodes=num_episodes,
            max_ep_length=max_ep_length,
            sleep_s=sleep_s,
        )
        show_window(film, title, frames, click.echo)
        return
    render_run_video(
        run.env_spec,
        run.policy_spec,
        checkpoint.theta,
        statistics,
        out or Path(f"run-{run_id}-gen-{checkpoint.number}.mp4"),
        seed=run.seed,
        num_episodes=num_episodes,
        max_ep_length=max_ep_length,
        notice=click.echo,
        include=include,
        sleep_s=sleep_s,
    )


if __name__ == "__main__":
    main()
