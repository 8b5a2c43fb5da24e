"""Policies at work, for people to watch: in a window, in a video, or as files for OpenSim."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.drawing import Frame, Window, WindowClosed, caption, check_video_name, write_video
from env.film import Film, drawable_env
from env.gait_file import Gait
from env.grid import MAX_TILES, side_by_side
from env.playback import Notice, Playback, Shown
from env.spec import EnvSpec
from errors import ConfigError
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

PLOTS = "plots.png"


@dataclass(frozen=True)
class Performer:
    """A policy to watch, and what it is called beside others."""

    gait: Gait
    label: str = ""


@dataclass(frozen=True)
class Show:
    """How it is watched.

    Attributes:
        seed: of the first episode; each further one has the next.
        num_episodes: at least 1.
        max_ep_length: cap in simulator steps, beside the environment's own.
        every: simulator steps from one frame to the next; by default as many as play well.
        sleep_s: pause before each frame in a window.
        reset_options: of the environment's reset.
        title: of a window and of plots.
        out: the video to write.
        motion_folder: where the files for OpenSim go.
        in_window: show it on the display.
        max_time_s: cap in simulated seconds.
    """

    seed: int
    num_episodes: int = 1
    max_ep_length: int | None = None
    every: int | None = None
    sleep_s: float = 0.0
    reset_options: Mapping[str, Any] | None = None
    title: str = ""
    out: Path | None = None
    motion_folder: Path | None = None
    in_window: bool = False
    max_time_s: float | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether there are pictures at all."""
        return self.in_window or self.out is not None

    def steps_at(self, steps_per_s: float) -> int | None:
        """The cap of an episode in simulator steps."""
        if self.max_time_s is None:
            return self.max_ep_length
        steps = max(1, int(self.max_time_s * steps_per_s))
        return min(steps, self.max_ep_length or steps)


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
    reset_options: Mapping[str, Any] | None = None,
) -> list[tuple[float, int]]:
    """Draw episodes into ``out`` and say so in a line.

    Args:
        env_spec, policy_spec, theta, statistics, include, notice: as `Playback`.
        out: ``.mp4`` or ``.gif``.
        seed, num_episodes, max_ep_length, reset_options: as `Show`.

    Returns:
        (reward, simulator steps) of each episode.

    Raises:
        As `perform`.
    """
    performer = Performer(Gait.of(env_spec, policy_spec, theta, statistics, {}))
    show = Show(
        seed, num_episodes, max_ep_length=max_ep_length, reset_options=reset_options, out=out
    )
    (shown,) = perform([performer], show, include=include, notice=notice)
    return [(episode.reward, episode.steps) for episode in shown]


def perform(
    performers: Sequence[Performer], show: Show, *, include: Path | None, notice: Notice
) -> list[list[Shown]]:
    """Run the episodes, and show or write what is asked for: several performers side by side.

    Args:
        performers: at least one; several in one environment only.
        show: how.
        include: folder of the user's own environments and modules.
        notice: told, in a line each, what there is to say.

    Returns:
        The episodes of each performer.

    Raises:
        ConfigError, EnvUnavailable, RunError: as `Playback` and `drawable_env`.
        ResourceExhausted: a file cannot be written.
    """
    _check(performers, show)
    if not has_display():
        _draw_without_display()
    with ExitStack() as stack:
        window = Window(show.title) if show.in_window else None
        if window is not None:
            stack.callback(window.close)
        playbacks = [_playback(performer, show, include, notice) for performer in performers]
        for playback in playbacks:
            stack.callback(playback.close)
        if show.motion_folder is not None:
            playbacks[0].record()
            _make_folder(show.motion_folder)
        frames = _frames(performers, playbacks, show, notice)
        frames_per_s = playbacks[0].frames_per_s
        told = ""
        if window is not None:
            _show_in(window, _paced(frames, show.sleep_s), frames_per_s)
        elif show.out is not None:
            told = f"{show.out}: {write_video(show.out, frames, frames_per_s)} frames, "
        else:
            for _ in frames:
                pass
    shown = [playback.shown for playback in playbacks]
    _tell(performers, shown, told, notice)
    return shown


def has_display() -> bool:
    """Whether a window may be opened here."""
    if platform.system() == "Linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _check(performers: Sequence[Performer], show: Show) -> None:
    if show.out is not None:
        check_video_name(show.out)
    if len(performers) > MAX_TILES:
        raise ConfigError(
            f"{len(performers)} generations side by side are too many to see: name up to "
            f"{MAX_TILES}"
        )


def _playback(performer: Performer, show: Show, include: Path | None, notice: Notice) -> Playback:
    gait = performer.gait
    make = drawable_env if show.is_drawn else _plain_env
    return Playback(
        make(gait.env, include),
        gait.env,
        gait.policy,
        gait.theta_d,
        gait.statistics,
        every=show.every,
        include=include,
        notice=notice,
    )


def _frames(
    performers: Sequence[Performer], playbacks: Sequence[Playback], show: Show, notice: Notice
) -> Iterator[Frame]:
    """All episodes; their frames, where they are drawn, and their files, when each is over."""
    films = [Film(playback, notice) for playback in playbacks]
    labels = [performer.label for performer in performers]
    for episode in range(show.num_episodes):
        seed = show.seed + episode
        cap = show.steps_at(playbacks[0].steps_per_s)
        limits: Any = {"max_ep_length": cap, "reset_options": show.reset_options}
        if not show.is_drawn:
            for playback in playbacks:
                for _ in playback.episode(seed, **limits):
                    pass
        elif len(films) > 1:
            yield from side_by_side(labels, [film.pictures(seed, **limits) for film in films])
        else:
            for picture in films[0].pictures(seed, **limits):
                yield caption(picture.frame, picture.shown.caption)
        if show.motion_folder is not None:
            _write_motion(playbacks[0], performers[0].gait, show, episode, notice)


def _paced(frames: Iterator[Frame], sleep_s: float) -> Iterator[Frame]:
    for frame in frames:
        time.sleep(sleep_s)
        yield frame


def _write_motion(playback: Playback, gait: Gait, show: Show, episode: int, notice: Notice) -> None:
    from env.musculoskeletal.motion_files import write_motion
    from env.musculoskeletal.motion_plots import write_plots

    assert show.motion_folder is not None
    folder = show.motion_folder
    title = f"{gait.env.name}, {show.title}"
    if show.num_episodes > 1:
        folder = folder / f"episode-{episode + 1}"
        title += f", episode {episode + 1}"
    motion = playback.motion()
    files = write_motion(folder, motion)
    write_plots(folder / PLOTS, motion, title)
    names = ", ".join([*(file.name for file in files), PLOTS])
    notice(f"{folder}: {names}: {len(motion.time_s)} rows, for model {motion.model}")


def _make_folder(folder: Path) -> None:
    """Before anything is simulated."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--sto {folder} cannot be made ({error.strerror}): name another folder"
        ) from None


def _plain_env(spec: EnvSpec, include: Path | None) -> gym.Env[Any, Any]:
    return registry.make(spec, include=include)


def _show_in(window: Window, frames: Iterator[Frame], frames_per_s: float) -> None:
    """Show ``frames`` until they end or somebody shuts the window."""
    try:
        for frame in frames:
            window.show(frame, frames_per_s)
    except WindowClosed:
        pass


def _tell(
    performers: Sequence[Performer], shown: Sequence[Sequence[Shown]], told: str, notice: Notice
) -> None:
    if len(performers) == 1:
        notice(told + _summary(shown[0]))
        return
    for performer, episodes in zip(performers, shown, strict=True):
        notice(f"{performer.label}: {_summary(episodes)}")
    if told:
        notice(f"{told}{len(performers)} generations side by side")


def _summary(shown: Sequence[Shown]) -> str:
    reward = sum(episode.reward for episode in shown) / len(shown)
    steps = sum(episode.steps for episode in shown) / len(shown)
    parts = [f"reward {reward:.1f}", f"{steps:.0f} steps"]
    to_target = [s.target_distance_m for s in shown if s.target_distance_m is not None]
    distances = [s.distance_m for s in shown if s.distance_m is not None]
    if to_target:
        parts.append(f"{sum(to_target) / len(to_target):.3f} m to target")
    elif distances:
        parts.append(f"{sum(distances) / len(distances):.2f} m")
    episodes = f"mean of {len(shown)} episodes: " if len(shown) > 1 else ""
    return episodes + ", ".join(parts)


def _draw_without_display() -> None:
    """Have pygame draw in memory; it is told before it begins or not at all."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
