"""Seeds follow from names: shared where they must be, different everywhere else."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from search.messages import MESSAGE_VERSION, Generation, Genomes, Perturbations, SeedRule
from search.seeds import is_observed, rollout_seeds

THETA = np.zeros(3, dtype=np.float32)
PAIRS = Perturbations.of(THETA, 0.1, np.arange(50, dtype=np.int64))
GENOMES = Genomes.of(THETA, np.zeros((6, 3), dtype=np.float32))


def generation(number: int = 4, env_seed: int | None = -1, run_seed: int = 9) -> Generation:
    """50 pairs of 2 episodes, and 10 validation episodes."""
    return Generation(
        MESSAGE_VERSION, "ef" * 16, number, PAIRS, 2, 10, SeedRule(run_seed, env_seed), None, 0.3
    )


def test_both_signs_of_a_pair_share_their_seeds_and_pairs_do_not() -> None:
    made = generation()
    # Candidates 6 and 7 are pair 3; each has two episodes.
    assert rollout_seeds(made, 12) == rollout_seeds(made, 14)
    assert rollout_seeds(made, 13) == rollout_seeds(made, 15)
    assert len({rollout_seeds(made, r).env for r in range(0, made.num_training, 4)}) == 50


def test_episodes_of_a_candidate_differ() -> None:
    assert rollout_seeds(generation(), 12) != rollout_seeds(generation(), 13)


def test_genomes_all_meet_the_same_worlds() -> None:
    made = msgspec.structs.replace(generation(), candidates=GENOMES)
    assert len({rollout_seeds(made, r) for r in range(0, 12, 2)}) == 1


def test_one_seed_for_the_generation_is_one_world_and_many_policies() -> None:
    made = generation(env_seed=None)
    seeds = [rollout_seeds(made, r) for r in range(0, made.num_training, 4)]
    assert len({s.env for s in seeds}) == 1
    assert len({s.policy for s in seeds}) == 50
    assert rollout_seeds(generation(5, env_seed=None), 0).env != seeds[0].env


def test_a_fixed_seed_is_that_seed_everywhere_and_leaves_the_policy_its_noise() -> None:
    made = generation(env_seed=17)
    assert {rollout_seeds(made, r).env for r in range(made.num_rollouts)} == {17}
    assert rollout_seeds(made, 0).policy != rollout_seeds(made, 4).policy


def test_validation_meets_the_same_worlds_in_every_generation() -> None:
    first, later = generation(0), generation(70)
    numbers = range(first.num_training, first.num_rollouts)
    assert [rollout_seeds(first, r) for r in numbers] == [rollout_seeds(later, r) for r in numbers]


def test_training_validation_and_final_test_never_share_a_world() -> None:
    training, validation, final = set(), set(), set()
    for number in range(30):
        made = generation(number)
        training |= {rollout_seeds(made, r).env for r in range(made.num_training)}
        validation |= {rollout_seeds(made, r).env for r in range(made.num_training, 210)}
    closing = msgspec.structs.replace(generation(), num_validation=5000, final=True)
    final = {rollout_seeds(closing, r).env for r in range(closing.num_training, 5200)}
    assert not training & validation
    assert not training & final
    assert not validation & final
    assert all(0 <= seed < 2**31 for seed in training | validation | final)


def test_other_runs_meet_other_worlds() -> None:
    assert rollout_seeds(generation(run_seed=9), 0) != rollout_seeds(generation(run_seed=10), 0)


def test_seeds_are_the_same_for_ever() -> None:
    assert rollout_seeds(generation(), 13) == (1216632483, 6982997379616574943)


def test_the_observed_are_a_fixed_share_of_the_training_rollouts() -> None:
    made = generation()
    observed = [r for r in range(made.num_rollouts) if is_observed(made, r)]
    assert observed == [r for r in range(made.num_rollouts) if is_observed(made, r)]
    assert 30 <= len(observed) <= 90
    assert max(observed) < made.num_training


def test_a_rollout_that_is_not_there_has_no_seed() -> None:
    with pytest.raises(ValueError, match="rollout 210"):
        rollout_seeds(generation(), 210)
