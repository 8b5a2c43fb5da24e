"""Bones, muscles and ground, drawn off screen by VTK.

Bone meshes come with osim-rl (``osim/models/Geometry/*.vtp``); each is placed by its body's pose
in a `Snapshot`. Muscles are tubes along their paths, from blue at rest to red at full activation.
"""

from __future__ import annotations

import functools
import math
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel, osim_rl_folder
from env.musculoskeletal.snapshot import Snapshot

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
    """Draws snapshots of one model, the camera beside the pelvis.

    Args:
        model: whose bones and muscles these are.
        window: VTK's class, from `drawing_window`.
    """

    def __init__(self, model: MuscleModel, window: str) -> None:
        from vtkmodules import vtkRenderingOpenGL2
        from vtkmodules.vtkCommonCore import vtkLogger
        from vtkmodules.vtkRenderingCore import vtkRenderer

        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
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
        self._floor = self._add_floor()
        self._bones = self._add_bones(model)
        self._muscles = _Muscles(self._renderer)

    def draw(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """``(480, 640, 3)`` uint8, rows from the top."""
        for body, local_44, bone, shadow in self._bones:
            pose_44 = snapshot.bodies_b44[body] @ local_44
            bone.DeepCopy(pose_44.ravel())
            shadow.DeepCopy((_ON_THE_FLOOR_44 @ pose_44).ravel())
        self._muscles.place(snapshot)
        # Whole tiles, so that the floor seems to stand still.
        self._floor.SetPosition(2 * math.floor(snapshot.distance_m / 2), 0, 0)
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(snapshot.distance_m + 0.1, 0.9, 0)
        camera.SetPosition(snapshot.distance_m + 0.9, 1.3, 3.9)
        camera.SetViewUp(0, 1, 0)
        camera.SetViewAngle(29)
        self._renderer.ResetCameraClippingRange()
        self._window.Render()
        return self._pixels()

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

    def _add_bones(self, model: MuscleModel) -> list[tuple[int, NDArray[np.float64], Any, Any]]:
        """For each mesh: its body, its place in it, and the matrices of mesh and shadow."""
        from vtkmodules.vtkRenderingCore import vtkPolyDataMapper

        bones = []
        for body, file, local_44 in _meshes(model):
            mesh = _mesh(file)
            if mesh is None:
                continue
            mapper = vtkPolyDataMapper()
            mapper.SetInputData(mesh)
            mapper.ScalarVisibilityOff()
            bone = self._add_mesh(mapper, is_shadow=False)
            bones.append((body, local_44, bone, self._add_mesh(mapper, is_shadow=True)))
        return bones

    def _add_mesh(self, mapper: Any, *, is_shadow: bool) -> Any:
        from vtkmodules.vtkCommonMath import vtkMatrix4x4
        from vtkmodules.vtkRenderingCore import vtkActor

        actor, matrix = vtkActor(), vtkMatrix4x4()
        actor.SetMapper(mapper)
        actor.SetUserMatrix(matrix)
        appearance = actor.GetProperty()
        if is_shadow:
            appearance.LightingOff()
            appearance.SetColor(*_SHADOW)
        else:
            appearance.SetColor(*_BONE)
            appearance.SetInterpolationToGouraud()
            appearance.SetAmbient(0.22)
            appearance.SetDiffuse(0.85)
            appearance.SetSpecular(0.08)
        self._renderer.AddActor(actor)
        return matrix


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


_ON_THE_FLOOR_44 = np.array(
    [
        [1, _SHADOW_SLANT[0], 0, 0],
        [0, 0, 0, 0.003],
        [0, _SHADOW_SLANT[1], 1, 0],
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


@functools.cache
def _mesh(file: Path) -> Any:
    """The mesh with smooth normals, or ``None`` where osim-rl has no such file."""
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    if not file.is_file():
        return None
    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(file))
    normals = vtkPolyDataNormals()
    normals.SetInputConnection(reader.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()


def _meshes(model: MuscleModel) -> list[tuple[int, Path, NDArray[np.float64]]]:
    """Each mesh of the model: index of its body, its file, its ``(4, 4)`` place in the body."""
    from env.musculoskeletal.model import import_opensim

    opensim = import_opensim()
    folder = osim_rl_folder() / "models" / "Geometry"
    bodies = model.model.getBodySet()
    meshes = []
    for i in range(bodies.getSize()):
        body = bodies.get(i)
        for j in range(body.getPropertyByName("attached_geometry").size()):
            mesh = opensim.Mesh.safeDownCast(body.get_attached_geometry(j))
            if mesh is None:
                continue
            scale = mesh.get_scale_factors()
            local_44 = np.diag([scale.get(0), scale.get(1), scale.get(2), 1.0])
            meshes.append((i, folder / Path(mesh.get_mesh_file()).name, local_44))
    return meshes
