"""MongoDB beside a run, if there is one; without, nothing is loaded and nothing happens."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tracking.mongo.place import MongoPlace

Notice = Callable[[str], None]
Telling = Callable[[Notice], AbstractContextManager[None]]


@contextmanager
def mirrored(
    place: MongoPlace | None, directory: Path, say: Notice, *, mongo_url: str | None = None
) -> Iterator[Telling]:
    """Within, MongoDB at ``place`` follows the run in ``directory``; see `tracking.mongo.live`.

    What it has to say goes to ``say``, or, within the context that what this gives makes, to
    another. If MongoDB does not have all of the run at the end, the command that sees to it is
    said.

    Args:
        place: ``None``: there is none.
        directory: the run's.
        say: may be called from another thread.
        mongo_url: by which the command line named ``place``; ``None``: it did not.
    """
    if place is None:
        yield lambda notice: nullcontext()
        return
    # pymongo takes a tenth of a second to load: only for those who need it.
    from tracking.mongo.live import LiveMirror

    mirror = LiveMirror(place, directory, say)
    try:
        with mirror:
            yield mirror.telling
    finally:
        if not mirror.finished:
            say(
                f"MongoDB at {place} does not have all of run {directory.name}; to tell it the "
                f"rest: {_sync_command(directory, mongo_url)}"
            )


def _sync_command(directory: Path, mongo_url: str | None) -> str:
    words = ["python", "-m", "tracking.sync", directory.name]
    if str(directory.parent) != "runs":
        words += ["--runs_dir", str(directory.parent)]
    if mongo_url is not None:
        words += ["--mongo_url", mongo_url]
    return shlex.join(words)
