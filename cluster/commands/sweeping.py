"""Sweep: the same launch for several seeds or values, a cluster for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import msgspec

from cluster.commands.desk import Desk, confirm, say
from cluster.commands.interruption import second_thoughts
from cluster.commands.launching import make_spec, pack, secrets_of, tell_plan, what_it_does
from cluster.names import new_name, numbered
from cluster.settings import LaunchSettings
from errors import ConfigError

MOST = 100


def combinations(over: Sequence[str]) -> list[str]:
    """Words for ``--config``, one for each cluster, of ``name=value,value,...`` each.

    >>> combinations(["seed=1,2", "lr=0.1"])
    ['seed=1 lr=0.1', 'seed=2 lr=0.1']

    Raises:
        ConfigError: one of them is not of that form, or it would be too many.
    """
    axes = []
    for words in over:
        name, is_given, values = words.partition("=")
        if not name or not is_given or not all(values.split(",")):
            raise ConfigError(f"--over={words}: expected NAME=VALUE,VALUE,... such as seed=1,2,3")
        axes.append([f"{name}={value}" for value in values.split(",")])
    found = [" ".join(words) for words in product(*axes)]
    if len(found) > MOST:
        raise ConfigError(f"{len(found)} clusters, expected at most {MOST}: name fewer values")
    return found


def sweep(desk: Desk, over: Sequence[str], options: dict[str, Any]) -> None:
    """Launch a cluster for each combination, or say what that would make.

    Raises:
        EsError: what is wrong, in one line. Clusters that were launched before stay, and are named.
    """
    provider = desk.provider(options)
    settings = desk.settings(options)
    secret = secrets_of(desk, options)
    taken = {state.name for state in provider.clusters(None)}
    name = settings.cluster_name or new_name(taken)
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(desk, settings, Path(folder))
        specs = [
            make_spec(desk, one, packed, taken, secret)
            for one in _each(settings, name, combinations(over))
        ]
        plans = [provider.plan(spec) for spec in specs]
        for spec in specs:
            say(f"{spec.name}: {what_it_does(spec)}")
        say("each:")
        tell_plan(plans[0], specs[0])
        if plans[0].usd_per_hour:
            hourly, most = (sum(p.usd_per_hour for p in plans), sum(p.usd_at_most for p in plans))
            say(f"all {len(specs)}: {hourly:.2f} USD an hour, at most {most:.2f} USD in all")
        if options["dry_run"]:
            say("nothing was made")
            return
        confirm(f"launch {len(specs)} clusters?", yes=options["yes"])
        for spec in specs:
            with second_thoughts(spec.name):
                provider.launch(spec, packed.archives, secret, say)
            click.echo(f"{spec.name} is launched: {what_it_does(spec)}")


def _each(settings: LaunchSettings, name: str, words: Sequence[str]) -> Iterator[LaunchSettings]:
    for number, more in enumerate(words, 1):
        yield msgspec.structs.replace(
            settings,
            cluster_name=numbered(name, number),
            config=f"{settings.config} {more}".strip(),
        )
