"""Where a run begins."""

from __future__ import annotations

import pytest

from search.run_config import RunConfig
from training.beginning import begin


@pytest.mark.parametrize(("network", "num_notices"), [("linear", 0), ("feed_forward", 1)])
def test_hidden_units_that_begin_at_zero_are_worth_a_word(network: str, num_notices: int) -> None:
    notices: list[str] = []
    config = RunConfig(
        env_name="CartPole-v1", network=network, hidden_sizes=(4,), initial_theta="zeros"
    )
    assert not begin(config, None, notices.append).theta.any()
    assert len([line for line in notices if "initial_theta=policy" in line]) == num_notices
