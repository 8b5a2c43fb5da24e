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

_NAMED = 5


class Artist(Protocol):
    """Turns snapshots of one model into pictures."""

    def draw(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """``(480, 640, 3)`` uint8, rows from the top."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def find_artist(model: MuscleModel, notice: Callable[[str], None]) -> Artist:
    """A `SkeletonScene` where VTK can draw and there are bones to draw, else a `StickFigure`.
    ``notice`` is told in a line what is missing and what to do about it.
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
    scene = SkeletonScene(model, window)
    if scene.missing:
        notice(_missing_line(model, scene.missing))
    if scene.has_bones:
        return scene
    if not scene.missing:
        notice(f"without bones: model {model.path.name} names no meshes; lines instead")
    scene.close()
    return StickFigure(model)


def _missing_line(model: MuscleModel, missing: list[str]) -> str:
    named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
    return (
        f"without {len(missing)} meshes of {model.path.name} ({named}): "
        f"put them into a folder Geometry beside it, as .vtp, .obj or .stl"
    )
