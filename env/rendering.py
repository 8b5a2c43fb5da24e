"""What ``python env/render.py`` does, once it is known what: kept apart from its options, so that
``--help`` need not load any of it.
"""

from __future__ import annotations

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
from errors import ConfigError


@dataclass(frozen=True)
class _Programme:
    """Whom to watch, how it is called, and the name of a video for which nobody gave one."""

    subjects: Sequence[Subject]
    title: str
    file_stem: str

    @property
    def performers(self) -> list[Performer]:
        return [Performer(s.gait, f"generation {s.generation}") for s in self.subjects]


def render(
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
    """Show a policy in a window, as a video, or as files for OpenSim.

    Raises:
        EsError: there is no such policy, or it cannot be shown so.
    """
    programme = _programme(run_id, gait_path, runs_dir, gen, best=best, gens=gens)
    if sto is not None and len(programme.subjects) > 1:
        raise ConfigError("--sto is of one generation: name it by --gen instead of --gens")
    first = programme.subjects[0]
    options = None if preset is None else _preset_options(first.gait.env, preset)
    in_window = out is None and sto is None and has_display()
    if max_ep_length is None and not in_window:  # which can be closed
        _check_limit(first.gait.env, include)
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


def _check_limit(spec: EnvSpec, include: Path | None) -> None:
    if registry.time_limit(spec, include) is None:
        raise ConfigError(
            f"environment {spec.name} has no time limit of its own, and its episode may never end: "
            "name a cap by --max_ep_length"
        )


def _preset_options(spec: EnvSpec, preset: str) -> dict[str, Any]:
    from env.musculoskeletal.integration import choose_integration

    if not registry.score_options(spec):
        raise ConfigError(f"--preset {preset}: {spec.name} is no environment on OpenSim")
    choose_integration(preset)
    return {"preset": preset}
