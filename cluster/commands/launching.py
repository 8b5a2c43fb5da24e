"""Launching: from settings to a spec, its archives, a plan that is agreed to, and a cluster."""

from __future__ import annotations

import secrets
import shlex
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from cluster.aws.settings import AwsSettings
from cluster.commands.desk import Desk, Options, confirm, say
from cluster.commands.interruption import second_thoughts
from cluster.names import new_name
from cluster.provider import Archives, Plan, Provider
from cluster.settings import LaunchSettings
from cluster.source import keep_requirements, pack_include, pack_source
from cluster.spec import ClusterSpec
from errors import ConfigError

MONGO_URL = "mongo-url"
"""Among the secrets: of the MongoDB that keeps the runs too."""


class Packed(NamedTuple):
    """What travels to machines.

    Attributes:
        source, include, requirements: sha256 of each; see `ClusterSpec`.
        archives: the files.
    """

    source: str
    include: str | None
    requirements: str | None
    archives: Archives


def launch(desk: Desk, options: dict[str, Any]) -> None:
    """Launch a cluster, or say what that would make.

    Raises:
        EsError: what is wrong, in one line; nothing is left then.
    """
    provider = desk.provider(options)
    settings = desk.settings(options)
    secret = secrets_of(desk, options)
    if settings.provider == "local":
        say_what_is_left_aside(options)
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(desk, settings, Path(folder))
        spec = make_spec(desk, settings, packed, _taken(provider), secret)
        say(f"{spec.name}: {what_it_does(spec)}")
        tell_plan(provider.plan(spec), spec)
        if options["dry_run"]:
            say("nothing was made")
            return
        confirm(f"launch {spec.name}?", yes=options["yes"])
        with second_thoughts(spec.name):
            provider.launch(spec, packed.archives, secret, say)
    tell_what_next(spec)


def say_what_is_left_aside(options: Options) -> None:
    """Name the options that mean nothing on this machine."""
    known = [name for name in AwsSettings.__struct_fields__ if options.get(name) not in (None, ())]
    if known:
        say(f"for AWS only, left aside here: {', '.join(known)}")


def pack(desk: Desk, settings: LaunchSettings, folder: Path) -> Packed:
    """Archives, in ``folder``, of all that machines need.

    Raises:
        ConfigError: there is something that must not travel, or nothing where some is named.
    """
    found = [pack_source(desk.root, folder), None, None]
    if settings.include:
        found[1] = pack_include(Path(settings.include).expanduser(), folder)
    if settings.requirements:
        found[2] = keep_requirements(Path(settings.requirements).expanduser(), folder)
    archives = {archive.sha256: archive.path for archive in found if archive is not None}
    source, include, requirements = (archive and archive.sha256 for archive in found)
    assert source is not None
    return Packed(source, include, requirements, archives)


def make_spec(
    desk: Desk,
    settings: LaunchSettings,
    packed: Packed,
    taken: Collection[str],
    secret: Mapping[str, str],
) -> ClusterSpec:
    """What is to be made, under a name that is not ``taken``.

    Raises:
        ConfigError: the name is taken, or a setting cannot be.
    """
    if settings.cluster_name in taken:
        raise ConfigError(f"there is a cluster {settings.cluster_name} already: name another")
    try:
        words = shlex.split(settings.config)
    except ValueError as error:
        raise ConfigError(f"--config={settings.config!r}: {error}".lower()) from None
    if words[:1] == ["with"]:
        del words[0]
    return ClusterSpec(
        name=settings.cluster_name or new_name(taken),
        uid=secrets.token_hex(16),
        owner=settings.owner,
        size=settings.size,
        workers_per_machine=settings.workers_per_machine,
        experiment=settings.experiment,
        config=tuple(desk.check_config(settings.experiment, words, secret.get(MONGO_URL))),
        worker_command=settings.worker_command,
        source=packed.source,
        include=packed.include,
        requirements=packed.requirements,
        created_s=time.time(),
        max_hours=settings.max_hours,
        budget_usd=settings.budget_usd,
        keep=settings.keep,
    )


def secrets_of(desk: Desk, options: Options) -> dict[str, str]:
    """What the user gives machines to keep for themselves.

    Raises:
        ConfigError: a URL that cannot be, or that everyone on this machine can read a password of.
    """
    mongo_url, notify = options["mongo_url"], options["notify"]
    found = {MONGO_URL: desk.mongo_url(mongo_url)} if mongo_url else {}
    return found | ({"notify-url": desk.notify(notify)} if notify else {})


def what_it_does(spec: ClusterSpec) -> str:
    """The experiment in a few words."""
    return " ".join([spec.experiment, *spec.config])


def tell_plan(plan: Plan, spec: ClusterSpec) -> None:
    """Say what a launch would make, what it would cost, and when it ends."""
    for line in plan.lines:
        say(f"  {line}")
    end = f"after {spec.max_hours:g} h"
    if spec.budget_usd is not None and plan.usd_per_hour:
        end += f" or {spec.budget_usd:g} USD, whichever comes first"
    kept = "stays when its run has ended, and ends itself"
    say(f"  {kept if spec.keep else 'ends itself with its run, or'} {end}")
    if not plan.usd_per_hour:
        say("  costs nothing")


def tell_what_next(spec: ClusterSpec) -> None:
    """Say what to type now."""
    click.echo(f"{spec.name} is launched")
    for words, what in (
        (f"tail {spec.name}", "what it says"),
        ("list", "how it stands"),
        (f"fetch {spec.name}", "bring its run to runs/"),
        (f"kill {spec.name}", "end it"),
    ):
        click.echo(f"  python cluster/manage.py {words}".ljust(48) + f"# {what}")


def _taken(provider: Provider) -> set[str]:
    return {state.name for state in provider.clusters(None)}
