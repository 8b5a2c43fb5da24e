"""What a model looks like, as its file says: meshes and simple solids, and where each is fixed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel, import_opensim, osim_rl_folder
from errors import EnvUnavailable

MESH_SUFFIXES = (".vtp", ".obj", ".stl")
GROUND = -1
"""Stands for the ground where a body's index is expected."""

_HIDDEN = 0  # Simbody's DecorativeGeometry::DrawHidden


@dataclass(frozen=True)
class Piece:
    """One solid of a model.

    Attributes:
        body: index of the body that carries it, or `GROUND`.
        place_44: ``(4, 4)`` float64, from the shape's own coordinates to the body's, size included.
        shape: a mesh file, or ``ellipsoid``, ``cylinder`` (along y) or ``box``: each reaches from
            -1 to 1 in its own coordinates.
        colour: red, green, blue in [0, 1]; ``None`` where the model leaves it white, as bones are.
        opacity: in (0, 1].
    """

    body: int
    place_44: NDArray[np.float64]
    shape: Path | str
    colour: tuple[float, float, float] | None
    opacity: float


def pieces(model: MuscleModel) -> tuple[list[Piece], list[str]]:
    """All solids that ``model`` shows, and the mesh files that are named in it and nowhere found.

    A mesh is looked for as OpenSim does, at the path in the file, beside the model and in
    ``Geometry`` there, and then among osim-rl's.
    """
    opensim = import_opensim()
    folders = _mesh_folders(model.path)
    found, missing = [], []
    for component in model.model.getComponentsList():
        geometry = opensim.Geometry.safeDownCast(component)
        if geometry is None or not _is_shown(geometry):
            continue
        mesh = opensim.Mesh.safeDownCast(component)
        if mesh is not None:
            name = str(mesh.get_mesh_file())
            file = _mesh_file(name, folders)
            if file is None:
                missing.append(name)
            else:
                found.append(_piece(model, geometry, file, (1.0, 1.0, 1.0)))
            continue
        solid = _solid(opensim, component)
        if solid is not None:
            found.append(_piece(model, geometry, *solid))
    return found, missing


def body_index(model: MuscleModel, frame: Any) -> int:
    """Index in the model's bodies of the one that ``frame`` belongs to, or `GROUND`."""
    return int(model.model.getBodySet().getIndex(frame.findBaseFrame().getName()))


def transform_44(transform: Any) -> NDArray[np.float64]:
    """``(4, 4)`` float64 of a ``SimTK::Transform``."""
    rotation = transform.R()
    matrix = np.eye(4)
    matrix[:3, :3] = [[rotation.get(i, j) for j in range(3)] for i in range(3)]
    matrix[:3, 3] = transform.p().to_numpy()
    return matrix


def _is_shown(geometry: Any) -> bool:
    appearance = geometry.get_Appearance()
    return bool(appearance.get_visible()) and appearance.get_representation() != _HIDDEN


def _piece(
    model: MuscleModel, geometry: Any, shape: Path | str, size: tuple[float, float, float]
) -> Piece:
    frame = geometry.getFrame()
    appearance, scale = geometry.get_Appearance(), geometry.get_scale_factors()
    sizes = np.array([*(size[i] * scale.get(i) for i in range(3)), 1.0])
    red, green, blue = (float(appearance.get_color().get(i)) for i in range(3))
    return Piece(
        body_index(model, frame),
        transform_44(frame.findTransformInBaseFrame()) * sizes,
        shape,
        None if red == green == blue == 1 else (red, green, blue),
        float(appearance.get_opacity()),
    )


def _solid(opensim: Any, component: Any) -> tuple[str, tuple[float, float, float]] | None:
    """Name and half sizes of a simple solid; ``None`` for lines, arrows and axes."""
    if sphere := opensim.Sphere.safeDownCast(component):
        radius = float(sphere.get_radius())
        return "ellipsoid", (radius, radius, radius)
    if ellipsoid := opensim.Ellipsoid.safeDownCast(component):
        return "ellipsoid", _numbers(ellipsoid.get_radii())
    if cylinder := opensim.Cylinder.safeDownCast(component):
        radius = float(cylinder.get_radius())
        return "cylinder", (radius, float(cylinder.get_half_height()), radius)
    if brick := opensim.Brick.safeDownCast(component):
        return "box", _numbers(brick.get_half_lengths())
    return None


def _numbers(vector: Any) -> tuple[float, float, float]:
    return float(vector.get(0)), float(vector.get(1)), float(vector.get(2))


def _mesh_folders(model_file: Path) -> list[Path]:
    beside = model_file.parent
    folders = [beside, beside / "Geometry"]
    # A model of the user's own may need nothing of osim-rl.
    with contextlib.suppress(EnvUnavailable):
        folders.append(osim_rl_folder() / "models" / "Geometry")
    return folders


def _mesh_file(name: str, folders: list[Path]) -> Path | None:
    return next((file for file in _candidates(name, folders) if file.is_file()), None)


def _candidates(name: str, folders: list[Path]) -> Iterator[Path]:
    if Path(name).suffix.lower() not in MESH_SUFFIXES:
        return
    for folder in folders:
        # An absolute name replaces the folder; one from another machine is found by its last part.
        yield folder / name
        yield folder / name.replace("\\", "/").rpartition("/")[2]
