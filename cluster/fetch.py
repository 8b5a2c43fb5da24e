"""A cluster's runs brought home: each a directory ``runs/<id>`` that the other commands can use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cluster.machine.run_files import download_run, stored_runs
from cluster.store import Store
from errors import ResourceExhausted
from tracking.run_lock import held
from tracking.run_numbers import new_directory
from tracking.tags import FILE_NAME as TAGS

ORIGIN = "cluster.json"
"""In a directory that was fetched: where it is from."""

_WAS = ".was-"
_CONFIG = "config.json"
_LOG = "journal/log"
_CHANGING = ("journal/", "checkpoints/")
"""Folders in which files come and go, of a run that came before it was said which files came."""
_AT_HOME = {"redis_url": None, "workers": "auto"}
"""Instead of the cluster's: a run that is gone on with here finds or starts its own."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a directory is from.

    Attributes:
        cluster: the key of the cluster.
        run_id: the run's number there.
        log_bytes: length of its journal when it came; a longer one has been gone on with here.
        files: that came, by their paths in it; None: an older release fetched them.
    """

    cluster: str
    run_id: int
    log_bytes: int
    files: tuple[str, ...] | None = None


def fetch_runs(store: Store, key: str, folder: Path) -> list[Path]:
    """Bring every run in a cluster's ``store`` to ``folder``, under free numbers.

    A run that was fetched before comes to its old place, unless it has been gone on with there.
    What people added to it stays: its tags, and files that the cluster never had.

    Args:
        store: the cluster's.
        key: the cluster's.
        folder: made where it is missing.

    Returns:
        The runs' directories, in the order of their numbers there.

    Raises:
        ServiceUnavailable: the store cannot be reached.
        RunLocked: a head is at work on a run that came before.
        ResourceExhausted: ``folder`` cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_fetch(store, key, run_id, folder) for run_id in stored_runs(store)]
    except OSError as error:
        raise ResourceExhausted(
            f"{folder} cannot be written to ({error.strerror}): name another with --runs_dir"
        ) from None


def included(directory: Path) -> str | None:
    """The folder of the user's own modules that a run names, where it was; None: it needs none."""
    try:
        config = msgspec.json.decode((directory / _CONFIG).read_bytes())
        folder: str | None = config.get("include")
    except (OSError, msgspec.DecodeError, AttributeError):
        return None
    return folder


def include_from(directory: Path, include: Path) -> None:
    """Have a run find the user's own modules in ``include`` from now on."""
    _change_config(directory, {"include": str(include.expanduser().absolute())})


def _change_config(directory: Path, changes: dict[str, str | None]) -> None:
    path = directory / _CONFIG
    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):  # it did not come so far
        return
    known = {name: value for name, value in changes.items() if name in config}
    written = msgspec.json.encode({**config, **known})
    path.write_bytes(msgspec.json.format(written, indent=2) + b"\n")


def _fetch(store: Store, key: str, run_id: int, folder: Path) -> Path:
    aside = folder / f".{key}-{run_id}"
    _put_back(aside)
    shutil.rmtree(aside, ignore_errors=True)
    download_run(store, run_id, aside)
    origin = Origin(
        cluster=key, run_id=run_id, log_bytes=_log_bytes(aside), files=tuple(_files(aside))
    )
    (aside / ORIGIN).write_bytes(msgspec.json.encode(origin))
    _change_config(aside, _AT_HOME)
    found = _place(origin, folder)
    if found is None:
        place = new_directory(folder)
        aside.rename(place)
        return place
    place, earlier = found
    with held(place):
        _keep_added(place, earlier, aside)
        _replace(place, aside)
    return place


def _replace(place: Path, aside: Path) -> None:
    """Have ``aside`` in ``place``; there is a whole one at each moment, also for `_put_back`."""
    hidden = aside.with_name(f"{aside.name}{_WAS}{place.name}")
    place.rename(hidden)
    aside.rename(place)
    hidden.rename(aside)  # so that half of it is never put back
    shutil.rmtree(aside)


def _put_back(aside: Path) -> None:
    """Undo a replacement that was cut short."""
    for hidden in aside.parent.glob(f"{aside.name}{_WAS}*"):
        place = aside.with_name(hidden.name.rpartition(_WAS)[2])
        if not place.exists():
            hidden.rename(place)
        elif (place / ORIGIN).exists():  # the new one came so far, with all that was added
            shutil.rmtree(hidden)


def _place(origin: Origin, folder: Path) -> tuple[Path, Origin] | None:
    """Where this run came to before, and how; None: nowhere, or it was gone on with there."""
    for path in sorted(folder.glob(f"*/{ORIGIN}")):
        try:
            earlier = msgspec.json.decode(path.read_bytes(), type=Origin)
        except (OSError, msgspec.DecodeError):
            continue
        is_same = (earlier.cluster, earlier.run_id) == (origin.cluster, origin.run_id)
        is_run = path.parent.name.isdecimal()  # and not one that comes just now
        if is_same and is_run and _log_bytes(path.parent) == earlier.log_bytes:
            return path.parent, earlier
    return None


def _keep_added(place: Path, earlier: Origin, aside: Path) -> None:
    """Copy to ``aside`` what people added to ``place``: tags, and files that never came."""
    for name in _files(place):
        came = name.startswith(_CHANGING) if earlier.files is None else name in earlier.files
        is_new = name == ORIGIN or (aside / name).exists()
        if name == TAGS or not (came or is_new):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place / name, aside / name, follow_symlinks=False)


def _files(directory: Path) -> Iterator[str]:
    for folder, inner, names in os.walk(directory):
        links = [name for name in inner if Path(folder, name).is_symlink()]
        for name in [*names, *links]:
            yield Path(folder, name).relative_to(directory).as_posix()


def _log_bytes(directory: Path) -> int:
    try:
        return (directory / _LOG).stat().st_size
    except OSError:
        return 0
