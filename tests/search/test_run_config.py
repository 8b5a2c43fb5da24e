"""Every option is checked before anything runs, in one line that names it."""

from __future__ import annotations

from typing import Any

import pytest

from errors import ConfigError
from search.configs import NAMED_CONFIGS
from search.run_config import RunConfig, defaults, parse_config


def test_the_defaults_are_a_config() -> None:
    assert parse_config(defaults()) == RunConfig()


@pytest.mark.parametrize("name", NAMED_CONFIGS)
def test_every_named_config_is_one_and_says_what_to_expect(name: str) -> None:
    named = NAMED_CONFIGS[name]
    assert parse_config({**defaults(), **named.options}) != RunConfig()
    assert len(named.doc) > 40


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pop_sze": 3}, "did you mean pop_size"),
        ({"lr": 0}, "lr=0.0 must be above 0"),
        ({"sigma": -1}, "sigma=-1.0 must be above 0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"max_wall_s": float("inf")}, "max_wall_s=inf must be finite: leave it out"),
        ({"rollout_timeout_s": float("inf")}, "rollout_timeout_s=inf must be finite"),
        ({"max_rss_mb": float("inf")}, "max_rss_mb=inf must be finite"),
        ({"target_fitness": float("nan")}, "target_fitness=nan must be finite"),
        ({"target_fitness": -float("inf")}, "target_fitness=-inf must be finite"),
        ({"bounds": [-1, float("inf")]}, "bounds=(-1.0, inf) must be finite"),
        ({"env_options": {"a": {"b": float("inf")}}}, "env_options={'a': {'b': inf}} must be"),
        ({"lr": "fast"}, "option lr: Expected `float`"),
        ({"workers": "many"}, "option workers"),
        ({"workers": -1}, "workers=-1"),
        ({"pool": "dask"}, "pool=dask must be redis or serial or ray"),
        ({"env_seed": -2}, "env_seed=-2"),
        ({"num_generations": 0}, "num_generations=0"),
        ({"max_failed_fraction": 2.0}, "max_failed_fraction=2.0"),
        ({"audit_fraction": 1.5}, "audit_fraction=1.5 must be in 0..1"),
        ({"audit_fraction": -0.1}, "audit_fraction=-0.1 must be in 0..1"),
        ({"audit_fraction": float("nan")}, "audit_fraction=nan"),
        ({"audit_fraction": 0.1, "mixed_hardware": True}, "set one of them only"),
        ({"pop_size": 0}, "pop_size=0 must be at least 1"),
        ({"max_losses": 0}, "max_losses=0 must be at least 1"),
        ({"hidden_sizes": [8, "x"]}, "option hidden_sizes"),
        # No worker could read it, and the head would wait for them for ever.
        ({"env_options": {"fates": {"1": "x"}}}, "option env_options"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**defaults(), **changed})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
