"""What CMA-ES does otherwise than OpenAI-ES under each config's name."""

from __future__ import annotations

from typing import Any

from search import configs
from search.configs import NamedConfig

DEFAULTS: dict[str, Any] = {"tool": "CMA", "pool": "ray", "pop_size": 20, "sigma": 0.5}
"""Options whose default is another in ``nevergrad_es/experiment.py``."""

_PENDULUM: dict[str, Any] = {"pop_size": 32, "sigma": 0.5, "num_episodes": 1}

_OTHERWISE: dict[str, NamedConfig] = {
    "lander": NamedConfig(
        "LunarLanderContinuous-v3 by a linear policy and CMA-ES: 269 to 283 over 100 test episodes "
        "after two million steps (five seeds).",
        # By one episode of each candidate it is luck that is selected: after two million steps 196
        # to 228 over 100 test episodes (three seeds), by two of them 224 to 286 (four).
        {
            "output_activation": "tanh",
            "initial_theta": "policy",
            "pop_size": 40,
            "sigma": 0.5,
            "num_episodes": 5,
            "num_generations": 200,
            "validation_every": 1,
        },
    ),
    "pendulum": NamedConfig(
        "Pendulum-v1 by a small feed-forward policy and CMA-ES: -370 over 50 test episodes after "
        "a million steps.",
        _PENDULUM,
    ),
    "pendulum_lstm": NamedConfig(
        "The pendulum without its velocity, by an LSTM and CMA-ES: -390 over 50 test episodes "
        "after two million steps.",
        _PENDULUM,
    ),
    "pendulum_partial": NamedConfig(
        "The pendulum without its velocity, by two stacked observations and CMA-ES: -370 and -430 "
        "over 50 test episodes after 2.5 million steps.",
        _PENDULUM,
    ),
    "run": NamedConfig(
        "The 2017 challenge's model: as far as possible in 5 s from rest, one foot ahead, from the "
        "walk of examples/gaits/walk2d.json on. An hour of one worker: 6.8 m.",
        {},
    ),
    "sphere": NamedConfig(
        "Minus the squared distance to an optimum: milliseconds a generation, for trying things.",
        {"pop_size": 10, "sigma": 0.3},
    ),
    "walk": NamedConfig(
        "The 2019 model in 2D walks by 37 parameters of a reflex controller, all ones at first. "
        "Six minutes on two cores: a walk of 10 s, 193 to 197 (three seeds of four).",
        {"pop_size": 12, "sigma": 0.1, "max_ep_length": 1000},
    ),
    "walk3d": NamedConfig(
        "The 2019 model in 3D by 46 parameters of the reflex controller, all ones at first, which "
        "fall at 0.8 s with 11.2. An hour of one worker: 61, a fall at 3.6 s.",
        {"pop_size": 14, "sigma": 0.1, "max_ep_length": 1000},
    ),
}


def _named(name: str, shared: NamedConfig) -> NamedConfig:
    otherwise = _OTHERWISE.get(name, NamedConfig(shared.doc, {}))
    options = {
        key: v for key, v in shared.options.items() if key not in ("optimizer", "lr", "sigma_lr")
    }
    return NamedConfig(otherwise.doc, {**options, **otherwise.options})


NAMED_CONFIGS = {name: _named(name, shared) for name, shared in configs.NAMED_CONFIGS.items()}
"""Every config of ``es/experiment.py``, with what suits CMA-ES."""
