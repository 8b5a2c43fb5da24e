"""From theta to action: what a rollout asks for, and the actor of the built-in networks.

Nothing here imports torch: workers of built-in networks start without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from errors import ConfigError
from policy.actions import action_decoder
from policy.mirror import mirror_between
from policy.networks import Network, build_network, canonical_network, is_built_in
from policy.numpy_network import NumpyNetwork
from policy.observations import Encode, observation_encoder
from policy.random_actions import RandomActor
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

Notice = Callable[[str], None]


class Actor(Protocol):
    """One policy, for one episode after the other.

    Attributes:
        num_parameters: D, length of theta.
        is_deterministic: acts the same whatever the generator; draws nothing from it.
        observation_size: O, length of an observation as a vector.
    """

    num_parameters: int
    is_deterministic: bool
    observation_size: int

    def load(self, theta: NDArray[np.float32], statistics: ObservationStatistics | None) -> None:
        """Take ``(D,)`` float32 and the moments to normalise with; keeps copies.

        Raises `ConfigError` when a length does not fit.
        """
        ...

    def reset(self, rng: np.random.Generator) -> None:
        """A new episode: no memory of the last one; noise comes from ``rng`` from now on."""
        ...

    def act(self, observation: Any) -> Any:
        """An action for the environment's ``step``. The observation is not kept."""
        ...


def build_actor(
    spec: PolicySpec,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    include: Path | None = None,
    notice: Notice | None = None,
) -> Actor:
    """The actor of ``spec`` between two spaces.

    Args:
        spec: the policy.
        observation_space: as the environment, wrapped, gives it.
        action_space: likewise.
        include: folder that ``module.Class`` networks come from.
        notice: told, in one line each, of old names and slow choices.

    Raises `ConfigError` when the spec or a space cannot work.
    """
    network = canonical_network(spec.network, notice)
    if network == "reflex":
        from policy.reflex import ReflexActor  # OpenSim's controller, only where asked for

        return ReflexActor(observation_space, action_space, spec.options)
    if "." in network:
        from policy.user_module import UserModuleActor  # torch, only where asked for

        return UserModuleActor(spec, observation_space, action_space, include, notice)
    if spec.options:
        raise ConfigError(
            f"network_options={dict(spec.options)}: network={network} has none, only reflex and "
            "networks of your own do; leave it out (sizes are hidden_sizes)"
        )
    if network == "random":
        return RandomActor(observation_space, action_space)
    if network == "symmetric":
        from policy.symmetric import SymmetricActor  # which builds on what is here

        return SymmetricActor(spec, observation_space, action_space)
    return NetworkActor(spec, observation_space, action_space)


def network_between(
    spec: PolicySpec, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> Network:
    """The layers of a built-in network between two spaces."""
    if not is_built_in(spec.network):
        return build_network(spec, 1, 1)  # raises, naming the networks there are
    if spec.network == "symmetric":
        mirror_between(observation_space, action_space)  # raises where there is none
    size_in, _ = observation_encoder(observation_space)
    size_out, _ = action_decoder(action_space, within_one=False)
    return build_network(spec, size_in, size_out)


class NetworkActor:
    """A built-in network in numpy; see `policy.numpy_network`."""

    def __init__(
        self,
        spec: PolicySpec,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
    ) -> None:
        network = network_between(spec, observation_space, action_space)
        self.num_parameters = network.num_parameters
        self.is_deterministic = network.num_noise == 0
        self.observation_size, self._encode = observation_encoder(observation_space)
        _, self._to_action = action_decoder(action_space, within_one=network.outputs_within_one)
        self._network = NumpyNetwork(network)
        self._plain_encode = self._encode
        self._normalizes = spec.normalize_observations
        self._inputs = self._network.inputs
        self._outputs = self._network.outputs
        self._calls = tuple(self._network.calls)
        self._rng: np.random.Generator | None = None

    def load(self, theta: NDArray[np.float32], statistics: ObservationStatistics | None) -> None:
        """As `Actor.load`."""
        check_theta(theta, self.num_parameters)
        self._network.load(theta)
        self._encode = self._plain_encode
        if self._normalizes and statistics is not None and statistics.count > 1:
            self._encode = normalizing(self._plain_encode, statistics, self.observation_size)

    def reset(self, rng: np.random.Generator) -> None:
        """As `Actor.reset`."""
        self._network.reset()
        self._rng = None if self.is_deterministic else rng

    def act(self, observation: Any) -> Any:
        """As `Actor.act`."""
        self._encode(observation, self._inputs)
        self._run()
        return self._to_action(self._outputs)

    def _run(self) -> None:
        if self._rng is not None:
            self._rng.standard_normal(out=self._network.noise, dtype=np.float32)
        for function, source, target in self._calls:
            function(source, target)


def check_theta(theta: NDArray[np.float32], num_parameters: int) -> None:
    """Raise `ConfigError` unless ``theta`` is ``(num_parameters,)``."""
    if theta.shape != (num_parameters,):
        raise ConfigError(
            f"theta of shape {theta.shape} does not fit a policy of {num_parameters} parameters: "
            "use the environment and network that it was trained with"
        )


def check_statistics(statistics: ObservationStatistics, size: int) -> None:
    """Raise `ConfigError` unless ``statistics`` are of vectors of ``size``."""
    if len(statistics.mean_o) != size:
        raise ConfigError(
            f"statistics of {len(statistics.mean_o)} observations do not fit a policy that sees "
            f"{size}: use the environment they were taken in"
        )


def normalizing(encode: Encode, statistics: ObservationStatistics, size: int) -> Encode:
    """``encode``, then subtract the mean and divide by the standard deviation, in float64.

    Raises `ConfigError` as `check_statistics` does.
    """
    check_statistics(statistics, size)
    mean_o = statistics.mean_o.copy()
    inverse_o = 1.0 / statistics.standard_deviation_o()
    centred_o = np.zeros(size)
    subtract, multiply = np.subtract, np.multiply

    def encode_normalized(observation: Any, target: NDArray[Any]) -> None:
        encode(observation, centred_o)
        subtract(centred_o, mean_o, centred_o)
        target[:] = multiply(centred_o, inverse_o, centred_o)

    return encode_normalized
