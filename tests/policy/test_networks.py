"""Architectures as data."""

from __future__ import annotations

import pytest

from errors import ConfigError
from policy.networks import build_network, canonical_network
from policy.spec import PolicySpec


@pytest.mark.parametrize(
    ("spec", "num_parameters"),
    [
        (PolicySpec("linear", (64, 64)), 9 * 2),
        (PolicySpec("feed_forward", (64, 64)), 9 * 64 + 65 * 64 + 65 * 2),
        (PolicySpec("symmetric", (64, 64)), 9 * 64 + 65 * 64 + 65),
        (PolicySpec("feed_forward", (4,), "gaussian", "gaussian"), 9 * 4 + 4 + 5 * 2 + 2),
        (PolicySpec("feed_forward", (4,), "gaussian_fixed"), 9 * 4 + 5 * 2),
        (PolicySpec("elman", (5,)), (8 + 5 + 1) * 5 + 6 * 2),
        (PolicySpec("lstm", (16,)), 4 * 16 * (8 + 16 + 1) + 17 * 2),
        # torch's GRU has one bias vector more than it needs for two of its three gates
        (PolicySpec("gru", (16,)), 2 * 16 * (8 + 16 + 1) + 16 * 9 + 16 * 17 + 17 * 2),
    ],
)
def test_a_network_has_as_many_parameters_as_its_equations(spec, num_parameters):
    assert build_network(spec, 8, 2).num_parameters == num_parameters


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (PolicySpec("feedforward"), "did you mean feed_forward?"),
        (PolicySpec(hidden_activation="tahn"), "hidden_activation='tahn'"),
        (PolicySpec(output_activation="sigmoid"), "expected none, tanh"),
        (PolicySpec(hidden_sizes=(64, 0)), "at least 1"),
        (PolicySpec("lstm", ()), "needs hidden_sizes"),
    ],
)
def test_a_spec_that_cannot_work_is_refused_in_one_line(spec, said):
    with pytest.raises(ConfigError) as refused:
        build_network(spec, 8, 2)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("policy.ff_network.FFNetwork", "feed_forward"),
        ("policy.elman_network.ElmanNetwork", "elman"),
        ("policy.lstm_network.LSTMNetwork", "lstm"),
    ],
)
def test_the_old_dotted_names_work_with_a_notice(old, today):
    lines: list[str] = []
    assert canonical_network(old, lines.append) == today
    assert lines == [f"network {old} is now called {today}"]
    assert build_network(PolicySpec(old, (4,)), 3, 1) == build_network(
        PolicySpec(today, (4,)), 3, 1
    )
