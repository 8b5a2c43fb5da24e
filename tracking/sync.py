"""``python -m tracking.sync RUN...``: make MongoDB say of runs what their directories say.

For runs during which MongoDB was away, or that were recorded before there was one. As often as you
like: what is there already does not travel again, and nothing is ever there twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from errors import ConfigError, EsError, RunError, in_options
from tracking.mongo.place import URL_VARIABLE, MongoPlace, find_mongo, url_file

if TYPE_CHECKING:  # pymongo and numpy take longer to load than --help may take to answer
    from tracking.mongo.mirror import Mirrored


def sync_run(place: MongoPlace, directory: Path) -> Mirrored:
    """Tell MongoDB at ``place`` all of the run in ``directory``, which may go on meanwhile.

    Raises:
        EsError: the directory is damaged, or MongoDB cannot be told.
    """
    from tracking.mongo.connection import connected
    from tracking.mongo.mirror import Mirror

    try:
        with connected(place) as database:
            return Mirror(database, directory).carry()
    except OSError as error:
        raise RunError(
            f"{error.filename or directory} cannot be read ({error.strerror or error}): see who "
            "may read it"
        ) from None


def told(run_id: int, mirrored: Mirrored, place: MongoPlace) -> str:
    """What has been done, in a line."""
    number = "" if mirrored.number == run_id else f" as run {mirrored.number}"
    return (
        f"run {run_id}: MongoDB at {place} has it{number}, {mirrored.num_metrics} metrics and "
        f"{mirrored.num_files} files, {mirrored.num_bytes / 1e6:.1f} MB of them new"
    )


@click.command()
@click.argument("run_ids_", metavar="RUN...", nargs=-1)
@click.option("--all", "all_runs", is_flag=True, help="Every run of the folder.")
@click.option(
    "--runs_dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
    help="Where the runs are.",
)  # fmt: skip
@click.option(
    "--mongo_url", metavar="URL",
    help=f"MongoDB, without a password. [default: {URL_VARIABLE}, or your settings]",
)  # fmt: skip
def main(run_ids_: Sequence[str], all_runs: bool, runs_dir: Path, mongo_url: str | None) -> None:
    """Make MongoDB say of runs what their directories say."""
    from tracking.mongo.connection import connected
    from tracking.store import run_ids

    try:
        place = find_mongo(mongo_url)
        if place is None:
            raise ConfigError(
                f"no MongoDB is named: expected --mongo_url URL, {URL_VARIABLE}, or a URL in "
                f"{url_file()}"
            )
        wanted = [str(run_id) for run_id in run_ids(runs_dir)] if all_runs else list(run_ids_)
        if not wanted:
            raise ConfigError("no run is named: expected run ids, or --all")
        with connected(place):
            pass  # a server that is not there is said once, not of each run
        sys.exit(_sync_each(wanted, runs_dir, place))
    except EsError as error:
        sys.exit(_say(error))


def _sync_each(wanted: Sequence[str], runs_dir: Path, place: MongoPlace) -> int:
    """The exit code of the first run that could not be synced; the others are."""
    from tracking.store import open_run

    exit_code = 0
    for run_id in wanted:
        try:
            run = open_run(run_id, runs_dir)
            print(told(run.run_id, sync_run(place, run.path), place), flush=True)
        except EsError as error:
            code = _say(error)
            exit_code = exit_code or code
    return exit_code


def _say(error: EsError) -> int:
    print(f"error: {in_options(error)}", file=sys.stderr, flush=True)
    return error.exit_code


if __name__ == "__main__":
    main()
