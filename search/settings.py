"""What a run does and when it ends, as the loop needs to know it."""

from __future__ import annotations

import msgspec

from search.messages import SeedRule


class LoopSettings(msgspec.Struct, frozen=True):
    """Settings of one run's loop.

    Attributes:
        run_uid: the run's uid.
        seeds: how seeds are derived.
        num_generations: generations in all, earlier sessions of the run included.
        num_episodes: E, episodes for each candidate.
        num_validation: V, validation episodes of theta in every ``validation_every``-th generation.
        num_final: episodes of the closing test on the final-test seeds.
        max_ep_length: episode cap in simulator steps.
        final_max_ep_length: the same in the closing test.
        may_end_with_best: theta that validated best is in the closing test too, beside the last,
            and the run ends with the better of them. For episodes that never differ: choosing the
            luckier of two would else flatter the score.
        observed_fraction: share of training rollouts that send observation moments.
        max_failed_fraction: share of a generation's rollouts that may fail before the run stops.
        overlap: further generations open while one completes.
        asynchronous: generations are told as they complete, in whatever order; not reproducible.
        num_checkpoints: how often the run is kept, besides its best and its last generation.
        render_every: each so-many-th generation is kept too, since it is to be filmed.
        target_fitness, max_wall_s, max_env_steps: ends, looked at after each generation.
        score_options: options of the environment's reset in validation and final-test episodes.
        snapshot_every_s: most seconds of work that a resume must replay, and of time that a run
            forgets that is stopped.
    """

    run_uid: str
    seeds: SeedRule
    num_generations: int
    num_episodes: int = 1
    num_validation: int = 10
    validation_every: int = 1
    num_final: int = 10
    max_ep_length: int | None = None
    final_max_ep_length: int | None = None
    may_end_with_best: bool = False
    observed_fraction: float = 0.0
    max_failed_fraction: float = 0.5
    overlap: int = 0
    asynchronous: bool = False
    num_checkpoints: int = 10
    render_every: int | None = None
    target_fitness: float | None = None
    max_wall_s: float | None = None
    max_env_steps: int | None = None
    score_options: dict[str, str | float | int | bool | None] = {}
    snapshot_every_s: float = 30.0
