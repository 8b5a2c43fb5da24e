"""Which policy a command is about: a run's at one of its generations, or a gait file's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from env.gait_file import Gait, read_gait
from errors import ConfigError
from search.messages import GuardSpec
from search.run_config import parse_config
from tracking.mongo.place import find_mongo
from tracking.store import Checkpoint, StoredRun, open_run

Which = int | Literal["best", "last"]
"""A generation of a run: by its number, that of the best ``fitness/current``, the newest."""


@dataclass(frozen=True)
class Subject:
    """A policy and how its run treated it.

    Attributes:
        gait: the policy and its environment, with the cap of the run's closing test; a gait file's
            has none.
        seed: the run's.
        title: for people.
        file_stem: of a video for which nobody named a file.
        guard: when an episode is given up.
        run_id, generation: whose; ``None`` of a gait file.
    """

    gait: Gait
    seed: int
    title: str
    file_stem: str
    guard: GuardSpec = field(default_factory=GuardSpec)
    run_id: int | None = None
    generation: int | None = None


def subject_of(run_id: str | None, gait_path: Path | None, runs_dir: Path, which: Which) -> Subject:
    """The policy of a run at one of its generations, or of a gait file.

    Raises:
        ConfigError: neither or both are named, or what is named is not there.
    """
    if gait_path is not None and run_id is None:
        gait = read_gait(gait_path)
        # The cap of a training belongs to its curriculum, not to the gait.
        env = msgspec.structs.replace(gait.env, max_ep_length=None)
        gait = msgspec.structs.replace(gait, env=env)
        return Subject(gait, 0, gait_path.stem, gait_path.stem)
    if run_id is None or gait_path is not None:
        raise ConfigError("name either a run id or --gait FILE: one of them is meant")
    return subjects_of(run_id, runs_dir, [which])[0]


def subjects_of(run_id: str, runs_dir: Path, whiches: Sequence[Which]) -> list[Subject]:
    """The policies of a run at several of its generations, from its files, else from MongoDB.

    Raises:
        ConfigError: there is no such run, or one of them was not kept.
    """
    run = open_run(run_id, runs_dir, find_mongo)
    config = parse_config(run.config)
    policy = config.policy_spec
    subjects = []
    for which in whiches:
        checkpoint = _checkpoint(run, which)
        statistics = checkpoint.statistics if policy.normalize_observations else None
        gait = Gait.of(config.final_env_spec, policy, checkpoint.theta, statistics, {})
        number = checkpoint.number
        title = f"run {run.run_id}, generation {number}"
        stem = f"run-{run.run_id}-gen-{number}"
        guard = config.guard_spec
        subjects.append(Subject(gait, run.seed, title, stem, guard, run.run_id, number))
    return subjects


def _checkpoint(run: StoredRun, which: Which) -> Checkpoint:
    if which == "last":
        return run.checkpoint()
    if which != "best":
        return run.checkpoint(which)
    best = run.best()
    if best is None:
        run.checkpoint()  # says so where there is none at all
        raise ConfigError(
            f"run {run.run_id} has no best generation: none of those kept was validated; "
            f"kept were {', '.join(map(str, run.checkpoints()))}"
        )
    try:
        return run.checkpoint(best)
    except ConfigError:  # a better one has taken its place since
        return run.checkpoint(run.best())
