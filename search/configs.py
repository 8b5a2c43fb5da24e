"""The named configs that every experiment command offers: ``with lander lr=0.1``."""

from __future__ import annotations

from typing import Any, NamedTuple


class NamedConfig(NamedTuple):
    """What a name stands for.

    Attributes:
        what: a sentence or two for people.
        outcome: what came of it and how long that took; another search needs another.
        options: those that it sets.
    """

    what: str
    outcome: str
    options: dict[str, Any]

    @property
    def doc(self) -> str:
        """All of it that is for people."""
        return f"{self.what} {self.outcome}".strip()


# What OpenSim's configs share: a fast search, scores at the exact preset, a process that is
# replaced before it can have leaked much, and a video at the end.
_OPENSIM: dict[str, Any] = {
    "env_options": {"preset": "fast"},
    "max_rollouts_per_process": 1000,
    "num_generations": 1000,
    "render": True,
}

NAMED_CONFIGS: dict[str, NamedConfig] = {
    "lander": NamedConfig(
        "LunarLanderContinuous-v3 by a linear policy.",
        "Two minutes on two cores: above 250 within the first 20 s (five seeds), 290 over the "
        "test episodes at the end.",
        {
            "env_name": "LunarLanderContinuous-v3",
            "network": "linear",
            "output_activation": "none",
            "initial_theta": "zeros",
            "pop_size": 40,
            # With much less, some seeds learn to fall straight down (-110) and never leave it.
            "sigma": 0.8,
            "sigma_lr": 0.6,
            "optimizer": "clipup",
            "lr": 0.16,
            "num_generations": 500,
            "max_wall_s": 110.0,
            "validation_episodes": 10,
            "validation_every": 4,
            "final_episodes": 100,
        },
    ),
    "ant": NamedConfig(
        "Ant-v5 by a linear policy on normalised observations.",
        "24 after a minute on two cores: its time is counted in hours.",
        {
            "env_name": "Ant-v5",
            "network": "linear",
            "output_activation": "tanh",
            "normalize_observations": True,
            "pop_size": 60,
            "sigma": 0.05,
            "lr": 0.02,
            "num_generations": 300,
            "validation_episodes": 4,
        },
    ),
    "pendulum": NamedConfig(
        "Pendulum-v1 by a small feed-forward policy.",
        "-400 after a minute on two cores, and rising.",
        {
            "env_name": "Pendulum-v1",
            "hidden_sizes": [16],
            "pop_size": 64,
            "sigma": 0.1,
            "lr": 0.05,
            "num_generations": 200,
            "num_episodes": 2,
        },
    ),
    "pendulum_lstm": NamedConfig(
        "The pendulum without its velocity, by an LSTM that has to remember it.",
        "From -1,500 to -910 in 50 s on two cores.",
        {
            "env_name": "PartiallyObservablePendulum-v0",
            "network": "lstm",
            "hidden_sizes": [8],
            "pop_size": 64,
            "sigma": 0.1,
            "lr": 0.05,
            "num_generations": 200,
            "num_episodes": 2,
        },
    ),
    "pendulum_partial": NamedConfig(
        "The pendulum without its velocity, by two stacked observations and a feed-forward policy.",
        "From -1,500 to -870 in 50 s on two cores.",
        {
            "env_name": "PartiallyObservablePendulum-v0",
            "hidden_sizes": [16],
            "history_len": 2,
            "pop_size": 64,
            "sigma": 0.1,
            "lr": 0.05,
            "num_generations": 200,
            "num_episodes": 2,
        },
    ),
    "cartpole": NamedConfig(
        "CartPole-v1 by a linear policy, up to its 500 steps.",
        "Three seconds: all 500 steps.",
        {
            "env_name": "CartPole-v1",
            "network": "linear",
            "output_activation": "none",
            "pop_size": 40,
            "sigma": 0.5,
            "lr": 0.2,
            "num_generations": 30,
        },
    ),
    "hopper": NamedConfig(
        "Hopper-v5 by a linear policy on normalised observations.",
        "1,080 after a minute on two cores, and rising.",
        {
            "env_name": "Hopper-v5",
            "network": "linear",
            "output_activation": "tanh",
            "normalize_observations": True,
            "pop_size": 60,
            "sigma": 0.05,
            "lr": 0.02,
            "num_generations": 300,
        },
    ),
    "half_cheetah": NamedConfig(
        "HalfCheetah-v5 by a linear policy on normalised observations.",
        "1,200 after a minute on two cores, and rising.",
        {
            "env_name": "HalfCheetah-v5",
            "network": "linear",
            "output_activation": "tanh",
            "normalize_observations": True,
            "pop_size": 40,
            "sigma": 0.05,
            "lr": 0.02,
            "num_generations": 150,
            "validation_episodes": 4,
        },
    ),
    "walker2d": NamedConfig(
        "Walker2d-v5 by a linear policy on normalised observations.",
        "980 after a minute on two cores, and rising.",
        {
            "env_name": "Walker2d-v5",
            "network": "linear",
            "output_activation": "tanh",
            "normalize_observations": True,
            "pop_size": 60,
            "sigma": 0.05,
            "lr": 0.02,
            "num_generations": 400,
        },
    ),
    "humanoid": NamedConfig(
        "Humanoid-v5 by a linear policy on normalised observations.",
        "266 after a minute on two cores: its time is counted in hours.",
        {
            "env_name": "Humanoid-v5",
            "network": "linear",
            "output_activation": "tanh",
            "normalize_observations": True,
            "pop_size": 200,
            "sigma": 0.02,
            "lr": 0.02,
            "num_generations": 300,
        },
    ),
    "reacher": NamedConfig(
        "Reacher-v5 by a small feed-forward policy.",
        "-9 after 45 s on two cores.",
        {
            "env_name": "Reacher-v5",
            "hidden_sizes": [32],
            "pop_size": 100,
            "sigma": 0.05,
            "lr": 0.02,
            "num_generations": 200,
            "num_episodes": 4,
        },
    ),
    "sphere": NamedConfig(
        "Minus the squared distance to an optimum: milliseconds a generation, for trying things.",
        "Two seconds, to -0.03.",
        {
            "env_name": "Sphere-v0",
            "network": "linear",
            "output_activation": "none",
            "pop_size": 20,
            "sigma": 0.1,
            "lr": 0.1,
            "num_generations": 100,
        },
    ),
    "walk": NamedConfig(
        "An OpenSim musculoskeletal model learns to walk: the 2019 model in 2D, its 22 muscles "
        "driven by 37 parameters of a reflex controller, all ones at first: a fall at 1.2 s.",
        "Six minutes on two cores, by walks of up to 4 s; the test at the end is of 10 s.",
        {
            **_OPENSIM,
            "env_name": "OpenSimWalk2D-v0",
            "network": "reflex",
            "max_ep_length": 400,
            "final_max_ep_length": 1000,
            "pop_size": 16,
            "sigma": 0.1,
            "lr": 0.05,
            "max_wall_s": 330.0,
            # A first walk that is the same for everyone; another seed walks another way.
            "seed": 1,
        },
    ),
    "walk_pro": NamedConfig(
        "Goes on from examples/gaits/walk2d.json, a walk of 10 s that this program evolved; "
        "what is left is to walk with less effort.",
        "Its time is counted in hours.",
        {
            **_OPENSIM,
            "env_name": "OpenSimWalk2D-v0",
            "network": "reflex",
            "load_from": "examples/gaits/walk2d.json",
            "pop_size": 20,
            "sigma": 0.02,
            "lr": 0.01,
            "max_wall_s": 7200.0,
        },
    ),
    "walk3d": NamedConfig(
        "The 2019 model in 3D, driven by 46 parameters of the reflex controller; all ones fall "
        "at 0.8 s with 11.2.",
        "Six minutes on two cores: 21.2, two steps more, and rising.",
        {
            **_OPENSIM,
            "env_name": "OpenSimWalk3D-v0",
            "network": "reflex",
            "network_options": {"mode": "3D"},
            "max_ep_length": 400,
            "final_max_ep_length": 1000,
            "pop_size": 24,
            "sigma": 0.1,
            "lr": 0.05,
            "max_wall_s": 330.0,
        },
    ),
    "run": NamedConfig(
        "The 2017 challenge's model: as far as possible in 5 s from rest, one foot ahead. The "
        "walk of examples/gaits/walk2d.json, found on another model, is the beginning.",
        "Eight minutes on two cores: 5.3 m; all ones come 2.3 m far.",
        {
            **_OPENSIM,
            "env_name": "OpenSimRun-v0",
            "env_options": {
                "preset": "fast",
                "observation": "walk",
                "time_limit_steps": 500,
                # Out of the challenge's own pose, both feet side by side, reflexes alone fall:
                # what tells the legs apart to them is where they are.
                "pose": {"hip_flexion_r": 0.3, "hip_flexion_l": -0.2},
            },
            "network": "reflex",
            "load_from": "examples/gaits/walk2d.json",
            "pop_size": 24,
            "sigma": 0.1,
            "lr": 0.03,
            "max_wall_s": 480.0,
        },
    ),
    "prosthetics": NamedConfig(
        "The 2018 challenge, first round: 3 m/s on a prosthetic leg, by a small network.",
        "Six minutes on two cores: from -560 (falling backward) to 103 (a lunge).",
        {
            **_OPENSIM,
            "env_name": "OpenSimProsthetics-v0",
            "hidden_sizes": [32],
            "normalize_observations": True,
            "pop_size": 32,
            "sigma": 0.1,
            "lr": 0.05,
            "max_wall_s": 330.0,
        },
    ),
    "arm": NamedConfig(
        "An arm of six muscles reaches for a target that is elsewhere in each episode, by a "
        "small network.",
        "143 to 157 of 200 after a single generation on two busy cores: untuned.",
        {
            **_OPENSIM,
            "env_name": "OpenSimArm2D-v0",
            "hidden_sizes": [32],
            "normalize_observations": True,
            "pop_size": 24,
            "sigma": 0.1,
            "lr": 0.05,
            "max_wall_s": 330.0,
        },
    ),
}
