"""From theta and an observation to an action."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces

from errors import ConfigError
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

EIGHT = spaces.Box(-np.inf, np.inf, (8,), np.float32)
TWO = spaces.Box(-1.0, 1.0, (2,), np.float32)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def loaded(spec, observations, actions, theta=None, statistics=None):
    actor = build_actor(spec, observations, actions)
    if theta is None:
        theta = initial_theta(spec, observations, actions, 1)
    actor.load(np.asarray(theta, dtype=np.float32), statistics)
    actor.reset(generator())
    return actor


def test_importing_and_running_an_actor_does_not_import_torch():
    code = (
        "import sys, numpy as np\n"
        "from gymnasium import spaces\n"
        "from policy.actor import build_actor\n"
        "from policy.parameters import initial_theta\n"
        "from policy.spec import PolicySpec\n"
        "import env.registry, env.rollout\n"
        "box = spaces.Box(-1, 1, (3,), np.float32)\n"
        "actor = build_actor(PolicySpec(), box, box)\n"
        "actor.load(initial_theta(PolicySpec(), box, box, 1), None)\n"
        "actor.reset(np.random.default_rng(0))\n"
        "actor.act(np.zeros(3))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_same_theta_gives_the_same_bits_in_another_process():
    code = (
        "import numpy as np\n"
        "from gymnasium import spaces\n"
        "from policy.actor import build_actor\n"
        "from policy.parameters import initial_theta\n"
        "from policy.spec import PolicySpec\n"
        "box, two = spaces.Box(-1, 1, (17,), np.float64), spaces.Box(-2, 3, (6,), np.float32)\n"
        "spec = PolicySpec('feed_forward', (64, 63))\n"
        "actor = build_actor(spec, box, two)\n"
        "actor.load(initial_theta(spec, box, two, 1), None)\n"
        "actor.reset(np.random.default_rng(0))\n"
        "rng = np.random.default_rng(3)\n"
        "junk = [bytearray(n) for n in {sizes}]\n"
        "print(b''.join(actor.act(rng.normal(size=17)).tobytes() for _ in range(50)).hex())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code.replace("{sizes}", sizes)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for sizes in ("[]", "[7, 1001, 70000]")
    ]
    assert said[0] == said[1]


def test_box_actions_are_stretched_to_the_bounds_and_clipped():
    space = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([4.0, 1.0], np.float32))
    one = spaces.Box(-1, 1, (1,), np.float32)
    spec = PolicySpec("linear", output_activation="none")
    for output, expected in [(-1, [-2, 0]), (0, [1, 0.5]), (1, [4, 1]), (7, [4, 1]), (-7, [-2, 0])]:
        actor = loaded(spec, one, space, theta=[0, output, 0, output])
        action = actor.act(np.zeros(1))
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, expected, atol=1e-6)
        assert space.contains(action)


def test_unbounded_actions_are_the_outputs_themselves():
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    one = spaces.Box(-1, 1, (1,), np.float32)
    actor = loaded(PolicySpec("linear", output_activation="none"), one, space, [0, 50, 0, -9])
    np.testing.assert_array_equal(actor.act(np.zeros(1)), [50, -9])


def test_a_bound_on_one_side_only_clips():
    space = spaces.Box(np.array([0.0], np.float32), np.array([np.inf], np.float32))
    one = spaces.Box(-1, 1, (1,), np.float32)
    spec = PolicySpec("linear", output_activation="none")
    assert loaded(spec, one, space, [0, 50]).act(np.zeros(1))[0] == 50
    assert loaded(spec, one, space, [0, -50]).act(np.zeros(1))[0] == 0


def test_boxes_of_other_shapes_and_types_get_what_they_declare():
    space = spaces.Box(-1.0, 1.0, (2, 3), np.float64)
    action = loaded(PolicySpec(), EIGHT, space).act(np.ones(8))
    assert action.shape == (2, 3)
    assert action.dtype == np.float64
    assert space.contains(action)


def test_discrete_actions_are_the_first_largest_output():
    one = spaces.Box(-1, 1, (1,), np.float32)
    spec = PolicySpec("linear", output_activation="none")
    for biases, action in [([1, 3, 2], 1), ([3, 1, 3], 0), ([-3, -2, -1], 2)]:
        theta = np.stack([np.zeros(3), biases], axis=1).ravel()
        assert loaded(spec, one, spaces.Discrete(3), theta).act(np.zeros(1)) == action
        assert loaded(spec, one, spaces.Discrete(3, start=5), theta).act(np.zeros(1)) == action + 5


@pytest.mark.parametrize(
    "space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(4), spaces.Discrete(4, start=-2)]
)
def test_actions_and_observations_of_counted_spaces_fit(space):
    actor = loaded(PolicySpec(), space, space)
    space.seed(0)
    for _ in range(20):
        assert space.contains(actor.act(space.sample()))


def test_discrete_observations_are_one_hot():
    weights = np.stack([[1.0, 2.0, 3.0, 0.0]]).ravel()
    one = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    spec = PolicySpec("linear", output_activation="none")
    actor = loaded(spec, spaces.Discrete(3, start=1), one, weights)
    assert [actor.act(np.int64(o))[0] for o in (1, 2, 3, 1)] == [1.0, 2.0, 3.0, 1.0]
    assert actor.observation_size == 3


def test_boxes_of_any_shape_are_flattened_row_by_row():
    spec = PolicySpec("linear", output_activation="none")
    one = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    actor = loaded(spec, spaces.Box(0, 255, (2, 2), np.uint8), one, [1, 10, 100, 1000, 0])
    assert actor.act(np.array([[1, 2], [3, 4]], dtype=np.uint8))[0] == 4321


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict({"a": EIGHT}),
        spaces.Tuple([EIGHT]),
        spaces.Text(5),
        spaces.Sequence(EIGHT),
        spaces.Graph(EIGHT, None),
    ],
    ids=lambda space: type(space).__name__,
)
def test_unsupported_spaces_are_refused_in_one_line(space):
    for pair in [(space, TWO), (EIGHT, space)]:
        with pytest.raises(ConfigError, match="not supported") as refused:
            build_actor(PolicySpec(), *pair)
        assert "\n" not in str(refused.value)


def test_observations_are_normalised_with_the_loaded_statistics():
    rows = np.random.default_rng(0).normal(5.0, 3.0, (100, 8))
    statistics = ObservationStatistics.observed(rows)
    plain, normalizing = PolicySpec(), PolicySpec(normalize_observations=True)
    observation = rows[7]
    by_hand = (observation - rows.mean(axis=0)) / rows.std(axis=0)
    expected = loaded(plain, EIGHT, TWO).act(by_hand)
    given = loaded(normalizing, EIGHT, TWO, statistics=statistics).act(observation)
    np.testing.assert_allclose(given, expected, atol=1e-6)
    raw = loaded(plain, EIGHT, TWO).act(observation)
    none_yet = loaded(normalizing, EIGHT, TWO, statistics=None).act(observation)
    np.testing.assert_array_equal(none_yet, raw)
    np.testing.assert_array_equal(
        loaded(plain, EIGHT, TWO, statistics=statistics).act(observation), raw
    )


def test_normalising_keeps_digits_that_float32_would_lose():
    rows = 1e7 + np.random.default_rng(0).normal(0.0, 1.0, (1000, 1))
    statistics = ObservationStatistics.observed(rows)
    spec = PolicySpec("linear", output_activation="none", normalize_observations=True)
    one = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    actor = loaded(spec, one, one, [1.0, 0.0], statistics)
    expected = (rows[0] - rows.mean()) / rows.std()
    assert actor.act(rows[0])[0] == pytest.approx(expected[0], rel=1e-5)


def test_noise_comes_from_the_generator_given_at_reset():
    spec = PolicySpec("feed_forward", (4,), "gaussian", "gaussian_fixed")
    actor = loaded(spec, EIGHT, TWO)
    assert not actor.is_deterministic
    actions = []
    for seed in (1, 1, 2):
        actor.reset(generator(seed))
        actions.append(np.concatenate([actor.act(np.ones(8)) for _ in range(3)]))
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])


def test_an_action_is_not_changed_by_the_next_one():
    for spec in (PolicySpec(), PolicySpec(output_activation="none")):
        actor = loaded(spec, EIGHT, TWO)
        first = actor.act(np.ones(8))
        kept = first.copy()
        actor.act(-np.ones(8))
        np.testing.assert_array_equal(first, kept)


def test_loading_keeps_no_reference_to_the_caller_s_theta():
    theta = initial_theta(PolicySpec(), EIGHT, TWO, 1)
    actor = loaded(PolicySpec(), EIGHT, TWO, theta)
    before = actor.act(np.ones(8))
    theta[:] = 0
    np.testing.assert_array_equal(actor.act(np.ones(8)), before)


@pytest.mark.parametrize("wrong", [0, 9, 10**6])
def test_a_theta_that_does_not_fit_is_refused(wrong):
    actor = build_actor(PolicySpec(), EIGHT, TWO)
    with pytest.raises(ConfigError, match="does not fit a policy of 4866 parameters"):
        actor.load(np.zeros(wrong, np.float32), None)


def test_statistics_that_do_not_fit_are_refused():
    spec = PolicySpec(normalize_observations=True)
    with pytest.raises(ConfigError, match="statistics of 3 observations"):
        loaded(spec, EIGHT, TWO, statistics=ObservationStatistics.observed(np.eye(3)))


def test_the_initial_theta_follows_from_the_seed_and_torch_s_bounds():
    spec = PolicySpec("feed_forward", (64,))
    theta = initial_theta(spec, EIGHT, TWO, 7)
    assert theta.dtype == np.float32
    np.testing.assert_array_equal(theta, initial_theta(spec, EIGHT, TWO, 7))
    assert not np.array_equal(theta, initial_theta(spec, EIGHT, TWO, 8))
    first, second = np.abs(theta[: 64 * 9]), np.abs(theta[64 * 9 :])
    assert 0.95 * 8**-0.5 < first.max() <= 8**-0.5
    assert 0.9 * 64**-0.5 < second.max() <= 64**-0.5
