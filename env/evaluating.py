"""What ``python env/evaluate.py`` does, once it is known what: kept apart from its options, so that
``--help`` need not load any of it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from env import registry
from env.gait_file import Gait, check_gait_place, write_gait
from env.subject import Subject, Which, subject_of
from env.success import success_of
from errors import ConfigError
from fleet.connection import DEFAULT_URL, URL_VARIABLE, refuse_password_in
from fleet.pools import Site
from fleet.security.access import NO_ACCESS, Access
from fleet.security.find_access import find_access
from search.scores import Scores
from training.score_sheet import ScoreSheet
from training.trial import Trial, by_controller, run_trial

_DEFAULT_EPISODES = 10


def evaluate(
    run_id: str | None,
    gait_path: Path | None,
    episodes: int | None,
    gen: int | None,
    best: bool,
    controller: str,
    max_ep_length: int | None,
    seed: int | None,
    pool: str,
    workers: int | None,
    redis_url: str | None,
    runs_dir: Path,
    include: Path | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Score a policy on held-out episodes, and say how it went.

    Raises:
        EsError: there is no such policy, or it cannot be scored there.
    """
    if save is not None:
        check_gait_place(save)
    which = _which(gait_path, gen, best)
    site = _site(pool, workers, redis_url, include)
    subject = subject_of(run_id, gait_path, runs_dir, which)
    trial = _trial(subject, episodes, seed, max_ep_length)
    compared = by_controller(trial.gait, controller, trial.seed, site.include)
    success = success_of(trial.gait.env, site.include)
    if not as_json:
        click.echo(_title(subject, trial, controller))
    scores = _run(replace(trial, gait=compared), site)
    sheet = ScoreSheet(scores, success)
    if as_json:
        facts = _facts(subject, trial, controller)
        click.echo(json.dumps({**facts, **sheet.as_json()}, indent=1))
    else:
        click.echo("\n".join(sheet.lines()))
    if save is not None:
        write_gait(save, _scored_gait(compared, scores))
        click.echo(f"kept in {save}", err=as_json)


def _which(gait_path: Path | None, gen: int | None, best: bool) -> Which:
    if gen is not None and best:
        raise ConfigError("--gen and --best each name a generation: one of them is meant")
    if gait_path is not None and (gen is not None or best):
        raise ConfigError("--gait names a policy, and --gen and --best are of runs")
    return "best" if best else "last" if gen is None else gen


def _site(pool: str, workers: int | None, redis_url: str | None, include: Path | None) -> Site:
    if redis_url is not None and pool != "redis":
        raise ConfigError(f"--redis_url is for --pool=redis, and this is {pool}: leave it out")
    if workers is not None and pool == "serial":
        raise ConfigError("--pool=serial has no workers: leave --workers out, or --pool")
    if redis_url is not None:
        refuse_password_in(redis_url)
    redis_url = redis_url or os.environ.get(URL_VARIABLE)
    return Site(
        pool,
        log=Path(tempfile.gettempdir()) / f"es-evaluate-{os.getpid()}.log",
        workers="auto" if workers is None else workers,
        redis_url=redis_url,
        access=_access(pool, redis_url),
        include=None if include is None else include.resolve(),
    )


def _access(pool: str, redis_url: str | None) -> Access:
    """To the Redis that was named, if there is one; nobody is asked about one that was not."""
    if pool != "redis":
        return NO_ACCESS
    return find_access(redis_url or DEFAULT_URL, may_ask=redis_url is not None)


def _trial(
    subject: Subject, episodes: int | None, seed: int | None, max_ep_length: int | None
) -> Trial:
    """The closing test of the subject's run again, but for what is given."""
    gait = subject.gait
    if max_ep_length is not None:
        env = msgspec.structs.replace(gait.env, max_ep_length=max_ep_length)
        gait = msgspec.structs.replace(gait, env=env)
    if episodes is None:
        episodes = 1 if registry.is_deterministic(gait.env) else _DEFAULT_EPISODES
    return Trial(
        gait,
        episodes,
        subject.seed if seed is None else seed,
        registry.score_options(gait.env),
        subject.guard,
    )


def _run(trial: Trial, site: Site) -> Scores:
    """Run it, with a bar where somebody watches; what workers had to say is kept if it fails."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=trial.num_episodes, label="episodes", file=sys.stderr, hidden=hidden
    ) as bar:
        scores = run_trial(trial, site, notice=_say_aside, progress=bar.update)
    site.log.unlink(missing_ok=True)
    return scores


def _say_aside(line: str) -> None:
    click.echo(line, err=True)


def _title(subject: Subject, trial: Trial, controller: str) -> str:
    about = ", ".join(f"{name} {value}" for name, value in trial.gait.about.items())
    options = ", ".join(f"{name} {value}" for name, value in trial.score_options.items())
    env, policy = trial.gait.env.name, trial.gait.policy.network
    parts = [subject.title, env, f"policy {policy}", controller, about, options]
    return ", ".join(part for part in parts if part)


def _facts(subject: Subject, trial: Trial, controller: str) -> dict[str, Any]:
    """What was tested, as the JSON begins."""
    return {
        "of": subject.title,
        "run": subject.run_id,
        "generation": subject.generation,
        "env": trial.gait.env.name,
        "env_options": trial.gait.env.options,
        "max_ep_length": trial.gait.env.max_ep_length,
        "network": trial.gait.policy.network,
        "controller": controller,
        "score_options": trial.score_options,
        "seed": trial.seed,
    }


def _scored_gait(gait: Gait, scores: Scores) -> Gait:
    about = {**gait.about, "reward": round(scores.reward, 4), "episodes": len(scores.scored)}
    if scores.distance_m is not None:
        about["distance_m"] = round(scores.distance_m, 4)
    return msgspec.structs.replace(gait, about=about)
