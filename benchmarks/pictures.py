"""How fast models are drawn: ``python benchmarks/pictures.py``.

Frames of 640x480 per second of one core's time, the model held still: taking the snapshot, drawing
it with caption, and writing it into an mp4 (whose encoder runs in a process of its own, counted
here too), each as it is in a film. The last column is the same film as lines, as machines without
GL draw it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from env.drawing import FRAMES_PER_S, Frame, caption, write_video
from env.musculoskeletal.artist import Artist, find_artist
from env.musculoskeletal.model import MuscleModel, osim_rl_folder
from env.musculoskeletal.snapshot import take_snapshot
from env.musculoskeletal.stick_figure import StickFigure

MODELS = (
    "arm2dof6musc",
    "gait9dof18musc",
    "gait14dof22musc_pros_20180507",
    "gait14dof22musc_planar_20170320",
    "gait14dof22musc_20170320",
)
ENOUGH_FRAMES_PER_S = 8.0


@click.command()
@click.option("--frames", type=click.IntRange(1), default=75, show_default=True)
def main(frames: int) -> None:
    """Print frames per second of one core for each model."""
    click.echo(
        f"{'model':<34}{'bones':>8}{'lines':>8}   frames/s of one core, to reach: 8 and more"
    )
    for name in MODELS:
        model = MuscleModel(osim_rl_folder() / "models" / f"{name}.osim")
        model.start()
        bones = _frames_per_s(model, find_artist(model, click.echo), frames)
        lines = _frames_per_s(model, StickFigure(model), frames)
        short = "" if bones >= ENOUGH_FRAMES_PER_S else "   too slow"
        click.echo(f"{name:<34}{bones:>8.1f}{lines:>8.1f}{short}")


def _frames_per_s(model: MuscleModel, artist: Artist, count: int) -> float:
    def film(number: int) -> Iterator[Frame]:
        for _ in range(number):
            yield caption(artist.draw(take_snapshot(model)), "1.00 s     1.40 m     reward 10.0")

    def write(number: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_video(Path(folder, "film.mp4"), film(number), FRAMES_PER_S)

    write(1)  # reads meshes, starts the graphics
    seconds = _cpu_s(lambda: write(count))
    artist.close()
    return count / seconds


def _cpu_s(work: Callable[[], None]) -> float:
    """Processor time of this process, all its threads, and of the children it ended."""
    start = os.times()
    work()
    end = os.times()
    return sum(end[:4]) - sum(start[:4])


if __name__ == "__main__":
    main()
