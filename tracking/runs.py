"""The runs there are: ``python -m tracking.runs``, and what to do with them.

::

    python -m tracking.runs                                       a line for each
    python -m tracking.runs --where pop_size=40 --sort -current   those, the best first
    python -m tracking.runs show 12                               everything about one
    python -m tracking.runs tag baseline 12-16
    python -m tracking.runs export 12-16 --out seeds.csv          or .json, .tar.gz
    python -m tracking.runs remove 12
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from errors import ConfigError, EsError
from tracking.catalogue.choice import (
    SORTS,
    Listed,
    check_names,
    chosen,
    in_order,
    named_runs,
    parse_condition,
)
from tracking.catalogue.export import as_text, export, format_of
from tracking.catalogue.removal import remove as remove_runs
from tracking.catalogue.summary import STATUSES, ListedRun, RunSummary, listed_runs
from tracking.catalogue.tables import PIPE_WIDTH, print_facts, print_table
from tracking.figures import counted, size_text
from tracking.mongo.place import URL_VARIABLE, find_mongo, url_file
from tracking.tags import check_tag, read_tags, write_tags

_NO_MONGO = f"none is named: expected --mongo_url URL, {URL_VARIABLE}, or a URL in {url_file()}"
_EPILOG = "RUN is a run's number, or several as 12-16."

runs_dir_option = click.option(
    "--runs_dir",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs are kept.",
)
mongo_url_option = click.option(
    "--mongo_url",
    metavar="URL",
    help=f"MongoDB, without a password; off: none. [default: {URL_VARIABLE}, or your settings]",
)
runs_argument = click.argument("names", nargs=-1, required=True, metavar="RUN...")


def command(act: Callable[..., None]) -> Callable[..., None]:
    """``act`` with errors of ours as one line and their exit code."""

    @wraps(act)
    def guarded(**options: Any) -> None:
        try:
            act(**options)
        except EsError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:  # of `| head`
            # Python would try once more to write what nobody reads.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return guarded


@click.group(epilog=_EPILOG)
def main() -> None:
    """The runs there are, and what to do with them. Without a command: list."""


@main.command("list", epilog=_EPILOG)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="OPTION=VALUE",
    help="Only runs with this setting; also != < <= > >=, and * in text. May be repeated.",
)
@click.option(
    "--status", "statuses", multiple=True, help=f"{', '.join(STATUSES)}; may be repeated."
)
@click.option("--tag", "tags", multiple=True, help="Only those that have it; may be repeated.")
@click.option("--sort", default="id", show_default=True, help=f"{', '.join(SORTS)}; -best: down.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="At most so many, the greatest by --sort."
)
@click.option("--json", "is_json", is_flag=True, help="For programs.")
@click.option("--mongo", "is_mongo", is_flag=True, help="Those that MongoDB has, with its numbers.")
@mongo_url_option
@runs_dir_option
@command
def list_runs(
    conditions: Sequence[str],
    statuses: Sequence[str],
    tags: Sequence[str],
    sort: str,
    limit: int | None,
    is_json: bool,
    is_mongo: bool,
    mongo_url: str | None,
    runs_dir: Path,
) -> None:
    """A line for each run."""
    wanted = [parse_condition(text) for text in conditions]
    there, place = _there(runs_dir, mongo_url, is_mongo=is_mongo or mongo_url is not None)
    if there:
        check_names(wanted, {name for run in there for name in run.config} | set(_defaults()))
    kept = chosen(there, conditions=wanted, statuses=statuses, tags=tags)
    summaries = [run.summary for run in in_order(kept, sort, limit)]
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summaries), indent=1).decode())
    elif summaries:
        print_table(summaries, _console())
        if len(summaries) < len(there):
            click.echo(f"{len(summaries)} of {counted(len(there), 'run')}", err=True)
    elif there:
        click.echo(f"none of the {counted(len(there), 'run')} in {place} is such")
    else:
        click.echo(f"no runs in {place}: train one, or look elsewhere with --runs_dir or --mongo")


@main.command(epilog=_EPILOG)
@click.argument("name", metavar="RUN")
@click.option("--json", "is_json", is_flag=True, help="For programs.")
@runs_dir_option
@command
def show(name: str, is_json: bool, runs_dir: Path) -> None:
    """Everything about one run."""
    run = _one(name, runs_dir)
    if is_json:
        known = {**msgspec.to_builtins(run.summary), "config": run.config, "run": run.entry}
        click.echo(json.dumps(known, indent=1))
    else:
        from tracking.catalogue.description import describe  # numpy

        print_facts(describe(run, _defaults()), _console())


@main.command(epilog=_EPILOG)
@click.argument("tag", metavar="TAG")
@runs_argument
@runs_dir_option
@command
def tag(tag: str, names: Sequence[str], runs_dir: Path) -> None:
    """Give runs a word to find them again."""
    check_tag(tag)
    for run in named_runs(names, runs_dir):
        write_tags(run.directory, {*read_tags(run.directory), tag})


@main.command(epilog=_EPILOG)
@click.argument("tag", metavar="TAG")
@runs_argument
@runs_dir_option
@command
def untag(tag: str, names: Sequence[str], runs_dir: Path) -> None:
    """Take it away again."""
    runs = named_runs(names, runs_dir)
    if not any(tag in read_tags(run.directory) for run in runs):
        tags = sorted({other for run in runs for other in read_tags(run.directory)})
        raise ConfigError(f"no such run has the tag {tag} (theirs: {', '.join(tags) or 'none'})")
    for run in runs:
        write_tags(run.directory, set(read_tags(run.directory)) - {tag})


@main.command("export", epilog=_EPILOG)
@runs_argument
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file to make; left out: on the terminal."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json", "tar.gz"]),
    help="csv: metrics; json: all but parameters; tar.gz: whole. Left out: as --out ends.",
)
@runs_dir_option
@command
def export_runs(names: Sequence[str], out: Path | None, kind: Any, runs_dir: Path) -> None:
    """Carry runs away, as csv, json or tar.gz."""
    runs = named_runs(names, runs_dir)
    kind = kind or (format_of(out) if out is not None else "csv")
    if out is not None:
        export(runs, out, kind)
        click.echo(f"{out}: {counted(len(runs), 'run')}, {size_text(out.stat().st_size)}", err=True)
    elif kind == "tar.gz":
        raise ConfigError("an archive needs a file: name it with --out")
    else:
        click.echo(as_text(runs, kind), nl=False)


@main.command(epilog=_EPILOG)
@runs_argument
@click.option("--files", "only_files", is_flag=True, help="MongoDB keeps them: it is told first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@mongo_url_option
@runs_dir_option
@command
def remove(
    names: Sequence[str], only_files: bool, yes: bool, mongo_url: str | None, runs_dir: Path
) -> None:
    """Remove runs for good, from MongoDB too if there is one. One that goes on is refused."""
    runs = named_runs(names, runs_dir)
    mongo = find_mongo(mongo_url)
    if only_files and mongo is None:
        raise ConfigError(f"--files: no MongoDB could keep them: {_NO_MONGO}")
    summaries = [run.summary for run in runs]
    what, kept = _told(summaries), f"MongoDB at {mongo} keeps what is in it"
    if not yes:
        also = "" if mongo is None else f"; {kept}" if only_files else f", and from MongoDB {mongo}"
        _ask(summaries, f"remove {what}{also}?")
    remove_runs(runs, mongo, only_files=only_files)
    click.echo(f"removed {what}{f'; {kept}' if only_files else ''}")


def _there(
    runs_dir: Path, mongo_url: str | None, *, is_mongo: bool
) -> tuple[Sequence[Listed], str]:
    """The runs that there are, and where that is."""
    if not is_mongo:
        return listed_runs(runs_dir), str(runs_dir.absolute())
    place = find_mongo(mongo_url)
    if place is None:
        raise ConfigError(f"--mongo: {_NO_MONGO}")
    # pymongo takes a tenth of a second to load: only for those who need it.
    from tracking.catalogue.in_mongo import runs_in_mongo
    from tracking.mongo.connection import connected

    with connected(place) as database:
        return runs_in_mongo(database), f"MongoDB at {place}"


def _defaults() -> dict[str, Any]:
    """Every option of a run by name; numpy, which they need, loads slower than --help answers."""
    from search.run_config import defaults

    return defaults()


def _ask(summaries: Sequence[RunSummary], question: str) -> None:
    if not _is_asked():
        raise ConfigError("nobody to ask whether to remove them: add --yes")
    print_table(summaries, _console())
    if not click.confirm(question):
        raise ConfigError("nothing was removed")


def _is_asked() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _told(summaries: Sequence[RunSummary]) -> str:
    size = size_text(sum(summary.size_bytes for summary in summaries))
    if len(summaries) == 1:
        return f"run {summaries[0].run_id}, {size}"
    return f"{len(summaries)} runs, {size}"


def _one(name: str, runs_dir: Path) -> ListedRun:
    runs = named_runs([name], runs_dir)
    if len(runs) > 1:
        raise ConfigError(f"{name} are {len(runs)} runs: expected one")
    return runs[0]


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def arguments(argv: Sequence[str]) -> list[str]:
    """``argv`` with ``list`` where it names no command."""
    is_listed = not argv or (argv[0].startswith("-") and argv[0] != "--help")
    return ["list", *argv] if is_listed else list(argv)


if __name__ == "__main__":
    main(arguments(sys.argv[1:]), prog_name="python -m tracking.runs")
