"""What is done with clusters that are there, whoever provides their machines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from cluster.aws.remote import LOG, machine_of, ssh_words
from cluster.commands import tables
from cluster.commands.desk import Desk, confirm, say
from cluster.commands.launching import what_it_does
from cluster.commands.options import PLACE, YES, option
from cluster.fetch import include_from, included
from cluster.local.provider import LocalProvider
from cluster.provider import ClusterState, Provider
from errors import ConfigError, EsError, ServiceUnavailable

MakeDesk = Callable[[], Desk]

JSON = option("--json", "as_json", is_flag=True, help="For programs.")
NAME = click.argument("name")
_FETCHED = "runs"


def add_commands(group: click.Group, make_desk: MakeDesk) -> None:
    """Give ``group`` every command that all providers have."""

    def found(name: str, options: dict[str, Any]) -> tuple[Provider, ClusterState]:
        desk = make_desk()
        owner = desk.settings(options).owner
        provider = desk.provider_of(name, options)
        return provider, provider.cluster(name, owner)

    def everywhere(options: dict[str, Any]) -> tuple[list[Provider], str]:
        desk = make_desk()
        return desk.providers(options), desk.settings(options).owner

    @group.command("list")
    @PLACE
    @option("--everybody", is_flag=True, help="Other owners' too.")
    @option("--all", "with_killed", is_flag=True, help="Killed ones whose runs are kept, too.")
    @JSON
    def list_command(everybody: bool, with_killed: bool, as_json: bool, **options: Any) -> None:
        """Show clusters, what they do and what they cost."""
        providers, owner = everywhere(options)
        states = [s for p in providers for s in p.clusters(None if everybody else owner)]
        states = [state for state in states if with_killed or state.state != "killed"]
        if as_json:
            click.echo(tables.as_json([tables.as_plain(state) for state in states]))
        elif states:
            tables.show_list(states, time.time())
        else:
            say(f"no clusters of {'anybody' if everybody else owner}")

    @group.command()
    @NAME
    @PLACE
    @JSON
    def status(name: str, as_json: bool, **options: Any) -> None:
        """Show one cluster: its run, its cost, each of its machines."""
        provider, state = found(name, options)
        notes = provider.notes(state)
        if as_json:
            click.echo(tables.as_json({**tables.as_plain(state), "notes": notes}))
            return
        for line in [*describe(state, time.time()), *notes]:
            click.echo(line)
        if state.machines:
            tables.show_machines(state.machines, time.time())

    @group.command()
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
        provider, state = found(name, options)
        if by_ssh:
            if isinstance(provider, LocalProvider):
                raise ConfigError(f"{state.name} is on this machine: leave --ssh out")
            follow = [] if no_follow else ["-F"]
            remote = ["sudo", "tail", "-n", str(lines), *follow, LOG]
            command = ssh_words(machine_of(state, worker).address, pem_file, remote)
            os.execvp(command[0], command)
        for line in provider.log(state, worker, lines, not no_follow):
            click.echo(line.text)

    @group.command()
    @NAME
    @click.argument("size", type=click.IntRange(min=0))
    @PLACE
    def resize(name: str, size: int, **options: Any) -> None:
        """Have SIZE worker machines. Those too many give back what they have in hand."""
        provider, state = found(name, options)
        provider.resize(state, size)
        click.echo(f"{state.name} is to have {size} worker machine{'' if size == 1 else 's'}")

    group.add_command(resize, "size")

    @group.command()
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
    def fetch(name: str, runs_dir: Path, include: Path | None, **options: Any) -> None:
        """Bring a cluster's runs home, during and afterwards."""
        provider, state = found(name, options)
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

    @group.command()
    @click.argument("names", nargs=-1, metavar="NAME...")
    @PLACE
    @option("--all", "every", is_flag=True, help="Every cluster of yours.")
    @YES
    def kill(names: Sequence[str], every: bool, yes: bool, **options: Any) -> None:
        """End clusters, whatever their state, and wait.

        It returns when nothing of them is left. What their runs have come to is kept, for fetch.
        """
        if bool(names) == every:
            raise ConfigError("say which: kill NAME, or kill --all")
        if every:
            providers, owner = everywhere(options)
            meant = [(p, s) for p in providers for s in p.clusters(owner) if s.state != "killed"]
        else:
            meant = [found(name, options) for name in dict.fromkeys(names)]
        if not meant:
            say(f"no clusters of {owner}")
            return
        for _, state in meant:
            say(f"{state.name}: {state.state}, {len(state.machines)} machines")
        confirm(f"end {' and '.join(state.name for _, state in meant)}?", yes=yes)
        end_clusters(meant)

    @group.command()
    @PLACE
    @option("--everybody", is_flag=True, help="Other owners' too.")
    def orphans(everybody: bool, **options: Any) -> None:
        """Show what belongs to no cluster: nothing, mostly."""
        providers, owner = everywhere(options)
        lines = [line for p in providers for line in p.orphans(None if everybody else owner)]
        for line in lines:
            click.echo(line)
        if not lines:
            say("nothing is left of any cluster that is gone")

    @group.command()
    @NAME
    @PLACE
    def cost(name: str, **options: Any) -> None:
        """Show what a cluster costs, and will at most."""
        _, state = found(name, options)
        for line in describe_cost(state, time.time()):
            click.echo(line)
        if state.machines:
            tables.show_machines(state.machines, time.time())


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


def describe(state: ClusterState, now_s: float) -> list[str]:
    """A cluster in a few lines."""
    owner = f" of {state.owner}" if state.owner else ""
    lines = [f"{state.name}: {state.state} ({state.key}{owner})"]
    if state.spec is not None:
        lines.append(what_it_does(state.spec))
    if state.ended is not None:
        note = f" ({state.ended.note})" if state.ended.note else ""
        lines.append(f"its run ended {clock_and_age(state.ended.time_s, now_s)}: "
                     f"{state.ended.why}{note}")  # fmt: skip
    lines += _progress(state, now_s)
    return lines + describe_cost(state, now_s)


def _progress(state: ClusterState, now_s: float) -> list[str]:
    progress = state.progress
    if progress is None:
        return [] if state.spec is None else ["no word from its head yet"]
    words = [f"run {progress.run_id}" if progress.run_id else "no run yet"]
    if progress.generation is not None:
        words.append(f"generation {progress.generation}")
    if progress.fitness is not None:
        words.append(f"fitness {progress.fitness:.6g}")
    if state.ended is None:
        words.append(f"{progress.num_workers} workers, {tables.age(now_s - progress.time_s)} ago")
    return [", ".join(words), *([progress.note] if progress.note else [])]


def describe_cost(state: ClusterState, now_s: float) -> list[str]:
    """What it costs, and until when."""
    lines = []
    if state.usd or state.usd_per_hour:
        lines.append(f"{state.usd:.2f} USD so far, {state.usd_per_hour:.2f} USD an hour")
    else:
        lines.append("it costs nothing")
    spec = state.spec
    if spec is None or state.state in ("ended", "killed"):
        return lines
    left_h = max(0.0, spec.ends_s - now_s) / 3600
    lines.append(f"it ends itself at the latest in {left_h:.1f} h, {tables.clock(spec.ends_s)}")
    if state.usd_per_hour:
        most = state.usd + state.usd_per_hour * left_h
        most = most if spec.budget_usd is None else min(most, max(spec.budget_usd, state.usd))
        lines.append(f"with as many machines as now it costs at most {most:.2f} USD in all")
    return lines


def clock_and_age(time_s: float, now_s: float) -> str:
    """A time, and how long ago that is."""
    return f"{tables.clock(time_s)}, {tables.age(now_s - time_s)} ago"
