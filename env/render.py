"""Watch a policy: ``python env/render.py <run id> [--out FILE.mp4] [--sto DIR]``, or a gait file's.

Environment, policy, parameters and observation statistics come from the run itself, also while it
is still training. A window where there is a display and no file is named, a video otherwise.
Several generations are seen side by side: ``--gens 0,50,best``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from env import registry
from env.drawing import has_ffmpeg
from env.show import Performer, Show, has_display, perform
from env.spec import EnvSpec
from env.subject import Subject, Which, subject_of, subjects_of
from errors import ConfigError, EsError, in_options


@dataclass(frozen=True)
class _Programme:
    """Whom to watch, how it is called, and the name of a video for which nobody gave one."""

    subjects: Sequence[Subject]
    title: str
    file_stem: str

    @property
    def performers(self) -> list[Performer]:
        return [Performer(s.gait, f"generation {s.generation}") for s in self.subjects]


@click.command()
@click.argument("run_id", required=False)
@click.option("--gait", "gait_path", type=click.Path(path_type=Path), help="A gait file instead.")
@click.option("--gen", type=int, help="Generation of the checkpoint; the newest by default.")
@click.option("--best", is_flag=True, help="The generation with the best fitness/current.")
@click.option("--gens", help="Several side by side: 0,50,best,last.")
@click.option("--num_episodes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--max_ep_length", type=click.IntRange(1), help="Cap of an episode in steps.")
@click.option("--seed", type=click.IntRange(0), help="Of the first episode; the run's by default.")
@click.option(
    "--every",
    type=click.IntRange(1),
    help="A frame every so many simulator steps; by default 25 or fewer for a second. "
    "It plays in real time in any case.",
)
@click.option(
    "--sleep", type=click.FloatRange(0), default=0.0, help="Pause before a frame in a window, s."
)
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
    best: bool,
    gens: str | None,
    num_episodes: int,
    max_ep_length: int | None,
    seed: int | None,
    every: int | None,
    sleep: float,
    out: Path | None,
    sto: Path | None,
    preset: str | None,
    runs_dir: Path,
    include: Path | None,
) -> None:
    """Show what the policy of run RUN_ID does: in a window, as a video, or as files for OpenSim."""
    try:
        programme = _programme(run_id, gait_path, runs_dir, gen, best=best, gens=gens)
        if sto is not None and len(programme.subjects) > 1:
            raise ConfigError("--sto is of one generation: name it by --gen instead of --gens")
        first = programme.subjects[0]
        options = None if preset is None else _preset_options(first.gait.env, preset)
        in_window = out is None and sto is None and has_display()
        has_nowhere = out is None and sto is None and not in_window
        if has_nowhere:
            out = Path(programme.file_stem + (".mp4" if has_ffmpeg() else ".gif"))
        show = Show(
            first.seed if seed is None else seed,
            num_episodes,
            max_ep_length,
            every,
            sleep,
            options,
            programme.title,
            out,
            sto,
            in_window,
        )
        perform(programme.performers, show, include=include, notice=click.echo)
        if has_nowhere:
            click.echo(f"no display here and no --out: {out} was written instead", err=True)
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)


def _programme(
    run_id: str | None,
    gait_path: Path | None,
    runs_dir: Path,
    gen: int | None,
    *,
    best: bool,
    gens: str | None,
) -> _Programme:
    if (gen is not None) + best + (gens is not None) > 1:
        raise ConfigError("--gen, --best and --gens each name generations: one of them is meant")
    if gait_path is not None and (gen is not None or best or gens is not None):
        raise ConfigError("--gait names a policy, and --gen, --best and --gens are of runs")
    if gens is None or run_id is None:
        which: Which = "best" if best else "last" if gen is None else gen
        subject = subject_of(run_id, gait_path, runs_dir, which)
        return _Programme([subject], subject.title, subject.file_stem)
    subjects = subjects_of(run_id, runs_dir, _whiches(gens))
    numbers = [str(subject.generation) for subject in subjects]
    title = f"run {run_id}, generations {', '.join(numbers)}"
    return _Programme(subjects, title, f"run-{run_id}-gens-{'-'.join(numbers)}")


def _whiches(gens: str) -> list[Which]:
    """What ``--gens`` names."""
    whiches: list[Which] = []
    for word in filter(None, gens.replace(",", " ").split()):
        if word == "best":
            whiches.append("best")
        elif word == "last":
            whiches.append("last")
        elif word.isdecimal() and word.isascii():
            whiches.append(int(word))
        else:
            raise ConfigError(
                f"--gens {gens}: {word!r} is no generation: expected numbers, best or last, as in "
                "0,50,best"
            )
    if not whiches:
        raise ConfigError("--gens is empty: name generations, as in 0,50,best")
    return whiches


def _preset_options(spec: EnvSpec, preset: str) -> dict[str, Any]:
    from env.musculoskeletal.integration import choose_integration

    if not registry.score_options(spec):
        raise ConfigError(f"--preset {preset}: {spec.name} is no environment on OpenSim")
    choose_integration(preset)
    return {"preset": preset}


if __name__ == "__main__":
    main()
