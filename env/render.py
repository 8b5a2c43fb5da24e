"""Watch a policy: ``python env/render.py <run id> [--out FILE.mp4] [--sto DIR]``, or a gait file's.

Environment, policy, parameters and observation statistics come from the run itself, also while it
is still training. A window where there is a display and no file is named, a video otherwise.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.drawing import Frame, Window, WindowClosed, check_video_name, write_video
from env.film import Film, drawable_env
from env.gait_file import Gait
from env.playback import Notice, Playback, Shown
from env.spec import EnvSpec
from env.subject import Subject, subject_of
from errors import ConfigError, EsError, in_options
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

PLOTS = "plots.png"


@dataclass(frozen=True)
class Show:
    """How it is watched.

    Attributes:
        num_episodes: at least 1, one seed after the other.
        max_ep_length: cap in simulator steps, beside the environment's own.
        sleep_s: pause before each frame.
        reset_options: of the environment's reset.
        out: the video to write.
        motion_folder: where the files for OpenSim go.
        in_window: show it on the display.
    """

    num_episodes: int = 1
    max_ep_length: int | None = None
    sleep_s: float = 0.0
    reset_options: Mapping[str, Any] | None = None
    out: Path | None = None
    motion_folder: Path | None = None
    in_window: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether there are pictures at all."""
        return self.in_window or self.out is not None


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
    reset_options: Mapping[str, Any] | None = None,
) -> list[tuple[float, int]]:
    """Draw episodes into ``out`` and say so in a line.

    Args:
        env_spec, policy_spec, theta, statistics, include, notice: as `Playback`.
        out: ``.mp4`` or ``.gif``.
        seed: of the first episode.
        num_episodes, max_ep_length, sleep_s, reset_options: as `Show`.

    Returns:
        (reward, simulator steps) of each episode.

    Raises:
        ConfigError, EnvUnavailable, RunError: as `Playback` and `drawable_env`.
        ResourceExhausted: the file cannot be written.
    """
    gait = Gait.of(env_spec, policy_spec, theta, statistics, {})
    show = Show(num_episodes, max_ep_length, sleep_s, reset_options, out)
    shown = perform(Subject(gait, seed, "", ""), show, include=include, notice=notice)
    return [(episode.reward, episode.steps) for episode in shown]


def perform(subject: Subject, show: Show, *, include: Path | None, notice: Notice) -> list[Shown]:
    """Run the episodes, and show or write what is asked for. Returns them.

    Raises:
        ConfigError, EnvUnavailable, RunError: as `Playback` and `drawable_env`.
        ResourceExhausted: a file cannot be written.
    """
    if show.out is not None:
        check_video_name(show.out)
    if not _has_display():
        _draw_without_display()
    gait = subject.gait
    make = drawable_env if show.is_drawn else _plain_env
    playback = Playback(
        make(gait.env, include),
        gait.env,
        gait.policy,
        gait.theta_d,
        gait.statistics,
        include=include,
        notice=notice,
    )
    try:
        if show.motion_folder is not None:
            playback.record()
            _make_folder(show.motion_folder)
        frames = _frames(playback, subject, show, notice)
        told = ""
        if show.in_window:
            _show_window(subject.title, frames, playback.frames_per_s)
        elif show.out is not None:
            told = f"{show.out}: {write_video(show.out, frames, playback.frames_per_s)} frames, "
        else:
            for _ in frames:
                pass
    finally:
        playback.close()
    notice(told + _summary(playback.shown))
    return playback.shown


def _frames(playback: Playback, subject: Subject, show: Show, notice: Notice) -> Iterator[Frame]:
    """All episodes; their frames, where they are drawn, and their files, when each is over."""
    film = Film(playback, notice, show.sleep_s)
    for episode in range(show.num_episodes):
        seed = subject.seed + episode
        if show.is_drawn:
            yield from film.frames(
                seed, max_ep_length=show.max_ep_length, reset_options=show.reset_options
            )
        else:
            for _ in playback.episode(
                seed, max_ep_length=show.max_ep_length, reset_options=show.reset_options
            ):
                pass
        if show.motion_folder is not None:
            _write_motion(playback, subject, show, episode, notice)


def _write_motion(
    playback: Playback, subject: Subject, show: Show, episode: int, notice: Notice
) -> None:
    from env.musculoskeletal.motion_files import write_motion
    from env.musculoskeletal.motion_plots import write_plots

    assert show.motion_folder is not None
    folder = show.motion_folder
    title = f"{subject.gait.env.name}, {subject.title}"
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


def _show_window(title: str, frames: Iterator[Frame], frames_per_s: float) -> None:
    """Show ``frames`` until they end or somebody shuts the window."""
    window = Window(title, frames_per_s)
    try:
        for frame in frames:
            window.show(frame)
    except WindowClosed:
        pass
    finally:
        window.close()


def _summary(shown: list[Shown]) -> str:
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


def _has_display() -> bool:
    if platform.system() == "Linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


@click.command()
@click.argument("run_id", required=False)
@click.option("--gait", "gait_path", type=click.Path(path_type=Path), help="A gait file instead.")
@click.option("--gen", type=int, help="Generation of the checkpoint; the newest by default.")
@click.option("--num_episodes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--max_ep_length", type=click.IntRange(1), help="Cap of an episode in steps.")
@click.option("--sleep", type=click.FloatRange(0), default=0.0, help="Pause before a frame, s.")
@click.option("--out", type=click.Path(path_type=Path), help="FILE.mp4 or FILE.gif.")
@click.option(
    "--sto",
    type=click.Path(path_type=Path),
    help="Folder for states, controls and ground reactions as OpenSim reads them, and plots.",
)
@click.option("--preset", help="OpenSim: exact or fast, instead of the run's own.")
@click.option("--runs_dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--include", type=click.Path(path_type=Path), help="Folder of your own modules.")
def main(
    run_id: str | None,
    gait_path: Path | None,
    gen: int | None,
    num_episodes: int,
    max_ep_length: int | None,
    sleep: float,
    out: Path | None,
    sto: Path | None,
    preset: str | None,
    runs_dir: Path,
    include: Path | None,
) -> None:
    """Show what the policy of run RUN_ID does: in a window, as a video, or as files for OpenSim."""
    try:
        subject = subject_of(run_id, gait_path, runs_dir, gen)
        options = None if preset is None else _preset_options(subject.gait.env, preset)
        in_window = out is None and sto is None and _has_display()
        if out is None and sto is None and not in_window:
            out = Path(f"{subject.file_stem}.mp4")
        show = Show(num_episodes, max_ep_length, sleep, options, out, sto, in_window)
        perform(subject, show, include=include, notice=click.echo)
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)


def _preset_options(spec: EnvSpec, preset: str) -> dict[str, Any]:
    from env.musculoskeletal.integration import choose_integration

    if not registry.score_options(spec):
        raise ConfigError(f"--preset {preset}: {spec.name} is no environment on OpenSim")
    choose_integration(preset)
    return {"preset": preset}


if __name__ == "__main__":
    main()
