"""The process that films a generation beside the run: ``python -m training.film_process``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from env.gait_file import read_gait
from env.show import Performer, Show, perform
from errors import EsError
from fleet.child_process import leave_no_core
from fleet.parent import die_with_parent

LONGEST_S = 20.0
"""At most so much simulated time is in a film."""


@click.command(hidden=True)
@click.argument("gait", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=int, required=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--lifeline-fd", type=int, required=True)
@click.option("--include", type=click.Path(path_type=Path))
def main(
    gait: Path, out: Path, seed: int, parent_pid: int, lifeline_fd: int, include: Path | None
) -> None:
    """Film the policy in the file GAIT into OUT; say in lines what a user should know."""
    die_with_parent(parent_pid, lifeline_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    leave_no_core()
    show = Show(seed, max_time_s=LONGEST_S, out=out)
    try:
        perform([Performer(read_gait(gait))], show, include=include, notice=click.echo)
    except EsError as error:
        click.echo(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
