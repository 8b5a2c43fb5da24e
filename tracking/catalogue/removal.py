"""Removing runs: never one that a head is at work on, and no half of one stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack

from errors import ConfigError
from tracking.catalogue.summary import ListedRun
from tracking.run_lock import held


def remove_files(runs: Sequence[ListedRun]) -> None:
    """Remove the directories of ``runs``, all of them or, if a head holds one, none.

    Raises:
        RunLocked: a head is at work on one.
        ConfigError: a directory cannot be removed.
    """
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(held(run.directory))
        for run in runs:
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
                raise ConfigError(
                    f"{directory} cannot be removed ({error.strerror or error})"
                ) from None
