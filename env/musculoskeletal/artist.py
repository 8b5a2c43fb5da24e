"""Who draws a musculoskeletal model on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from env.drawing import INSTALL_GL
from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.scene import SkeletonScene, drawing_window
from env.musculoskeletal.snapshot import Snapshot
from env.musculoskeletal.stick_figure import StickFigure


class Artist(Protocol):
    """Turns snapshots of one model into pictures."""

    def draw(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """``(480, 640, 3)`` uint8, rows from the top."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def find_artist(model: MuscleModel, notice: Callable[[str], None]) -> Artist:
    """A `SkeletonScene` where VTK can draw, else a `StickFigure`, of which ``notice`` is told in a
    line that says what to install.
    """
    try:
        import vtkmodules  # noqa: F401
    except ImportError:
        notice("without bones: VTK is not installed: pip install vtk")
        return StickFigure(model)
    window = drawing_window()
    if window is None:
        notice(f"without bones: no OpenGL that draws off screen on this machine: {INSTALL_GL}")
        return StickFigure(model)
    return SkeletonScene(model, window)
