"""Workers: ``python es/worker.py start-workers --num_workers=7``.

Workers wait for a run on the Redis they are pointed at, evaluate its rollouts, and go on to the
next run when it ends. They survive what they simulate: a process that hangs, leaks or crashes is
replaced, and what it had in hand is reported or given back.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

import click

from errors import ConfigError, EsError
from fleet.access import access_given
from fleet.connection import connect, url_or_default, without_password
from fleet.guard import ChildOptions
from fleet.provision import num_cores
from fleet.supervisor import Supervisor
from search.messages import is_run_uid


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Evaluate rollouts for whatever run is on Redis."""


@cli.command("start-workers")
@click.option(
    "--num_workers",
    "--num-workers",
    type=click.IntRange(min=1),
    help="Worker processes.  [default: one a core]",
)
@click.option("--redis_url", "--redis-url", help="The head's Redis; also ES_REDIS_URL.")
@click.option("--include", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder with your own environments and policies.")  # fmt: skip
@click.option("--noise_dir", "--noise-dir", envvar="ES_NOISE_DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of the shared noise table.  [default: shared memory]")  # fmt: skip
@click.option("--run", help="Serve only the run with this uid.")
@click.option("--burst", is_flag=True, help="Leave when there is no run to serve.")
def start_workers(
    num_workers: int | None,
    redis_url: str | None,
    include: Path | None,
    noise_dir: Path | None,
    run: str | None,
    burst: bool,
) -> None:
    """Start workers on this machine and look after them until Ctrl-C."""
    if run is not None and not is_run_uid(run):
        raise ConfigError(f"--run={run}: expected a run's uid, 32 hexadecimal digits")
    url, access = url_or_default(redis_url), access_given()
    client = connect(url, access=access)
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    count = num_workers or num_cores()
    _say(f"{count} workers on {without_password(url)}; Ctrl-C ends them")
    include = include.resolve() if include is not None else None
    options = ChildOptions(url, include, noise_dir, run, burst)
    Supervisor(client, count, options, stop_requested=lambda: bool(asked), notice=_say).run()


def _say(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """Run the command; an error of ours is one line."""
    try:
        cli(standalone_mode=True)
    except EsError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
