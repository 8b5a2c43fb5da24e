"""Bones, muscles and ground, drawn off screen by VTK.

Bones are the model's own solids (`env.musculoskeletal.geometry`), each placed by its body's pose in
a `Snapshot`. Muscles are tubes along their paths, from blue at rest to red at full activation.
"""

from __future__ import annotations

import functools
import math
import platform
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.geometry import GROUND, Piece, pieces
from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.snapshot import Snapshot
from env.musculoskeletal.solids import joined, surface
from env.musculoskeletal.sticks import view_of

WIDTH, HEIGHT = 640, 480

_BONE = (0.93, 0.89, 0.80)
_SKY_LOW, _SKY_HIGH = (0.96, 0.97, 0.98), (0.66, 0.77, 0.87)
_TILE_LIGHT, _TILE_DARK = 226, 205
_SHADOW = (0.45, 0.46, 0.48)
_AT_REST, _ACTIVE = np.array([0.22, 0.38, 0.85]), np.array([0.95, 0.08, 0.08])
# Where the light that throws the shadow goes, x and z for each metre down.
_SHADOW_SLANT = (0.25, -0.55)
_PATH_RADIUS_M = 0.0075
_LENGTH_OF_FLOOR_M = 24.0
_VIEW_ANGLE_DEG = 29.0
# Where the camera stands, as a direction. A fixed model is seen from the side: a target and the
# hand that reaches for it, at different depths, are to cover each other.
_BESIDE_A_WALKER = np.array([0.8, 0.4, 3.9])
_BESIDE_A_FIXED_MODEL = np.array([0.15, 0.1, 3.9])

_PROBE = """
import sys
from vtkmodules import vtkRenderingOpenGL2 as gl
from vtkmodules.vtkRenderingCore import vtkRenderer
window = getattr(gl, sys.argv[1])()
window.SetOffScreenRendering(1)
window.AddRenderer(vtkRenderer())
window.Render()
sys.exit(0 if "OpenGL" in window.ReportCapabilities() else 1)
"""


@functools.cache
def drawing_window() -> str | None:
    """The name of VTK's window class that can draw off screen here, or ``None``.

    Without a driver VTK may end the process that tries it; so a child tries, once, 0.6 s.
    """
    names = ["vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]
    if platform.system() != "Linux":
        names = ["vtkOpenGLRenderWindow"]
    for name in names:
        try:
            found = subprocess.run(
                [sys.executable, "-c", _PROBE, name], capture_output=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            continue
        if found.returncode == 0:
            return name
    return None


class SkeletonScene:
    """Draws snapshots of one model: see `env.musculoskeletal.sticks.view_of` for the camera.

    Args:
        model: whose bones and muscles these are.
        window: VTK's class, from `drawing_window`.

    Attributes:
        missing: mesh files that the model names and nobody has, or that VTK cannot read.
        has_bones: whether any solid is drawn.
    """

    def __init__(self, model: MuscleModel, window: str) -> None:
        from vtkmodules import vtkRenderingOpenGL2
        from vtkmodules.vtkCommonCore import vtkLogger
        from vtkmodules.vtkRenderingCore import vtkRenderer

        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
        self._view = view_of(model)
        self._renderer = vtkRenderer()
        self._renderer.GradientBackgroundOn()
        self._renderer.SetBackground(*_SKY_LOW)
        self._renderer.SetBackground2(*_SKY_HIGH)
        self._renderer.UseFXAAOn()
        self._window = getattr(vtkRenderingOpenGL2, window)()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(WIDTH, HEIGHT)
        self._window.AddRenderer(self._renderer)
        self._add_lights()
        self._floor = None if self._view.floor_m is None else self._add_floor()
        found, self.missing = pieces(model)
        self._bones = self._add_bones(found)
        self._muscles = _Muscles(self._renderer)

    @property
    def has_bones(self) -> bool:
        """Whether any solid is drawn."""
        return bool(self._bones)

    def draw(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """``(480, 640, 3)`` uint8, rows from the top."""
        for body, bone in self._bones:
            bone.place(np.eye(4) if body == GROUND else snapshot.bodies_b44[body])
        self._muscles.place(snapshot)
        self._look(self._view.focus(snapshot.bodies_b44))
        self._window.Render()
        return self._pixels()

    def _look(self, focus: NDArray[np.float64]) -> None:
        view = self._view
        offset = _BESIDE_A_WALKER
        if self._floor is None:
            offset = _BESIDE_A_FIXED_MODEL
        else:
            # Whole tiles, so that the floor seems to stand still.
            self._floor.SetPosition(
                2 * math.floor(focus[0] / 2), view.floor_m, 2 * math.floor(focus[2] / 2)
            )
        distance_m = view.height_m / 2 / math.tan(math.radians(_VIEW_ANGLE_DEG / 2))
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(*focus)
        camera.SetPosition(*(focus + distance_m * offset / np.linalg.norm(offset)))
        camera.SetViewUp(0, 1, 0)
        camera.SetViewAngle(_VIEW_ANGLE_DEG)
        self._renderer.ResetCameraClippingRange()

    def close(self) -> None:
        """Let go of the graphics context."""
        self._window.Finalize()

    def _pixels(self) -> NDArray[np.uint8]:
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        pixels = vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, WIDTH - 1, HEIGHT - 1, 1, pixels, 0)
        frame: NDArray[np.uint8] = (
            _bridge().vtk_to_numpy(pixels).reshape(HEIGHT, WIDTH, 3)[::-1].copy()
        )
        return frame

    def _add_lights(self) -> None:
        from vtkmodules.vtkRenderingCore import vtkLight

        for position, strength in (((1.5, 4.0, 3.5), 0.85), ((-3.0, 2.0, 2.0), 0.35)):
            light = vtkLight()
            light.SetLightTypeToCameraLight()
            light.SetPosition(*position)
            light.SetIntensity(strength)
            self._renderer.AddLight(light)

    def _add_floor(self) -> Any:
        from vtkmodules.vtkFiltersSources import vtkPlaneSource
        from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkTexture

        half = _LENGTH_OF_FLOOR_M / 2
        plane = vtkPlaneSource()
        plane.SetOrigin(-half, 0, half)
        plane.SetPoint1(half, 0, half)
        plane.SetPoint2(-half, 0, -half)
        plane.Update()
        output = plane.GetOutput()
        coordinates = output.GetPointData().GetTCoords()
        for i in range(coordinates.GetNumberOfTuples()):
            across, along = coordinates.GetTuple2(i)
            # One period of the texture is two tiles of a metre.
            coordinates.SetTuple2(i, across * half, along * half)
        texture = vtkTexture()
        texture.SetInputData(_checkerboard())
        texture.RepeatOn()
        texture.MipmapOn()
        texture.InterpolateOn()
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(output)
        floor = vtkActor()
        floor.SetMapper(mapper)
        floor.SetTexture(texture)
        floor.GetProperty().LightingOff()
        self._renderer.AddActor(floor)
        return floor

    def _add_bones(self, found: list[Piece]) -> list[tuple[int, _Solid]]:
        """One solid for all pieces of a body that look the same."""
        alike: dict[tuple[Any, ...], list[tuple[Any, NDArray[np.float64]]]] = {}
        for piece in found:
            shape = surface(piece.shape)
            if not shape.GetNumberOfPoints():
                self.missing.append(str(piece.shape))
                continue
            looks = (piece.body, piece.colour or _BONE, piece.opacity)
            alike.setdefault(looks, []).append((shape, piece.place_44))
        return [
            (body, _Solid(self._renderer, joined(shapes), colour, opacity, self._view.floor_m))
            for (body, colour, opacity), shapes in alike.items()
        ]


class _Solid:
    """What a body carries, and its shadow where there is a floor."""

    def __init__(
        self,
        renderer: Any,
        shape: Any,
        colour: tuple[float, float, float],
        opacity: float,
        floor_m: float | None,
    ) -> None:
        from vtkmodules.vtkRenderingCore import vtkPolyDataMapper

        mapper = vtkPolyDataMapper()
        mapper.SetInputData(shape)
        mapper.ScalarVisibilityOff()
        self._pose = _add_actor(renderer, mapper, _matte(colour, opacity))
        self._shadow, self._shadow_44 = None, np.eye(4)
        if floor_m is not None:
            self._shadow = _add_actor(renderer, mapper, _flat(_SHADOW))
            self._shadow_44 = _shadow_on(floor_m)

    def place(self, pose_44: NDArray[np.float64]) -> None:
        """Move it to ``(4, 4)`` in ground."""
        self._pose.DeepCopy(pose_44.ravel())
        if self._shadow is not None:
            self._shadow.DeepCopy((self._shadow_44 @ pose_44).ravel())


def _add_actor(renderer: Any, mapper: Any, appearance: Any) -> Any:
    """The matrix that places what ``mapper`` draws."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkRenderingCore import vtkActor

    actor, matrix = vtkActor(), vtkMatrix4x4()
    actor.SetMapper(mapper)
    actor.SetProperty(appearance)
    actor.SetUserMatrix(matrix)
    renderer.AddActor(actor)
    return matrix


def _matte(colour: tuple[float, float, float], opacity: float) -> Any:
    from vtkmodules.vtkRenderingCore import vtkProperty

    appearance = vtkProperty()
    appearance.SetColor(*colour)
    appearance.SetOpacity(opacity)
    appearance.SetInterpolationToGouraud()
    appearance.SetAmbient(0.22)
    appearance.SetDiffuse(0.85)
    appearance.SetSpecular(0.08)
    return appearance


def _flat(colour: tuple[float, float, float]) -> Any:
    from vtkmodules.vtkRenderingCore import vtkProperty

    appearance = vtkProperty()
    appearance.LightingOff()
    appearance.SetColor(*colour)
    return appearance


class _Muscles:
    """All paths as one set of tubes, rebuilt for each snapshot."""

    def __init__(self, renderer: Any) -> None:
        from vtkmodules.vtkCommonDataModel import vtkPolyData
        from vtkmodules.vtkFiltersCore import vtkTubeFilter
        from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

        self._lines = vtkPolyData()
        tubes = vtkTubeFilter()
        tubes.SetInputData(self._lines)
        tubes.SetNumberOfSides(8)
        tubes.SetRadius(_PATH_RADIUS_M)
        tubes.CappingOn()
        mapper = vtkPolyDataMapper()
        mapper.SetInputConnection(tubes.GetOutputPort())
        actor = vtkActor()
        actor.SetMapper(mapper)
        actor.GetProperty().SetAmbient(0.3)
        renderer.AddActor(actor)

    def place(self, snapshot: Snapshot) -> None:
        """Move the tubes to where ``snapshot`` has the muscles."""
        if not snapshot.paths:
            return
        from vtkmodules.vtkCommonCore import vtkPoints
        from vtkmodules.vtkCommonDataModel import vtkCellArray

        points = vtkPoints()
        points.SetData(_bridge().numpy_to_vtk(np.concatenate(snapshot.paths), deep=True))
        counts = [len(path) for path in snapshot.paths]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        cells = vtkCellArray()
        cells.SetData(
            _bridge().numpy_to_vtkIdTypeArray(offsets.astype(np.int64), deep=True),
            _bridge().numpy_to_vtkIdTypeArray(np.arange(offsets[-1], dtype=np.int64), deep=True),
        )
        colours = np.repeat(activation_colours(snapshot.activations), counts, axis=0)
        self._lines.SetPoints(points)
        self._lines.SetLines(cells)
        self._lines.GetPointData().SetScalars(_bridge().numpy_to_vtk(colours, deep=True))


def _bridge() -> Any:
    """What turns VTK's arrays into numpy's and back."""
    from vtkmodules.util import numpy_support

    return numpy_support


def activation_colours(activations: NDArray[np.float64]) -> NDArray[np.uint8]:
    """``(M, 3)`` uint8 of ``(M,)`` activations in [0, 1]: blue at rest, red when full."""
    share = np.sqrt(np.clip(activations, 0, 1))[:, None]
    colours: NDArray[np.float64] = np.rint(255 * (_AT_REST + share * (_ACTIVE - _AT_REST)))
    return colours.astype(np.uint8)


def _shadow_on(floor_m: float) -> NDArray[np.float64]:
    """``(4, 4)``, throws points along the light onto the floor, a little above it."""
    across, along = _SHADOW_SLANT
    return np.array(
        [
            [1, across, 0, -across * floor_m],
            [0, 0, 0, floor_m + 0.003],
            [0, along, 1, -along * floor_m],
            [0, 0, 0, 1],
        ]
    )


def _checkerboard() -> Any:
    from vtkmodules.vtkCommonDataModel import vtkImageData

    cells = 64
    tiles = np.kron([[_TILE_LIGHT, _TILE_DARK], [_TILE_DARK, _TILE_LIGHT]], np.ones((cells, cells)))
    image = vtkImageData()
    image.SetDimensions(2 * cells, 2 * cells, 1)
    colours = np.repeat(tiles.astype(np.uint8).reshape(-1, 1), 3, axis=1)
    image.GetPointData().SetScalars(_bridge().numpy_to_vtk(colours, deep=True))
    return image
