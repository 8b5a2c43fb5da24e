"""What is done with clusters that are there, whoever provides their machines."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cluster.aws.remote import LOG, machine_of, ssh_words
from cluster.commands import tables
from cluster.commands.describing import describe, describe_cost
from cluster.commands.desk import Desk, confirm, say
from cluster.commands.options import PLACE, YES, option
from cluster.fetch import include_from, included
from cluster.local.provider import LocalProvider
from cluster.provider import ClusterState, Provider
from errors import ConfigError, EsError, ServiceUnavailable

JSON = option("--json", "as_json", is_flag=True, help="For programs.")
NAME = click.argument("name")
_FETCHED = "runs"


@click.command("list")
@click.pass_obj
@PLACE
@option("--everybody", is_flag=True, help="Other owners' too.")
@option("--all", "with_killed", is_flag=True, help="Killed ones whose runs are kept, too.")
@JSON
def list_command(
    desk: Desk, everybody: bool, with_killed: bool, as_json: bool, **options: Any
) -> None:
    """Show clusters, what they do and what they cost."""
    providers, owner = everywhere(desk, options)
    states = [s for p in providers for s in p.clusters(None if everybody else owner)]
    states = [state for state in states if with_killed or state.state != "killed"]
    if as_json:
        click.echo(tables.as_json([tables.as_plain(state) for state in states]))
    elif states:
        tables.show_list(states, time.time())
    else:
        say(f"no clusters of {'anybody' if everybody else owner}")


@click.command()
@click.pass_obj
@NAME
@PLACE
@JSON
def status(desk: Desk, name: str, as_json: bool, **options: Any) -> None:
    """Show one cluster: its run, its cost, each of its machines."""
    provider, state = found(desk, name, options)
    notes = provider.notes(state)
    if as_json:
        click.echo(tables.as_json({**tables.as_plain(state), "notes": notes}))
        return
    for line in [*describe(state, time.time()), *notes]:
        click.echo(line)
    if state.machines:
        tables.show_machines(state.machines, time.time())


@click.command()
@click.pass_obj
@NAME
@PLACE
@option(
    "--worker",
    type=click.IntRange(min=0),
    metavar="N",
    help="The N-th worker machine, from 0.  [default: the head]",
)
@option(
    "--lines",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="So many that were said already.",
)
@option("--no_follow", is_flag=True, help="And none that come.")
@option("--ssh", "by_ssh", is_flag=True, help="AWS: by ssh, the older way.")
@option("--pem_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Private key for --ssh.")  # fmt: skip
def tail(
    desk: Desk,
    name: str,
    worker: int | None,
    lines: int,
    no_follow: bool,
    by_ssh: bool,
    pem_file: Path | None,
    **options: Any,
) -> None:
    """Follow what the head or a worker machine says.

    It goes on until the cluster has ended. With --ssh it is read on the machine itself, which
    needs --key_name at launch and --ssh_from at setup.
    """
    provider, state = found(desk, name, options)
    if by_ssh:
        if isinstance(provider, LocalProvider):
            raise ConfigError(f"{state.name} is on this machine: leave --ssh out")
        follow = [] if no_follow else ["-F"]
        remote = ["sudo", "tail", "-n", str(lines), *follow, LOG]
        command = ssh_words(machine_of(state, worker).address, pem_file, remote)
        os.execvp(command[0], command)
    for line in provider.log(state, worker, lines, not no_follow):
        click.echo(line.text)


@click.command()
@click.pass_obj
@NAME
@click.argument("size", type=click.IntRange(min=0))
@PLACE
def resize(desk: Desk, name: str, size: int, **options: Any) -> None:
    """Have SIZE worker machines. Those too many give back what they have in hand."""
    provider, state = found(desk, name, options)
    provider.resize(state, size)
    click.echo(f"{state.name} is to have {size} worker machine{'' if size == 1 else 's'}")


@click.command()
@click.pass_obj
@NAME
@PLACE
@option(
    "--runs_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FETCHED,
    show_default=True,
    help="Where to.",
)
@option("--include", type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Where your own modules are here, for a run that has some.")  # fmt: skip
def fetch(desk: Desk, name: str, runs_dir: Path, include: Path | None, **options: Any) -> None:
    """Bring a cluster's runs home, during and afterwards."""
    provider, state = found(desk, name, options)
    paths = provider.fetch(state, runs_dir)
    if not paths:
        raise ConfigError(f"{state.name} has no run yet: wait for its first generation")
    for path in paths:
        needs = included(path)
        if needs and include is not None:
            include_from(path, include)
        elif needs and not Path(needs).is_dir():
            say(f"{path} has modules of yours: fetch it with --include FOLDER to go on with it")
        more = f" --include {include}" if needs and include is not None else ""
        click.echo(f"{path}: python env/render.py {path.name}{more}")


@click.command()
@click.pass_obj
@click.argument("names", nargs=-1, metavar="NAME...")
@PLACE
@option("--all", "every", is_flag=True, help="Every cluster of yours.")
@YES
def kill(desk: Desk, names: Sequence[str], every: bool, yes: bool, **options: Any) -> None:
    """End clusters, whatever their state, and wait.

    It returns when nothing of them is left. What their runs have come to is kept, for fetch.
    """
    if bool(names) == every:
        raise ConfigError("say which: kill NAME, or kill --all")
    if every:
        providers, owner = everywhere(desk, options)
        meant = [(p, s) for p in providers for s in p.clusters(owner) if s.state != "killed"]
    else:
        meant = [found(desk, name, options) for name in dict.fromkeys(names)]
    if not meant:
        say(f"no clusters of {owner}")
        return
    for _, state in meant:
        say(f"{state.name}: {state.state}, {len(state.machines)} machines")
    confirm(f"end {' and '.join(state.name for _, state in meant)}?", yes=yes)
    end_clusters(meant)


@click.command()
@click.pass_obj
@PLACE
@option("--everybody", is_flag=True, help="Other owners' too.")
def orphans(desk: Desk, everybody: bool, **options: Any) -> None:
    """Show what belongs to no cluster: nothing, mostly."""
    providers, owner = everywhere(desk, options)
    lines = [line for p in providers for line in p.orphans(None if everybody else owner)]
    for line in lines:
        click.echo(line)
    if not lines:
        say("nothing is left of any cluster that is gone")


@click.command()
@click.pass_obj
@NAME
@PLACE
def cost(desk: Desk, name: str, **options: Any) -> None:
    """Show what a cluster costs, and will at most."""
    _, state = found(desk, name, options)
    for line in describe_cost(state, time.time()):
        click.echo(line)
    if state.machines:
        tables.show_machines(state.machines, time.time())


COMMANDS = (list_command, status, tail, resize, fetch, kill, orphans, cost)


def found(desk: Desk, name: str, options: dict[str, Any]) -> tuple[Provider, ClusterState]:
    """The cluster of that name, and whose machines it is made of.

    Raises:
        ConfigError: there is none.
    """
    owner = desk.settings(options).owner
    provider = desk.provider_of(name, options)
    return provider, provider.cluster(name, owner)


def everywhere(desk: Desk, options: dict[str, Any]) -> tuple[list[Provider], str]:
    """Every provider that is meant, and whose clusters."""
    return desk.providers(options), desk.settings(options).owner


def end_clusters(meant: Sequence[tuple[Provider, ClusterState]]) -> None:
    """End one after the other; one that cannot be ended does not save the others.

    Raises:
        ServiceUnavailable: something is left, or could not be ended.
    """
    failures = []
    for provider, state in meant:
        if state.state == "killed":
            click.echo(f"{state.name} was killed already; its run is kept, for fetch")
            continue
        try:
            left = provider.kill(state, say)
        except EsError as error:
            failures.append(f"{state.name}: {error}")
            continue
        for line in left:
            click.echo(f"{state.name}: left: {line}")
        if left:
            failures.append(f"{state.name}: {len(left)} things are left")
        else:
            click.echo(f"{state.name} has ended; nothing is left of it")
    if failures:
        raise ServiceUnavailable(f"{'; '.join(failures)}: try again")
