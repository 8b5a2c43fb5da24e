"""See clusters and be rid of them: ``python cluster/manage.py list``, ``tail NAME``, ``kill NAME``.

What ``cluster/launch.py`` made is found again by its tags (AWS) or its folder (this machine):
nothing is kept here between two commands.
"""

from __future__ import annotations

from typing import Any

import click

from cluster.aws import commands as aws_commands
from cluster.commands import managing
from cluster.commands.desk import Desk
from cluster.commands.group import CommandGroup
from cluster.commands.options import LAUNCH, option
from cluster.commands.sweeping import sweep
from cluster.launch import make_desk, run


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """See clusters, change them, bring their runs home, end them."""
    context.obj = make_desk()


@cli.command("sweep")
@option("--over", multiple=True, required=True, metavar="NAME=VALUE,...",
        help="A config option and its values; several times: every combination.")  # fmt: skip
@LAUNCH
@click.pass_obj
def sweep_command(desk: Desk, /, over: tuple[str, ...], **options: Any) -> None:
    """Launch the same for several seeds or values.

    --over seed=1,2,3 makes three clusters: NAME-1, NAME-2, NAME-3. All else is as for launch.
    """
    sweep(desk, over, options)


for command in (*managing.COMMANDS, *aws_commands.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run the command; an error of ours is one line."""
    run(cli)


if __name__ == "__main__":
    main()
