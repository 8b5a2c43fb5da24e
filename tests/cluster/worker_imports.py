"""Run by a test: import what a worker machine runs, and use it, without what it need not have.

``worker_imports.py NAME...``: the packages, by the names they are imported by, that are there.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Sequence
from types import ModuleType

THERE = set(sys.argv[1:])
OURS = {"cluster", "env", "errors", "es", "fleet", "policy", "search"}
MODULES = (
    "cluster.machine.worker",
    "cluster.machine.ship_log",
    "es.worker",
    "fleet.machine.child",
    "fleet.machine.kept_relay",
    "search.evaluator",
)


class NotInstalled(importlib.abc.MetaPathFinder):
    """Has nothing be there but the standard library, ours, and what is named."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        top = name.partition(".")[0]
        if top not in THERE | OURS and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled())
for module in MODULES:
    importlib.import_module(module)

from env import registry  # noqa: E402
from env.spec import EnvSpec  # noqa: E402
from policy.actor import build_actor  # noqa: E402
from policy.spec import PolicySpec  # noqa: E402
from search.configs import NAMED_CONFIGS  # noqa: E402

networks = {"linear", "feed_forward", "elman", "gru", "lstm"}
envs = {str(config.options.get("env_name", "")): config for config in NAMED_CONFIGS.values()}
for env_name in sorted(filter(None, envs)):
    if env_name.startswith("OpenSim") and env_name != "OpenSimWalk2D-v0":
        continue  # of one kind; each takes a second
    env = registry.make(
        EnvSpec(name=env_name, options=envs[env_name].options.get("env_options", {}))
    )
    names = {str(envs[env_name].options.get("network", "linear"))}
    for network in sorted(names | (networks if env_name == "CartPole-v1" else set())):
        spec = PolicySpec(network=network, hidden_sizes=(8,))
        build_actor(spec, env.observation_space, env.action_space)
    env.reset(seed=1)
    env.step(env.action_space.sample())
    env.close()
    print(env_name)
