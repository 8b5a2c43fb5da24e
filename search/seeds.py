"""Every random number's seed, as a function of the run's seed and of numbers that have names.

No generator state exists that a resume could lose or a worker could share. Training, validation
and final-test seeds are three disjoint sets: a seed's residue modulo 3 says which stream it is of.
Validation seeds are the same in every generation, so that ``fitness/current`` compares.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from search.messages import Generation, Perturbations

TRAINING, VALIDATION, FINAL_TEST = range(3)
_ENV, _POLICY, _OBSERVED = range(3)


class RolloutSeeds(NamedTuple):
    """``env`` seeds the reset (31 bits), ``policy`` a stochastic policy's noise (64 bits)."""

    env: int
    policy: int


def rollout_seeds(generation: Generation, rollout: int) -> RolloutSeeds:
    """Seeds of rollout number ``rollout``.

    Both signs of a pair share them, as do all candidates of `Genomes` (common random numbers). A
    fixed ``env_seed`` fixes the environment's seed in every stream, and leaves the policy's.
    """
    rule = generation.seeds
    stream, number, group, episode = _place(generation, rollout)
    shared_group = 0 if rule.env_seed is None else group
    if rule.env_seed is not None and rule.env_seed >= 0:
        env_seed = rule.env_seed
    else:
        drawn = _draw(rule.run_seed, _ENV, stream, number, shared_group, episode)
        env_seed = drawn % (2**31 // 3) * 3 + stream
    return RolloutSeeds(env_seed, _draw(rule.run_seed, _POLICY, stream, number, group, episode))


def is_observed(generation: Generation, rollout: int) -> bool:
    """Whether this rollout also sends observation moments: a fixed set for (seed, generation)."""
    if rollout >= generation.num_training or generation.observed_fraction <= 0:
        return False
    drawn = _draw(generation.seeds.run_seed, _OBSERVED, generation.number, rollout)
    return drawn < generation.observed_fraction * 2**64


def _place(generation: Generation, rollout: int) -> tuple[int, int, int, int]:
    if not 0 <= rollout < generation.num_rollouts:
        raise ValueError(f"rollout {rollout} of a generation with {generation.num_rollouts}")
    if rollout >= generation.num_training:
        stream = FINAL_TEST if generation.final else VALIDATION
        return stream, 0, 0, rollout - generation.num_training
    candidate, episode = divmod(rollout, generation.num_episodes)
    group = candidate // 2 if isinstance(generation.candidates, Perturbations) else 0
    return TRAINING, generation.number, group, episode


def _draw(*numbers: int) -> int:
    packed = struct.pack(f"<{len(numbers)}Q", *numbers)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
