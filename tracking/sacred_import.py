"""The one place that imports Sacred: without its warning, and with its settings made for us."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # Sacred 0.8.7 imports pkg_resources, which warns in a category of its own for each release
    # of setuptools; the pin on setuptools in requirements.txt is for that.
    warnings.simplefilter("ignore")
    from sacred import SETTINGS, Experiment
    from sacred.arg_parser import get_config_updates
    from sacred.config.utils import chain_evaluate_config_scopes
    from sacred.observers import FileStorageObserver
    from sacred.run import Run
    from sacred.serializer import flatten
    from sacred.utils import SacredError

__all__ = [
    "SETTINGS",
    "Experiment",
    "FileStorageObserver",
    "Run",
    "SacredError",
    "chain_evaluate_config_scopes",
    "get_config_updates",
    "plain",
]

# Sacred's capture hides the terminal from a live console and waits for children that hold a pipe.
SETTINGS.CAPTURE_MODE = "no"
# `nvidia-smi` takes seconds on some machines, and nothing here runs on a GPU.
SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
# Sacred asks git once for every file; `tracking.tracked_experiment` finds the same once.
SETTINGS.DISCOVER_SOURCES = "none"
SETTINGS.DISCOVER_DEPENDENCIES = "none"


def plain(value: object) -> Any:
    """``value`` as JSON knows it, the way Sacred writes it."""
    return flatten(value)
