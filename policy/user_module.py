"""A user's own ``torch.nn.Module`` as a policy: it runs in torch, on one thread.

The class is called with the length of an observation, the number of outputs that the action space
needs, and the keyword arguments of ``network_options``. Its ``forward`` takes one float32 vector
and returns the outputs; ``reset()``, if there is one, is called before each episode. theta is its
parameters (those with ``requires_grad``), flattened in the order of ``parameters()``. What else the
constructor draws from torch's generator, frozen parameters and buffers, is the same in every
process and in every run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from errors import ConfigError
from policy.actions import action_decoder
from policy.actor import Notice, check_theta, normalizing
from policy.included import import_included, one_line
from policy.observations import observation_encoder
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

_FROZEN_SEED = 0


class UserModuleActor:
    """`policy.actor.Actor` of a user's module.

    It counts as stochastic, since nothing tells whether it is: each episode seeds torch's generator
    from the episode's own.
    """

    is_deterministic = False

    def __init__(
        self,
        spec: PolicySpec,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        include: Path | None,
        notice: Notice | None,
    ) -> None:
        torch.set_num_threads(1)
        self.observation_size, self._plain_encode = observation_encoder(observation_space)
        self._num_outputs, self._to_action = action_decoder(action_space, within_one=False)
        # What is not in theta is drawn too: frozen parameters and buffers are to be the same
        # wherever the policy is built.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_FROZEN_SEED)
            self._module = _build(spec, self.observation_size, self._num_outputs, include)
        self._name = spec.network
        self.num_parameters = len(_flat_parameters(self._module))
        self._normalizes = spec.normalize_observations
        self._encode = self._plain_encode
        self._inputs = np.zeros(self.observation_size, dtype=np.float32)
        if notice:
            notice(
                f"network {spec.network} runs in torch, some ten times slower a step than a "
                "built-in network"
            )

    def load(self, theta: NDArray[np.float32], statistics: ObservationStatistics | None) -> None:
        """As `policy.actor.Actor.load`."""
        check_theta(theta, self.num_parameters)
        start = 0
        with torch.no_grad():
            for parameter in _trained_parameters(self._module):
                part = theta[start : start + parameter.numel()].copy()
                parameter.copy_(torch.from_numpy(part).reshape(parameter.shape))
                start += parameter.numel()
        self._encode = self._plain_encode
        if self._normalizes and statistics is not None and statistics.count > 1:
            self._encode = normalizing(self._plain_encode, statistics, self.observation_size)

    def reset(self, rng: np.random.Generator) -> None:
        """As `policy.actor.Actor.reset`."""
        torch.manual_seed(int(rng.integers(2**63)))
        reset = getattr(self._module, "reset", None)
        if callable(reset):
            reset()

    def act(self, observation: Any) -> Any:
        """As `policy.actor.Actor.act`."""
        self._encode(observation, self._inputs)
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(self._inputs.copy()))
        values = outputs.reshape(-1).to(torch.float32).numpy()
        if len(values) != self._num_outputs:
            raise ConfigError(
                f"network {self._name} gave {len(values)} outputs: the action space needs "
                f"{self._num_outputs}"
            )
        return self._to_action(values)


def initial_module_theta(
    spec: PolicySpec,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    seed: int,
    include: Path | None,
) -> NDArray[np.float32]:
    """``(D,)`` float32 as the class draws its parameters after ``torch.manual_seed(seed)``."""
    size_in, _ = observation_encoder(observation_space)
    size_out, _ = action_decoder(action_space, within_one=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _flat_parameters(_build(spec, size_in, size_out, include))


def _build(spec: PolicySpec, size_in: int, size_out: int, include: Path | None) -> torch.nn.Module:
    module_name, _, class_name = spec.network.rpartition(".")
    module = import_included(module_name, include)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        raise ConfigError(
            f"network {spec.network}: module {module_name} has no torch.nn.Module of that name"
        )
    try:
        return found(size_in, size_out, **spec.options).to(torch.float32)
    except Exception as error:  # whatever a user's constructor does
        raise ConfigError(
            f"network {spec.network} cannot be built by {class_name}({size_in}, {size_out}, "
            f"**{dict(spec.options)}): {one_line(error)}"
        ) from error


def _trained_parameters(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _flat_parameters(module: torch.nn.Module) -> NDArray[np.float32]:
    parts = [p.detach().numpy().reshape(-1) for p in _trained_parameters(module)]
    if not parts:
        raise ConfigError(f"network {type(module).__name__} has no parameters to train")
    theta: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
    return theta
