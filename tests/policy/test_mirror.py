"""What a mirror promises, and the box that carries one."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from env.wrappers import FrameSkip, History
from policy.mirror import Mirror, MirroredBox
from policy.statistics import ObservationStatistics

# height, sideways speed, right leg (2), left leg (2); two muscles a leg
SIX = Mirror((0, 1, 4, 5, 2, 3), (1, -1, 1, -1, 1, -1), (0, 1), (2, 3))


def box(mirror: Mirror = SIX, bound: float = np.inf) -> MirroredBox:
    return MirroredBox(-bound, bound, (6,), np.float64, mirror=mirror)


class Walker(gym.Env):
    """Random steps, seen by six numbers."""

    def __init__(self) -> None:
        self.observation_space = box()
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=6), {}

    def step(self, action):
        return self.np_random.normal(size=6), 0.0, False, False, {}


def test_a_mirror_changes_sides_and_twice_is_nothing():
    observation = np.arange(1.0, 7.0)
    np.testing.assert_array_equal(SIX.observation(observation), [1, -2, 5, -6, 3, -4])
    np.testing.assert_array_equal(SIX.observation(SIX.observation(observation)), observation)
    np.testing.assert_array_equal(SIX.action(np.arange(4)), [2, 3, 0, 1])
    np.testing.assert_array_equal(observation, np.arange(1.0, 7.0))
    assert (SIX.observation_size, SIX.action_size) == (6, 4)


def test_arrays_are_taken_and_kept_as_tuples():
    mirror = Mirror(np.array([1, 0]), np.array([1.0, 1.0]), np.array([1]), [0])
    assert mirror == Mirror((1, 0), (1, 1), (1,), (0,))
    assert hash(mirror) == hash(Mirror((1, 0), (1, 1), (1,), (0,)))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (((), (), (0,), (1,)), "0 places"),
        (((0, 1), (1,), (0,), (1,)), "2 places and 1 signs"),
        (((0, 1), (1, 0.5), (0,), (1,)), "1 or -1"),
        (((0, 0), (1, 1), (0,), (1,)), "permutation of 0..1"),
        (((0, 2), (1, 1), (0,), (1,)), "permutation of 0..1"),
        (((0, 1.5), (1, 1), (0,), (1,)), "observation_index of a mirror must be integers"),
        (((1, 2, 0), (1, 1, 1), (0,), (1,)), "give back entry 0, which mirrors 1"),
        (((1, 0), (1, -1), (0,), (1,)), "give back entry 0"),
        (((0,), (1,), (0, 1), (2,)), "2 right and 1 left"),
        (((0,), (1,), (), ()), "0 right and 0 left"),
        (((0,), (1,), (0, 1), (1, 2)), "disjoint"),
        (((0,), (1,), (0, 1), (2, 4)), r"make up 0\.\.3"),
    ],
)
def test_what_is_no_mirror_is_refused_when_built(parts, said):
    with pytest.raises(ValueError, match=said):
        Mirror(*parts)


def test_a_box_refuses_a_mirror_of_another_size_or_that_leaves_its_bounds():
    with pytest.raises(ValueError, match=r"6 entries for a box of shape \(5,\)"):
        MirroredBox(-1, 1, (5,), mirror=SIX)
    lopsided = np.array([3.0, 1, 1, 1, 1, 1]), np.array([4.0, 2, 2, 2, 2, 2])
    with pytest.raises(ValueError, match="look the same"):
        MirroredBox(*lopsided, dtype=np.float64, mirror=SIX)
    uneven = np.array([0.0, -1, 0, -1, 0, -2]), np.array([4.0, 1, 2, 2, 2, 1])
    assert MirroredBox(*uneven, dtype=np.float64, mirror=SIX).shape == (6,)


def test_copies_and_pickles_of_a_box_keep_the_mirror():
    for again in (copy.copy(box()), copy.deepcopy(box()), pickle.loads(pickle.dumps(box()))):
        assert isinstance(again, MirroredBox)
        assert again.mirror == SIX
        assert again == box()


def test_boxes_are_equal_where_bounds_and_mirrors_are():
    other = Mirror(SIX.observation_index, (1, 1, 1, 1, 1, 1), (0, 1), (2, 3))
    assert box() == box()
    assert box() != box(other)
    assert box() != box(bound=3.0)
    plain = spaces.Box(-np.inf, np.inf, (6,), np.float64)
    assert box() == plain
    assert plain == box()
    assert repr(box()) == "MirroredBox(-inf, inf, (6,), float64)"


def test_gymnasium_s_checks_and_vectors_take_a_mirrored_box():
    env = Walker()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="infinity"):  # what any unbounded box is told
        check_env(env, skip_render_check=True)
    vector = gym.vector.SyncVectorEnv([Walker, Walker])
    assert vector.single_observation_space == box()
    assert vector.observation_space.shape == (2, 6)


def test_wrappers_keep_the_mirror_and_history_stacks_it():
    assert FrameSkip(Walker(), 4).observation_space.mirror == SIX
    env = History(Walker(), 3)
    mirror = env.observation_space.mirror
    assert mirror.observation_size == 18
    env.reset(seed=0)
    env.step(None)
    seen = env.step(None)[0]
    by_hand = [SIX.observation(part) for part in seen.reshape(3, 6)]
    np.testing.assert_array_equal(mirror.observation(seen), np.concatenate(by_hand))


def test_a_history_of_a_plain_box_is_a_plain_box():
    assert type(History(gym.make("CartPole-v1"), 2).observation_space) is spaces.Box


def test_pooled_statistics_are_those_of_both_sides_and_symmetric_to_the_bit():
    rows = np.random.default_rng(0).normal(3.0, [1, 2, 3, 4, 5, 6], (50, 6))
    pooled = SIX.pooled(ObservationStatistics.observed(rows))
    both = np.concatenate([rows, [SIX.observation(row) for row in rows]])
    assert pooled.count == 100
    np.testing.assert_allclose(pooled.mean_o, both.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(pooled.standard_deviation_o(), both.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(SIX.observation(pooled.mean_o), pooled.mean_o)
    index = list(SIX.observation_index)
    np.testing.assert_array_equal(pooled.m2_o[index], pooled.m2_o)
    with pytest.raises(ValueError, match="statistics of 3, mirror of 6"):
        SIX.pooled(ObservationStatistics.empty(3))
