"""How a script of EvoTorch's side is started, in the Python that has EvoTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent


def startable(context: click.Context, option: click.Parameter, python: str | None) -> str | None:
    """A Python that is there: the callback of an option that names one."""
    if python is not None and shutil.which(python) is None:
        raise click.BadParameter(
            f"{python} is no program: `make bench BENCH_ARGS=--list` installs .venv-evotorch"
        )
    return python


def evotorch_command(python: str, script: str, task: Mapping[str, Any]) -> list[str]:
    """``script`` of this folder, told its ``task``.

    Without PYTHONPATH: EvoTorch would take our folder ``sacred`` for the package of that name.
    """
    return ["env", "-u", "PYTHONPATH", python, str(HERE / script), json.dumps(task)]
