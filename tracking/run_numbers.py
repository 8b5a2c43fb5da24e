"""The short number of a run, its folder's name: given in order, to one run at a time, never again.

A run whose files were removed may be in MongoDB still, where people call it by the same number.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_LAST = ".last_number"


def new_directory(runs_dir: Path) -> Path:
    """A folder of its own in ``runs_dir``, which is made where it is missing.

    Raises:
        OSError: it cannot be made.
    """
    runs_dir.mkdir(parents=True, exist_ok=True)
    return _claimed(runs_dir, 1 + max(_last_given(runs_dir), *_taken(runs_dir), 0))


def directory_at(runs_dir: Path, number: int) -> Path:
    """A folder of its own in ``runs_dir`` at ``number``, or if that is taken, at a new one.

    Raises:
        OSError: it cannot be made.
    """
    return new_directory(runs_dir) if number in _taken(runs_dir) else _claimed(runs_dir, number)


def _claimed(runs_dir: Path, number: int) -> Path:
    while True:
        # mkdir is the one step in which two runs cannot both get the number.
        try:
            (runs_dir / str(number)).mkdir()
        except FileExistsError:
            number += 1
        else:
            break
    if number > _last_given(runs_dir):
        with suppress(OSError):
            (runs_dir / _LAST).write_text(f"{number}\n")
    return runs_dir / str(number)


def _taken(runs_dir: Path) -> list[int]:
    return [int(path.name) for path in runs_dir.iterdir() if path.name.isdecimal()]


def _last_given(runs_dir: Path) -> int:
    try:
        return int((runs_dir / _LAST).read_text())
    except (OSError, ValueError):
        return 0
