"""Watch a run's policy: ``python env/render.py <run id> [--out FILE.mp4]``.

Environment, policy, parameters and observation statistics come from the run itself, also while it
is still training. A window where there is a display and no ``--out``, a video otherwise.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from env.drawing import Frame, Window, WindowClosed, check_video_name, write_video
from env.film import Film, Notice, Shown
from env.spec import EnvSpec
from errors import EsError
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics


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
    if not _has_display():
        _draw_without_display()
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


def _draw_without_display() -> None:
    """Have pygame draw in memory; it is told before it begins or not at all."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


def _has_display() -> bool:
    if platform.system() == "Linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


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
