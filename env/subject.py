"""Which policy a command is about: a run's at one of its generations, or a gait file's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from env.gait_file import Gait, read_gait
from errors import ConfigError
from search.messages import GuardSpec
from search.run_config import parse_config
from tracking.store import open_run


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
    """

    gait: Gait
    seed: int
    title: str
    file_stem: str
    guard: GuardSpec = field(default_factory=GuardSpec)


def subject_of(
    run_id: str | None, gait_path: Path | None, runs_dir: Path, number: int | None
) -> Subject:
    """The policy of a run at generation ``number`` (the newest by default), or of a gait file.

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
    run = open_run(run_id, runs_dir)
    checkpoint = run.checkpoint(number)
    config = parse_config(run.config)
    policy = config.policy_spec
    statistics = checkpoint.statistics if policy.normalize_observations else None
    gait = Gait.of(config.final_env_spec, policy, checkpoint.theta, statistics, {})
    title = f"run {run_id}, generation {checkpoint.number}"
    stem = f"run-{run_id}-gen-{checkpoint.number}"
    return Subject(gait, run.seed, title, stem, config.guard_spec)
