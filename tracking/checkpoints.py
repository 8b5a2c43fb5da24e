"""Checkpoint files: ``generation_000123.npz``, written whole or not at all, read without pickle."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from errors import RunError

FOLDER = "checkpoints"
BEST_FILE = "best.json"
_FILE_NAME = re.compile(r"generation_(\d{6,})\.npz")


@dataclass(frozen=True)
class Best:
    """The best generation so far; ``disposable`` if its file is kept for nothing else."""

    number: int
    disposable: bool


class _Saver(Protocol):
    def __call__(self, file: Any, **arrays: Any) -> None: ...


def file_name(number: int) -> str:
    """Name of the checkpoint of generation ``number``."""
    return f"generation_{number:06d}.npz"


def numbers(folder: Path) -> list[int]:
    """Generations that ``folder`` keeps, in order; none where it does not exist."""
    if not folder.is_dir():
        return []
    found = (_FILE_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match.group(1)) for match in found if match)


def write(folder: Path, number: int, arrays: Mapping[str, Any]) -> Path:
    """Write ``arrays`` (numbers, strings and arrays by name) as the checkpoint of ``number``.

    Raises:
        ValueError: an array would need pickle.
        OSError: the folder cannot be written.
    """
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise ValueError(f"checkpoint array {name} holds Python objects")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(number)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    save: _Saver = np.savez
    try:
        with beside.open("wb") as file:
            save(file, **plain)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a checkpoint by name.

    Raises:
        RunError: the file is damaged.
        FileNotFoundError: there is none.
    """
    try:
        # Opened here: numpy would leave a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and struct each raise their own
        raise RunError(
            f"checkpoint {path} cannot be read ({type(error).__name__}): "
            "damaged; use another generation"
        ) from None


def write_best(folder: Path, best: Best) -> None:
    """Note ``best`` beside the checkpoints, all or nothing."""
    beside = folder / f".{BEST_FILE}.new"
    beside.write_text(json.dumps(asdict(best)))
    beside.replace(folder / BEST_FILE)


def read_best(folder: Path) -> Best | None:
    """The best generation that was noted, or ``None``."""
    try:
        note = json.loads((folder / BEST_FILE).read_text())
        return Best(int(note["number"]), bool(note["disposable"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
