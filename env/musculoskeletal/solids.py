"""Solids as VTK draws them: meshes read from files, and balls, cylinders and boxes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def surface(shape: Path | str) -> Any:
    """The shape of an `env.musculoskeletal.geometry.Piece` as ``vtkPolyData`` with smooth normals;
    it has no points where VTK cannot read the file. Kept and shared: not to be changed.
    """
    return _mesh(shape) if isinstance(shape, Path) else _solid(shape)


@functools.cache
def _mesh(file: Path) -> Any:
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
    from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    readers: dict[str, Any] = {
        ".vtp": vtkXMLPolyDataReader,
        ".obj": vtkOBJReader,
        ".stl": vtkSTLReader,
    }
    reader = readers[file.suffix.lower()]()
    reader.SetFileName(str(file))
    normals = vtkPolyDataNormals()
    normals.SetInputConnection(reader.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()


@functools.cache
def _solid(name: str) -> Any:
    from vtkmodules.vtkFiltersSources import vtkCubeSource, vtkCylinderSource, vtkSphereSource

    source: Any
    if name == "ellipsoid":
        source = vtkSphereSource()
        source.SetRadius(1)
        source.SetThetaResolution(32)
        source.SetPhiResolution(24)
    elif name == "cylinder":
        source = vtkCylinderSource()
        source.SetRadius(1)
        source.SetHeight(2)
        source.SetResolution(32)
    else:
        source = vtkCubeSource()
        source.SetBounds(-1, 1, -1, 1, -1, 1)
    source.Update()
    return source.GetOutput()


def joined(surfaces: Sequence[tuple[Any, NDArray[np.float64]]]) -> Any:
    """One ``vtkPolyData`` of several, each moved by its ``(4, 4)`` matrix."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersCore import vtkAppendPolyData
    from vtkmodules.vtkFiltersGeneral import vtkTransformFilter

    whole = vtkAppendPolyData()
    for one, place_44 in surfaces:
        matrix, transform, moved = vtkMatrix4x4(), vtkTransform(), vtkTransformFilter()
        matrix.DeepCopy(place_44.ravel().tolist())
        transform.SetMatrix(matrix)
        moved.SetTransform(transform)
        moved.SetInputData(one)
        moved.Update()
        whole.AddInputData(moved.GetOutput())
    whole.Update()
    return whole.GetOutput()
