"""What the user set on a Sacred command line, checked before Sacred sees it.

Sacred finds an unknown key late, says so in a page, and lets a resume change anything.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from errors import ConfigError, did_you_mean
from tracking.sacred_import import Experiment, chain_evaluate_config_scopes

CHANGEABLE_ON_RESUME = frozenset(
    (
        *("num_generations", "target_fitness", "max_wall_s", "max_env_steps"),
        *("workers", "pool", "local", "use_ray", "redis_url", "ray_address", "ray_dashboard"),
        *("noise_dir", "mongo_url"),
        *("min_task_runtime", "rollout_timeout_s", "sleep"),
        *("runs_dir", "num_serializations", "render", "render_every"),
        *("resume", "author"),
        *("notify",),
    )
)
"""Settings that cannot change what theta becomes."""

# Sacred would also unpickle a file, and objects in JSON: settings are data here.
_READERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}


def default_config(experiment: Experiment) -> dict[str, Any]:
    """Every setting of ``experiment`` at its default; ``seed`` is ``None`` where Sacred draws."""
    defaults: dict[str, Any] = chain_evaluate_config_scopes(experiment.configurations)[0]
    return {"seed": None, **_with_lists(defaults)}


def check_settings(
    experiment: Experiment, updates: Mapping[str, Any], named_configs: Sequence[str]
) -> dict[str, Any]:
    """All that a command line sets: its named configs and files in order, then ``updates``.

    Raises:
        ConfigError: an unknown named config, file or key; a seed that numpy cannot take.
    """
    defaults = default_config(experiment)
    given: dict[str, Any] = {}
    for name in named_configs:
        options = _named_config(experiment, name, {**defaults, **given})
        _check_keys(options, defaults, f" in {name}")
        given = merged(given, options)
    _check_keys(updates, defaults, "")
    given = merged(given, _with_lists(updates))
    _check_seed(given.get("seed"))
    return given


def resumed_config(
    stored: Mapping[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The stored config of a run with what the user gave on top.

    Settings of the stored run that no longer exist are left out, new ones get their default.

    Raises:
        ConfigError: ``given`` contradicts the run in a setting that decides what theta becomes.
    """
    base = {key: stored.get(key, default) for key, default in defaults.items()}
    config = merged(base, given)
    for key in sorted(config):
        if key not in CHANGEABLE_ON_RESUME and config[key] != base[key]:
            raise ConfigError(
                f"resume={given['resume']} goes on with {key}={base[key]!r}, not {config[key]!r}: "
                f"leave {key} out, or start a new run with load_from={given['resume']}"
            )
    # Where the run was found, not where it was when it was stored.
    config["runs_dir"] = given.get("runs_dir", defaults.get("runs_dir"))
    return config


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top; mappings in both are merged, as Sacred does it."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def config_file(path: Path) -> dict[str, Any]:
    """The settings in a file that stands after ``with``.

    Raises:
        ConfigError: it cannot be read, or holds none.
    """
    try:
        options = _READERS[path.suffix](path.read_text())
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"config file {path} is not well-formed: {said}") from None
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        raise ConfigError(f"config file {path} must hold settings by name, such as `lr: 0.1`")
    return options


def _named_config(experiment: Experiment, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if Path(name).suffix in _READERS:
        return config_file(Path(name))
    known = dict(experiment.gather_named_configs())
    if name not in known:
        raise ConfigError(
            f"unknown named config {name!r}{did_you_mean(name, known)} "
            "(all of them: print_named_configs; files end in .json, .yaml or .yml)"
        )
    scope: Any = known[name]
    options: dict[str, Any] = scope(fixed={}, preset={}, fallback=settings)
    return {key: _with_lists(value) for key, value in options.items() if key != "__doc__"}


def _with_lists(value: Any) -> Any:
    """``value`` with every tuple as the list that it is in a stored config."""
    if isinstance(value, Mapping):
        return {key: _with_lists(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_with_lists(below) for below in value]
    return value


def _check_keys(options: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    for key, value in options.items():
        if key not in defaults:
            raise ConfigError(
                f"unknown setting {key!r}{where}{did_you_mean(key, defaults)} "
                "(all settings: print_config)"
            )
        if isinstance(value, Mapping) != isinstance(defaults[key], dict) and value is not None:
            expected = "settings of its own" if isinstance(defaults[key], dict) else "one value"
            raise ConfigError(f"setting {key}{where} takes {expected}, not {value!r}")


def _check_seed(seed: object) -> None:
    if seed is None:
        return
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed={seed!r} must be an integer from 0 to {2**32 - 1}")
