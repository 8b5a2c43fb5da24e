"""What CMA-ES does otherwise than OpenAI-ES under each config's name."""

from __future__ import annotations

from typing import Any

from search import configs
from search.configs import NamedConfig

DEFAULTS: dict[str, Any] = {"tool": "CMA", "pool": "ray", "pop_size": 20, "sigma": 0.5}
"""Options whose default is another in ``nevergrad_es/experiment.py``."""

_OTHERWISE: dict[str, NamedConfig] = {
    "lander": NamedConfig(
        "LunarLanderContinuous-v3 by a linear policy and CMA-ES: 261 over 100 test episodes after "
        "800,000 steps (two seeds), but 196 to 228 after two million (three): untuned.",
        {"pop_size": 40, "sigma": 0.5, "num_generations": 1000},
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
        "The 2019 model in 3D by 46 parameters of the reflex controller, all ones at first.",
        {"pop_size": 14, "sigma": 0.1, "max_ep_length": 1000},
    ),
}


def _named(name: str, shared: NamedConfig) -> NamedConfig:
    otherwise = _OTHERWISE.get(name, NamedConfig(shared.doc, {}))
    options = {key: value for key, value in shared.options.items() if key != "lr"}
    return NamedConfig(otherwise.doc, {**options, **otherwise.options})


NAMED_CONFIGS = {name: _named(name, shared) for name, shared in configs.NAMED_CONFIGS.items()}
"""Every config of ``es/experiment.py``, with what suits CMA-ES."""
