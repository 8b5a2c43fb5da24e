"""Runs that MongoDB has and this machine has not: fetched, read, and gone on with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from errors import ConfigError, EsError, RunLocked
from tracking.identity import uid_of
from tracking.mongo.connection import connected
from tracking.mongo.fetch import MANIFEST, Found, alone_with, fetch, find_run, numbers
from tracking.mongo.place import MongoPlace
from tracking.run_numbers import directory_at

FOLDER = ".fetched"
ALIVE = timedelta(seconds=60)
"""A run beats every ten seconds."""


def fetched_run(run_id: str, runs_dir: Path, place: MongoPlace, looked: str) -> tuple[int, Path]:
    """Number and directory of a run, as MongoDB has it now, unless ``runs_dir`` has it by another
    number.

    Args:
        run_id: its number in MongoDB, the one that it had in ``runs_dir``, or its uid.
        runs_dir: what is fetched is kept in its folder ``.fetched``, by the run's uid.
        place: where MongoDB is.
        looked: that it is not in the files, for people.

    Raises:
        EsError: it is not there either, or MongoDB cannot be asked.
    """
    path, found = _fetched(run_id, runs_dir, place, looked, is_resumed=False)
    return int(path.name) if path.parent == runs_dir else found.number, path


def brought_home(run_id: str, runs_dir: Path, place: MongoPlace, looked: str) -> tuple[int, Path]:
    """As `fetched_run`, as a run of ``runs_dir`` that can be resumed: at the number that it had,
    if that is free.

    Raises:
        EsError: as `fetched_run`; also where the run goes on somewhere else.
    """
    path, _ = _fetched(run_id, runs_dir, place, looked, is_resumed=True)
    return int(path.name), path


def local_run(uid: str, runs_dir: Path) -> Path | None:
    """The directory in ``runs_dir`` of run ``uid``."""
    for path in sorted(runs_dir.glob("[0-9]*")):
        try:
            entry = json.loads((path / "run.json").read_text())
        except (OSError, ValueError):
            continue
        if path.name.isdecimal() and isinstance(entry, dict) and uid_of(entry) == uid:
            return path
    return None


def _fetched(
    run_id: str, runs_dir: Path, place: MongoPlace, looked: str, *, is_resumed: bool
) -> tuple[Path, Found]:
    try:
        with connected(place) as database:
            found = find_run(database, run_id, runs_dir)
            if found is None:
                raise ConfigError(f"nor in MongoDB at {place}{_near(run_id, numbers(database))}")
            if found.uid is None:
                raise ConfigError(
                    f"in MongoDB at {place} another program recorded run {run_id}: it has no "
                    "parameters of ours"
                )
            path = runs_dir / FOLDER / found.uid
            here = local_run(found.uid, runs_dir)
            if here is not None:
                return here, found
            with alone_with(path):
                # Another may have brought it home while we waited.
                here = local_run(found.uid, runs_dir)
                if here is not None:
                    return here, found
                if is_resumed:
                    _refuse_what_goes_on(found, place)
                fetch(database, found.uid, path, with_journal=is_resumed)
                return (_home(path, runs_dir, found) if is_resumed else path), found
    except EsError as error:
        raise type(error)(f"{looked}; {error}") from None


def _home(path: Path, runs_dir: Path, found: Found) -> Path:
    """What was fetched to ``path`` as a run of ``runs_dir``."""
    (path / MANIFEST).unlink(missing_ok=True)
    return path.rename(directory_at(runs_dir, found.local_number or found.number))


def _refuse_what_goes_on(found: Found, place: MongoPlace) -> None:
    if found.heartbeat is None:
        return
    ago = datetime.now(UTC).replace(tzinfo=None) - found.heartbeat
    if ago < ALIVE:
        raise RunLocked(
            f"run {found.number} in MongoDB at {place} goes on on {found.host} (it gave a sign of "
            f"life {max(0, round(ago.total_seconds()))} s ago): stop it there first, or wait "
            f"{ALIVE.seconds} s if it was killed"
        )


def _near(run_id: str, known: list[int]) -> str:
    if not known:
        return ", where there are no runs of ours: is it the right database?"
    near = known[-3:]
    if run_id.isdecimal():
        near = sorted(sorted(known, key=lambda number: abs(number - int(run_id)))[:3])
    return f", where the nearest are {', '.join(map(str, near))}"
