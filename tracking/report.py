"""Runs as one page of HTML: ``python -m tracking.report 12 13 14 --out report.html``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from errors import ConfigError, EsError, in_options

_MB = 1_000_000


@click.command()
@click.argument("run_ids", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page to make.",
)
@click.option(
    "--runs_dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True
)
@click.option(
    "--video_mb",
    type=click.FloatRange(min=0.0),
    default=8.0,
    show_default=True,
    help="Videos become part of the page up to so many MB together; others are linked.",
)
@click.option("--open", "is_opened", is_flag=True, help="Show the page in a browser.")
def main(
    run_ids: Sequence[str], out: Path, runs_dir: Path, video_mb: float, is_opened: bool
) -> None:
    """Make a page of RUN_IDS that needs no other file: of one, or of several side by side."""
    # They take longer to load than --help may take to answer.
    from search.run_config import defaults
    from tracking.mongo.place import find_mongo
    from tracking.reporting.account import read_account
    from tracking.reporting.films import FilmStore
    from tracking.reporting.page import page_html
    from tracking.store import open_run

    try:
        now_s = time.time()
        found = [open_run(run_id, runs_dir, find_mongo) for run_id in dict.fromkeys(run_ids)]
        # A number and a uid may name the same one, which counts once.
        runs = {run.path.resolve(): run for run in found}.values()
        accounts = [read_account(run, now_s) for run in runs]
        films = FilmStore(out, round(video_mb * _MB))
        _write(out, page_html(accounts, defaults=defaults(), films=films))
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)
    click.echo(f"wrote {out}")
    if is_opened:
        import webbrowser

        webbrowser.open(out.absolute().as_uri())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write {path} ({error.strerror or error}): name another file with --out"
        ) from None


if __name__ == "__main__":
    main()
