"""The vector a search starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy.actor import build_actor, network_between
from policy.networks import Network, canonical_network
from policy.spec import PolicySpec


def initial_theta(
    spec: PolicySpec,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    seed: int,
    include: Path | None = None,
) -> NDArray[np.float32]:
    """``(D,)`` float32 of an untrained policy; the same for the same ``seed``.

    Built-in networks: uniform in +-1/sqrt(fan-in), as torch draws them (LeCun et al. 1998, sec.
    4.6, of which it is a third of the variance), by numpy's Philox. A user's module: as its own
    constructor draws it after ``torch.manual_seed``. ``reflex``: zeros, which are its all ones;
    ``random``: a zero.

    Raises `ConfigError` as `policy.actor.build_actor` does.
    """
    name = canonical_network(spec.network)
    if name in ("reflex", "random"):
        actor = build_actor(spec, observation_space, action_space)
        return np.zeros(actor.num_parameters, dtype=np.float32)
    if "." in name:
        from policy.user_module import initial_module_theta  # torch, only where asked for

        return initial_module_theta(spec, observation_space, action_space, seed, include)
    return draw_theta(network_between(spec, observation_space, action_space), seed)


def draw_theta(network: Network, seed: int) -> NDArray[np.float32]:
    """``(D,)`` float32: each block uniform in its centre +- spread."""
    rng = np.random.Generator(np.random.Philox(seed))
    blocks = [block for layer in network.layers for block in layer.blocks]
    parts = [block.centre + block.spread * rng.uniform(-1.0, 1.0, block.size) for block in blocks]
    return np.concatenate(parts).astype(np.float32)
