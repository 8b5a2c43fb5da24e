"""How a script of EvoTorch's side is started, in the Python that has EvoTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def evotorch_command(python: str, script: str, task: Mapping[str, Any]) -> list[str]:
    """``script`` of this folder, told its ``task``.

    Without PYTHONPATH: EvoTorch would take our folder ``sacred`` for the package of that name.
    """
    return ["env", "-u", "PYTHONPATH", python, str(HERE / script), json.dumps(task)]
