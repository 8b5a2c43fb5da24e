"""An environment that writes down what its process has loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
from trouble import Trouble


class Census(Trouble):
    """One of a user's own, which in its first reset writes the names of all modules.

    Args:
        out: the file, a name a line.
    """

    def __init__(self, out: str) -> None:
        super().__init__()
        self.out = Path(out)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if not self.out.exists():
            whole = self.out.with_suffix(".part")
            whole.write_text("\n".join(sys.modules))
            whole.rename(self.out)
        return super().reset(seed=seed, options=options)


gymnasium.register("Census-v0", entry_point="census:Census", max_episode_steps=100)
