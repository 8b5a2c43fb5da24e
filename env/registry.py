"""From a name to an environment: Gymnasium's, ours, or a user's own from a folder they named."""

from __future__ import annotations

import copy
import importlib
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from env import box2d_shapes, box2d_worlds
from env.musculoskeletal.kernels import pinned_kernels
from env.spec import EnvSpec
from env.wrappers import FrameSkip, History
from errors import ConfigError, EnvUnavailable, did_you_mean
from policy.actions import action_decoder
from policy.included import import_function, import_included, included_file, one_line
from policy.observations import observation_encoder

Notice = Callable[[str], None]


@dataclass(frozen=True)
class OwnEnv:
    """An environment of this project.

    Attributes:
        entry_point: where its class is.
        max_steps: episode cap, without options.
        is_deterministic: whether all its episodes start and go alike, without options.
        max_steps_at: the cap at difficulties where it is another.
        random_at: difficulties at which a deterministic one is not.
        ends_by_falling: whether an episode that lasts to its cap has succeeded.
    """

    entry_point: str
    max_steps: int
    is_deterministic: bool = False
    max_steps_at: Mapping[int, int] = field(default_factory=dict)
    random_at: tuple[int, ...] = ()
    ends_by_falling: bool = False

    def max_steps_with(self, options: Mapping[str, Any]) -> int:
        """Episode cap of the environment made with these options."""
        return self.max_steps_at.get(_difficulty(options), self.max_steps)

    def is_deterministic_with(self, options: Mapping[str, Any]) -> bool:
        """Whether it is deterministic when made with these options."""
        return self.is_deterministic and _difficulty(options) not in self.random_at


OWN_ENVS = {
    "Sphere-v0": OwnEnv("env.sphere:Sphere", 1, is_deterministic=True),
    "PartiallyObservablePendulum-v0": OwnEnv(
        "env.partially_observable:PartiallyObservablePendulum", 200
    ),
    "PartiallyObservableCartPole-v0": OwnEnv(
        "env.partially_observable:PartiallyObservableCartPole", 500, ends_by_falling=True
    ),
    "PartiallyObservableCartPoleEasy-v0": OwnEnv(
        "env.partially_observable:PartiallyObservableCartPoleEasy", 500, ends_by_falling=True
    ),
    "OpenSimWalk2D-v0": OwnEnv(
        "env.musculoskeletal.walk2d:Walk2D",
        1000,
        is_deterministic=True,
        max_steps_at={3: 2500},
        random_at=(1, 2, 3),
        ends_by_falling=True,
    ),
    "OpenSimWalk3D-v0": OwnEnv(
        "env.musculoskeletal.walk3d:Walk3D",
        1000,
        is_deterministic=True,
        max_steps_at={3: 2500},
        random_at=(1, 2, 3),
        ends_by_falling=True,
    ),
    "OpenSimArm2D-v0": OwnEnv("env.musculoskeletal.arm2d:Arm2D", 200),
    "OpenSimRun-v0": OwnEnv(
        "env.musculoskeletal.run:Run",
        1000,
        is_deterministic=True,
        random_at=(1, 2),
        ends_by_falling=True,
    ),
    "OpenSimProsthetics-v0": OwnEnv(
        "env.musculoskeletal.prosthetics:Prosthetics",
        300,
        is_deterministic=True,
        max_steps_at={1: 1000},
        random_at=(1,),
        ends_by_falling=True,
    ),
    "OpenSimModel-v0": OwnEnv(
        "env.musculoskeletal.any_model:AnyModel", 1000, is_deterministic=True
    ),
}

OLD_NAMES = {
    "sphere": "Sphere-v0",
    "AntPyBulletEnv-v0": "Ant-v5",
    "HalfCheetahPyBulletEnv-v0": "HalfCheetah-v5",
    "HopperPyBulletEnv-v0": "Hopper-v5",
    "HumanoidPyBulletEnv-v0": "Humanoid-v5",
    "InvertedDoublePendulumPyBulletEnv-v0": "InvertedDoublePendulum-v5",
    "InvertedPendulumPyBulletEnv-v0": "InvertedPendulum-v5",
    "ReacherPyBulletEnv-v0": "Reacher-v5",
    "Walker2DPyBulletEnv-v0": "Walker2d-v5",
}

_INSTALLS = {
    "gymnasium.envs.box2d": "pip install 'gymnasium[box2d]'",
    "gymnasium.envs.classic_control": "pip install 'gymnasium[classic-control]'",
    "gymnasium.envs.mujoco": "pip install 'gymnasium[mujoco]'",
    "gymnasium.envs.phys2d": "pip install 'gymnasium[jax]'",
    "gymnasium.envs.tabular": "pip install 'gymnasium[jax]'",
    "gymnasium.envs.toy_text": "pip install 'gymnasium[toy-text]'",
    "env.musculoskeletal": "pip install opensim && pip install --no-deps osim-rl",
}
_NAMESPACE_INSTALLS = {
    "ALE": "pip install ale-py",
    "dm_control": "pip install 'shimmy[dm-control]'",
}

_OPENSIM = "env.musculoskeletal"
_OF_THE_USERS_OWN = ("model", "reward", "pose")
_VERSIONED = re.compile(r"(?P<base>(?:[\w-]+/)?[\w.-]+?)(?:-v(?P<version>\d+))?")


def register_own() -> None:
    """Tell Gymnasium our ids. Loads none of the environments; may be called again."""
    for name, own in OWN_ENVS.items():
        if name not in gym.registry:
            # Those on OpenSim end by themselves, at a time that depends on their options.
            limit = None if own.entry_point.startswith(_OPENSIM) else own.max_steps
            gym.register(name, own.entry_point, max_episode_steps=limit)


def canonical_name(name: str, notice: Notice) -> str:
    """Today's id of an environment; ``notice`` is told in a line where it differs from ``name``.

    Known old names have a table; an id without a version, or of an older one, becomes the newest
    version there is. ``module:Id`` stays as it is, and so does what nobody knows.
    """
    register_own()
    today = OLD_NAMES.get(name) or _newest_version(name) or name
    if today != name and name.lower() != "sphere":
        notice(f"environment {name} is now called {today}")
    return today


def make(
    spec: EnvSpec, *, include: Path | None = None, render_mode: str | None = None
) -> gym.Env[Any, Any]:
    """The environment, with frame skip and history as ``spec`` says and no other wrapper.

    Without time limit, order enforcement and checker: `env.rollout.run_episode` does their work, in
    less time.

    Args:
        spec: which one.
        include: the folder that ``module:Id`` may come from.
        render_mode: as Gymnasium's.

    Raises:
        EnvUnavailable: it does not exist, or its package is not installed.
        ConfigError: it does not take the options, cannot be built, or has a space of an unsupported
            kind; or ``module:Id`` without ``include``.
    """
    if spec.frame_skip < 1 or spec.history_len < 1:
        raise ConfigError(
            f"frame_skip={spec.frame_skip}, history_len={spec.history_len}: each must be at least 1"
        )
    declared = copy.deepcopy(_declaration(spec, include))
    declared.order_enforce = False
    declared.max_episode_steps = None
    with pinned_kernels():  # for the `opensim` that an environment of the user's may import
        env = _build(spec, declared, render_mode, include)
    try:
        observation_encoder(env.observation_space)
        action_decoder(env.action_space, within_one=False)
    except ConfigError as error:
        env.close()
        raise ConfigError(f"environment {spec.name}: {error}") from None
    if spec.frame_skip > 1:
        env = FrameSkip(env, spec.frame_skip)
    if spec.history_len > 1:
        env = History(env, spec.history_len)
    return env


def time_limit(spec: EnvSpec, include: Path | None = None) -> int | None:
    """Episode cap in simulator steps: ``spec.max_ep_length`` or the environment's own, the lesser.

    Raises as `make` does for an unknown name.
    """
    declared = _declaration(spec, include)
    own = OWN_ENVS.get(declared.id)
    limit = own.max_steps_with(spec.options) if own else declared.max_episode_steps
    # An environment that ends by itself after time_limit_steps was asked for that many.
    asked = spec.options.get("time_limit_steps")
    caps = [spec.max_ep_length, limit if asked is None else asked]
    return min((cap for cap in caps if isinstance(cap, int)), default=None)


def reward_threshold(spec: EnvSpec, include: Path | None = None) -> float | None:
    """The reward of an episode that solves the task, where Gymnasium was told one.

    Raises as `make` does for an unknown name.
    """
    threshold = _declaration(spec, include).reward_threshold
    return None if threshold is None else float(threshold)


def ends_by_falling(spec: EnvSpec) -> bool:
    """Whether it is one of ours whose episodes have succeeded when they last to their cap."""
    own = OWN_ENVS.get(canonical_name(spec.name, _silent))
    return own is not None and own.ends_by_falling


def is_deterministic(spec: EnvSpec) -> bool:
    """Whether neither reset nor step depends on the seed."""
    own = OWN_ENVS.get(canonical_name(spec.name, _silent))
    return own is not None and own.is_deterministic_with(spec.options)


def needs_guard(spec: EnvSpec) -> bool:
    """Whether its rollouts belong in a process of their own: OpenSim's simulators may hang, leak
    or crash, and of a user's own environment nobody knows.
    """
    name = canonical_name(spec.name, _silent)
    own = OWN_ENVS.get(name)
    return ":" in name or (own is not None and own.entry_point.startswith(_OPENSIM))


def score_options(spec: EnvSpec) -> dict[str, Any]:
    """Options of reset in which this environment's scores are stated."""
    own = OWN_ENVS.get(canonical_name(spec.name, _silent))
    is_opensim = own is not None and own.entry_point.startswith(_OPENSIM)
    return {"preset": "exact"} if is_opensim else {}


def _difficulty(options: Mapping[str, Any]) -> int:
    """As an option says it; whether there is such a one is for the environment to say."""
    difficulty = options.get("difficulty")
    return difficulty if isinstance(difficulty, int) else 0


def _silent(_line: str) -> None:
    return


def _newest_version(name: str) -> str | None:
    match = _VERSIONED.fullmatch(name)
    if match is None:
        return None
    newest = -1
    for declared in list(gym.registry.values()):
        known = _VERSIONED.fullmatch(declared.id)
        if known and known["base"] == match["base"] and known["version"] is not None:
            newest = max(newest, int(known["version"]))
    version = match["version"]
    if newest < 0 or (version is not None and int(version) >= newest):
        return None
    return f"{match['base']}-v{newest}"


def _declaration(spec: EnvSpec, include: Path | None) -> Any:
    """Gymnasium's declaration of the environment; a user's module is imported first."""
    name = canonical_name(spec.name, _silent)
    if ":" in name:
        module, _, name = name.partition(":")
        with pinned_kernels():  # as in `make`
            import_included(module, include)
        if name in gym.registry:
            return gym.registry[name]
        raise EnvUnavailable(
            f"module {module} registers no environment {name!r}: call gymnasium.register in it"
            f"{did_you_mean(name, gym.registry)}"
        )
    # Gymnasium's bridges to old gym import whatever module their options name.
    if name in gym.registry and not name.startswith("GymV"):
        return gym.registry[name]
    namespace = name.partition("/")[0] if "/" in name else ""
    if namespace in _NAMESPACE_INSTALLS:
        raise EnvUnavailable(
            f"environment {name} is not installed: {_NAMESPACE_INSTALLS[namespace]}"
        )
    raise EnvUnavailable(
        f"no environment {spec.name!r}: expected an id of Gymnasium or of ours, or your own as "
        f"module:Id with include=FOLDER{did_you_mean(name, gym.registry)}"
    )


def _build(
    spec: EnvSpec, declared: Any, render_mode: str | None, include: Path | None
) -> gym.Env[Any, Any]:
    entry_point = str(declared.entry_point)
    options: dict[str, Any] = dict(spec.options)
    if entry_point.startswith(_OPENSIM):
        options |= _of_the_users_own(options, include)
    if render_mode is not None:
        options["render_mode"] = render_mode
    if "mujoco" in entry_point:
        _quieten_mujoco()
    try:
        with warnings.catch_warnings():
            # pygame's import warns of pkg_resources; nothing a user of ours could do about it
            warnings.simplefilter("ignore")
            env: gym.Env[Any, Any] = gym.make(declared, disable_env_checker=True, **options)
            box2d_shapes.mend(env)
            box2d_worlds.renew(env)
            if entry_point.startswith(_OPENSIM) and any(map(options.get, _OF_THE_USERS_OWN)):
                env.get_wrapper_attr("rehearse")()
            return env
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        hints = [hint for prefix, hint in _INSTALLS.items() if entry_point.startswith(prefix)]
        raise EnvUnavailable(
            f"environment {spec.name} needs a package that is not installed "
            f"({one_line(error)}): {hints[0] if hints else 'install it'}"
        ) from error
    except ConfigError:
        raise
    except Exception as error:  # whatever a constructor does
        raise ConfigError(
            f"environment {spec.name} cannot be built with env_options={dict(spec.options)}: "
            f"{one_line(error)}"
        ) from error


def _of_the_users_own(options: dict[str, Any], include: Path | None) -> dict[str, Any]:
    """What the options of an OpenSim environment name in the user's folder: a function to reward
    with, and a model file, which may also be one of osim-rl's by its bare name.
    """
    own: dict[str, Any] = {}
    reward, model = options.get("reward"), options.get("model")
    if reward is not None:
        own["reward"] = import_function(reward, include)
    if model is not None:
        own["model"] = _bundled_model(str(model), include) or included_file(model, include)
    return own


def _bundled_model(name: str, include: Path | None) -> Path | None:
    """osim-rl's model of this file name, unless the user's folder has one of that name."""
    from env.musculoskeletal.model import osim_rl_folder

    if "/" in name or "\\" in name or (include is not None and (include / name).is_file()):
        return None
    path = osim_rl_folder() / "models" / name
    return path if path.suffix == ".osim" and path.is_file() else None


def _quieten_mujoco() -> None:
    """MuJoCo's warnings go to the terminal and to a MUJOCO_LOG.TXT in whatever folder this is."""
    try:
        mujoco = importlib.import_module("mujoco")
        mujoco.set_mju_user_warning(_silent)
    except (ImportError, AttributeError):
        return
