"""Whatever a named config trains can be watched: its first moments, drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from env.film import Film, Picture, drawable_env
from env.playback import Playback
from env.registry import OWN_ENVS
from env.spec import EnvSpec
from errors import EnvUnavailable
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from search.configs import NAMED_CONFIGS
from search.run_config import parse_config

SPECS = {
    parse_config(config.options).env_name: parse_config(config.options).env_spec
    for config in NAMED_CONFIGS.values()
} | {name: EnvSpec(name) for name in OWN_ENVS if name.startswith("PartiallyObservableCartPole")}


def film(spec: EnvSpec, num_steps: int) -> list[Picture]:
    try:
        env = drawable_env(spec, None)
    except EnvUnavailable as error:
        pytest.skip(str(error))
    policy = PolicySpec("linear")
    theta = initial_theta(policy, env.observation_space, env.action_space, 0, None)
    playback = Playback(env, spec, policy, theta, None, notice=print)
    try:
        return list(Film(playback, print).pictures(3, max_ep_length=num_steps))
    finally:
        playback.close()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_environment_of_the_named_configs_is_drawn(spec: EnvSpec) -> None:
    if spec.name.startswith("OpenSim"):
        pytest.importorskip("opensim")
    pictures = film(spec, 5)
    assert len(pictures) >= 2
    first, last = pictures[0].frame, pictures[-1].frame
    assert first.dtype == last.dtype == np.uint8
    assert first.shape == last.shape
    assert min(first.shape[:2]) >= 300
    assert first.std() > 5, "a picture of something"
    assert (first != last).any(), "which moves"
    assert pictures[0].shown.steps == 0
    assert pictures[-1].shown.steps in (1, 5)


def test_a_picture_is_of_its_own_moment(tmp_path: Path) -> None:
    rewards = [picture.shown.reward for picture in film(EnvSpec("CartPole-v1"), 6)]
    assert rewards == [0.0, 2.0, 4.0, 6.0]
