"""A learning curve as a picture: ``python -m tracking.plot 12 --out curve.png``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from errors import EsError, in_options
from tracking.mongo.place import find_mongo

AXES = ("generation", "time", "steps")
"""As `tracking.learning_curve` has them."""


@click.command()
@click.argument("run_ids", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The picture to make.")
@click.option(
    "--runs_dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True
)
@click.option(
    "--against",
    type=click.Choice(AXES),
    default="generation",
    show_default=True,
    help="What the horizontal axis shows.",
)
def main(run_ids: Sequence[str], out: Path, runs_dir: Path, against: str) -> None:
    """Draw the learning curve of RUN_IDS: of one, or of several that follow on each other."""
    # matplotlib and numpy take longer to load than --help may take to answer.
    from tracking.learning_curve import learning_curve_png
    from tracking.store import open_run

    try:
        runs = [open_run(run_id, runs_dir, find_mongo) for run_id in run_ids]
        learning_curve_png(runs, out, against=against)
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
