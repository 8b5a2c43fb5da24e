"""A user's own torch module as a policy."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from errors import ConfigError
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
MODULE = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, size_in, size_out, width=4):
        super().__init__()
        self.first = nn.Linear(size_in, width)
        self.second = nn.Linear(width, size_out)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))

class Counting(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size_out))
        self.reset()

    def reset(self):
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.gain * self.calls / 10

class Noisy(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size_out))

    def forward(self, x):
        return self.gain * torch.randn(3) / 10

class WrongSize(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
        self.linear = nn.Linear(size_in, 1)

    def forward(self, x):
        return self.linear(x)

class Fixed(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
class HalfFrozen(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
        self.frozen = nn.Linear(size_in, 8)
        self.frozen.requires_grad_(False)
        self.register_buffer("shift", torch.randn(8))
        self.last = nn.Linear(8, size_out)

    def forward(self, x):
        return self.last(torch.tanh(self.frozen(x) + self.shift))


not_a_module = 5
"""


@pytest.fixture
def include(tmp_path):
    (tmp_path / "my_policies.py").write_text(MODULE)
    return tmp_path


@pytest.fixture(autouse=True)
def _forget_the_module():
    import sys

    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("my_policies", None)


def build(name, include, **options):
    return build_actor(PolicySpec(name, options=options), BOX, BOX, include=include)


def test_a_user_s_module_acts_as_torch_says(include):
    import torch

    spec = PolicySpec("my_policies.Plain", options={"width": 5})
    lines: list[str] = []
    actor = build_actor(spec, BOX, BOX, include=include, notice=lines.append)
    theta = initial_theta(spec, BOX, BOX, 3, include)
    assert actor.num_parameters == len(theta) == 3 * 5 + 5 + 5 * 3 + 3
    assert len(lines) == 1
    assert "runs in torch" in lines[0]
    actor.load(theta, None)
    actor.reset(np.random.default_rng(0))
    observation = np.array([0.1, -0.2, 0.3], np.float32)
    first, first_bias, second, second_bias = np.split(theta, [15, 20, 35])
    hidden = np.tanh(first.reshape(5, 3) @ observation + first_bias)
    expected = np.clip(second.reshape(3, 5) @ hidden + second_bias, -1, 1)
    np.testing.assert_allclose(actor.act(observation), expected, atol=1e-6)
    assert torch.get_num_threads() == 1


def test_the_initial_theta_of_a_module_follows_from_the_seed(include):
    spec = PolicySpec("my_policies.Plain")
    first, again, other = (initial_theta(spec, BOX, BOX, s, include) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_a_module_draws_beside_theta_is_the_same_wherever_it_is_built(include):
    import torch

    def actions():
        actor = build("my_policies.HalfFrozen", include)
        actor.load(np.full(actor.num_parameters, 0.3, np.float32), None)
        actor.reset(np.random.default_rng(0))
        return actor.act(np.array([0.1, -0.2, 0.3], np.float32))

    torch.manual_seed(1)
    first = actions()
    torch.manual_seed(2)
    np.testing.assert_array_equal(actions(), first)


def test_a_module_with_memory_is_reset_before_each_episode(include):
    actor = build("my_policies.Counting", include)
    actor.load(np.ones(3, np.float32), None)
    for _ in range(2):
        actor.reset(np.random.default_rng(0))
        values = [float(actor.act(np.zeros(3))[0]) for _ in range(3)]
        np.testing.assert_allclose(values, [0.1, 0.2, 0.3], atol=1e-6)


def test_a_module_s_own_noise_follows_from_the_episode_s_generator(include):
    actor = build("my_policies.Noisy", include)
    assert not actor.is_deterministic
    actor.load(np.ones(3, np.float32), None)
    actions = []
    for seed in (1, 1, 2):
        actor.reset(np.random.Generator(np.random.Philox(seed)))
        actions.append(actor.act(np.zeros(3)))
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_policies.Missing", "no torch.nn.Module of that name"),
        ("my_policies.not_a_module", "no torch.nn.Module of that name"),
        ("my_policies.Fixed", "no parameters to train"),
        ("nowhere.Plain", "no module nowhere"),
        ("os.path.Plain", "no module os.path"),
        ("../evil.Plain", "no module name"),
    ],
)
def test_a_name_that_cannot_work_is_refused_in_one_line(include, name, said):
    with pytest.raises(ConfigError, match=said) as refused:
        build(name, include)
    assert "\n" not in str(refused.value)


def test_options_that_the_constructor_does_not_take_are_refused(include):
    with pytest.raises(ConfigError, match="depth"):
        build("my_policies.Plain", include, depth=3)


def test_outputs_that_do_not_fit_the_action_space_are_refused(include):
    actor = build("my_policies.WrongSize", include)
    actor.load(np.ones(actor.num_parameters, np.float32), None)
    actor.reset(np.random.default_rng(0))
    with pytest.raises(ConfigError, match="gave 1 outputs: the action space needs 3"):
        actor.act(np.zeros(3))


def test_no_module_is_imported_without_a_folder_named(include):
    import sys

    with pytest.raises(ConfigError, match="include=FOLDER"):
        build("my_policies.Plain", None)
    assert "my_policies" not in sys.modules


def test_a_module_with_the_name_of_an_installed_one_is_refused(tmp_path):
    (tmp_path / "json.py").write_text(MODULE)
    with pytest.raises(ConfigError, match="rename yours"):
        build("json.Plain", tmp_path)


def test_a_module_that_does_not_import_is_refused_in_one_line(tmp_path):
    (tmp_path / "my_policies.py").write_text("import no_such_package_at_all\n")
    with pytest.raises(ConfigError, match="does not import: ModuleNotFoundError"):
        build("my_policies.Plain", tmp_path)
