"""A motion as the files that OpenSim reads: tables with a header, ``.sto`` and ``.mot``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from env.musculoskeletal.motion import Motion, Rows
from errors import ResourceExhausted


def write_motion(folder: Path, motion: Motion) -> list[Path]:
    """Write ``motion`` into ``folder``, which is made, and return the files.

    ``states.sto``
        every state variable by its path, SI and rad: load it on the model with *Load Motion*, or
        by ``StatesTrajectory.createFromStatesTable`` (which, in opensim 4.6, gives NaN for
        coordinates that the model locks: unlock them before).
    ``coordinates.mot``
        the coordinates by name, angles in degrees.
    ``controls.sto``
        excitations by actuator, each held from its row's time to the next row's.
    ``ground_reactions.mot``
        force, point and torque of each foot, named as in OpenSim's gait examples:
        ``ground_force_vx`` ... of the model's first foot, ``1_ground_force_vx`` ... of its second.
        Not written for a model that stands on no ground.

    Raises:
        ResourceExhausted: a file cannot be written.
    """
    angles = {
        name: np.degrees(values) if name in motion.rotations else values
        for name, values in motion.coordinates.items()
    }
    tables: dict[str, tuple[Mapping[str, Rows], bool]] = {
        "states.sto": (motion.states, False),
        "coordinates.mot": (angles, True),
        "controls.sto": (motion.controls, False),
    }
    if motion.reactions:
        tables["ground_reactions.mot"] = (_reaction_columns(motion), False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (columns, in_degrees) in tables.items():
            (folder / name).write_text(_table(name, motion.time_s, columns, in_degrees=in_degrees))
    except OSError as error:
        raise ResourceExhausted(f"cannot write {folder}: {error.strerror}") from None
    return [folder / name for name in tables]


def _reaction_columns(motion: Motion) -> dict[str, Rows]:
    columns = {}
    for foot, reaction in enumerate(motion.reactions):
        prefix = f"{foot}_" if foot else ""
        for axis, letter in enumerate("xyz"):
            columns[f"{prefix}ground_force_v{letter}"] = reaction.force_t3[:, axis]
        for axis, letter in enumerate("xyz"):
            columns[f"{prefix}ground_force_p{letter}"] = reaction.point_t3[:, axis]
    for foot, reaction in enumerate(motion.reactions):
        prefix = f"{foot}_" if foot else ""
        for axis, letter in enumerate("xyz"):
            columns[f"{prefix}ground_torque_{letter}"] = reaction.torque_t3[:, axis]
    return columns


def _table(name: str, time_s: Rows, columns: Mapping[str, Rows], *, in_degrees: bool) -> str:
    """A header that OpenSim 3 reads as well as 4, and numbers that lose nothing."""
    header = [
        name.rpartition(".")[0],
        "version=1",
        f"nRows={len(time_s)}",
        f"nColumns={len(columns) + 1}",
        f"inDegrees={'yes' if in_degrees else 'no'}",
        "endheader",
        "\t".join(["time", *columns]),
    ]
    rows = np.column_stack([time_s, *columns.values()]).tolist()
    return "\n".join(header + ["\t".join(map(repr, row)) for row in rows]) + "\n"
