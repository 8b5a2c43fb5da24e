"""Removing runs: never one that a head is at work on, and no half of one stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack

from errors import ConfigError
from tracking.catalogue.summary import ListedRun
from tracking.mongo.place import MongoPlace
from tracking.run_lock import held


def remove(runs: Sequence[ListedRun], mongo: MongoPlace | None, *, only_files: bool) -> None:
    """Remove ``runs``, or, if a head holds one of them or MongoDB cannot be told, none.

    Args:
        runs: whose directories are there.
        mongo: what it has of them goes too; None: nobody looks there.
        only_files: MongoDB is told all that it does not have yet, and keeps them.

    Raises:
        RunLocked: a head is at work on one.
        ConfigError: a directory cannot be removed.
        EsError: MongoDB cannot be told, or a run that it is to keep is damaged.
    """
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(held(run.directory))
        if mongo is not None:
            _tell(mongo, runs, only_files=only_files)
        for run in runs:
            _remove_directory(run)


def _tell(mongo: MongoPlace, runs: Sequence[ListedRun], *, only_files: bool) -> None:
    # pymongo takes a tenth of a second to load: only for those who need it.
    from tracking.mongo.connection import connected
    from tracking.mongo.mirror import Mirror
    from tracking.mongo.removal import remove_run

    with connected(mongo) as database:
        for run in runs:
            if only_files:
                Mirror(database, run.directory).carry()
            elif run.summary.uid:
                remove_run(database, run.summary.uid)


def _remove_directory(run: ListedRun) -> None:
    directory = run.directory
    aside = directory.with_name(f".removed-{directory.name}-{os.getpid()}")
    try:
        # One step, so that nobody finds half of a run.
        directory.rename(aside)
        if aside.is_symlink():
            aside.unlink()
        else:
            shutil.rmtree(aside)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be removed ({error.strerror or error})") from None
