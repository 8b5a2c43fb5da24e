"""The numpy network against torch's own layers, and against itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from policy.networks import ACTIVATIONS, build_network
from policy.numpy_network import NumpyNetwork, aligned_zeros
from policy.parameters import draw_theta
from policy.spec import PolicySpec
from policy.torch_network import TorchNetwork, load_theta

NETWORKS = [
    ("linear", ()),
    ("feed_forward", ()),
    ("feed_forward", (64, 64)),
    ("symmetric", (5,)),
    ("elman", (5,)),
    ("elman", (7, 3)),
    ("gru", (16,)),
    ("gru", (5, 9)),
    ("lstm", (16,)),
    ("lstm", (4, 4, 6)),
]


def both(spec: PolicySpec, size_in: int, size_out: int, seed: int):
    network = build_network(spec, size_in, size_out)
    theta = draw_theta(network, seed)
    # Away from the initial values, which are the same for all of a block of deviations.
    theta += np.random.default_rng(seed).normal(0, 0.1, theta.shape).astype(np.float32)
    ours = NumpyNetwork(network)
    ours.load(theta)
    theirs = TorchNetwork(network)
    load_theta(theirs, torch.from_numpy(theta))
    return network, ours, theirs


@pytest.mark.parametrize(("kind", "hidden_sizes"), NETWORKS)
@pytest.mark.parametrize("activations", list(itertools.product(ACTIVATIONS, ACTIVATIONS)), ids=str)
def test_numpy_and_torch_agree_to_1e_6_over_two_episodes(kind, hidden_sizes, activations):
    hidden, output = activations
    spec = PolicySpec(kind, hidden_sizes, hidden, output)
    network, ours, theirs = both(spec, 6, 3, seed=11)
    rng = np.random.default_rng(5)
    for _ in range(2):
        ours.reset()
        theirs.reset()
        for _ in range(5):
            inputs = rng.normal(0, 1, 6).astype(np.float32)
            noise = rng.normal(0, 1, network.num_noise).astype(np.float32)
            ours.inputs[:] = inputs
            ours.noise[:] = noise
            ours.run()
            with torch.inference_mode():
                expected = theirs(torch.from_numpy(inputs), torch.from_numpy(noise)).numpy()
            np.testing.assert_allclose(ours.outputs, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["elman", "gru", "lstm"])
def test_recurrent_networks_remember_until_they_are_reset(kind):
    _, ours, _ = both(PolicySpec(kind, (8,)), 2, 1, seed=0)

    def outputs_of_two_runs() -> list[float]:
        ours.inputs[:] = 1.0
        ours.run()
        first = float(ours.outputs[0])
        ours.run()
        return [first, float(ours.outputs[0])]

    ours.reset()
    first, second = outputs_of_two_runs()
    assert first != second
    assert outputs_of_two_runs() != [first, second]
    ours.reset()
    assert outputs_of_two_runs() == [first, second]


def test_discrete_has_eleven_symmetric_levels():
    ours = NumpyNetwork(build_network(PolicySpec("linear", output_activation="discrete"), 1, 1))
    ours.load(np.array([1.0, 0.0], dtype=np.float32))
    levels = set()
    for value in np.linspace(-4, 4, 2001):
        ours.inputs[0] = value
        ours.run()
        levels.add(float(ours.outputs[0]))
    assert sorted(levels) == [float(np.float32(step) / np.float32(5)) for step in range(-5, 6)]


@pytest.mark.parametrize(("activation", "deviation"), [("gaussian", 0.5), ("gaussian_fixed", 0.01)])
def test_gaussian_activations_add_noise_of_the_stated_deviation(activation, deviation):
    network = build_network(PolicySpec("linear", output_activation=activation), 1, 2)
    theta = draw_theta(network, 3)
    assert network.num_parameters == (6 if activation == "gaussian" else 4)
    ours = NumpyNetwork(network)
    ours.load(theta)
    ours.inputs[0] = 0.3
    ours.noise[:] = 0.0
    ours.run()
    quiet = ours.outputs.copy()
    ours.noise[:] = [1.0, -2.0]
    ours.run()
    added = ours.outputs - quiet
    np.testing.assert_allclose(added, [deviation, -2 * deviation], rtol=1e-4)


def test_relu_leaks_a_hundredth():
    ours = NumpyNetwork(build_network(PolicySpec("linear", output_activation="relu"), 1, 1))
    ours.load(np.array([1.0, 0.0], dtype=np.float32))
    for value, expected in [(2.0, 2.0), (-2.0, -0.02)]:
        ours.inputs[0] = value
        ours.run()
        assert ours.outputs[0] == pytest.approx(expected)


def test_sigmoids_of_huge_sums_do_not_overflow():
    network = build_network(PolicySpec("lstm", (3,)), 2, 1)
    ours = NumpyNetwork(network)
    ours.load(np.full(network.num_parameters, -1e6, dtype=np.float32))
    ours.inputs[:] = 1.0
    ours.run()  # a RuntimeWarning would fail the test
    assert np.isfinite(ours.outputs).all()


def test_every_buffer_starts_on_a_cache_line():
    assert all(aligned_zeros(size).ctypes.data % 64 == 0 for size in range(1, 200))
