"""What `cluster/manage.py` does that only AWS has: the account, images, prices, ssh."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from cluster.aws.remote import LOG, machine_of, next_steps, ssh_words, upload_words
from cluster.commands.desk import Desk, confirm, say
from cluster.commands.options import AWS_MACHINES, ON_AWS, YES, option
from cluster.source import pack_source
from errors import ConfigError, ResourceExhausted

if TYPE_CHECKING:  # boto3 takes a second to import, and most commands need none
    from cluster.aws.provider import AwsProvider
    from cluster.provider import ClusterState

NAME = click.argument("name")
PEM_FILE = option("--pem_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                  help="Private key for ssh.  [default: ssh's own]")  # fmt: skip
DRY_RUN = option("--dry_run", is_flag=True, help="Only say what would be done.")
_AWS = option("--region", help="The region.  [default: boto3's]")
_PROFILE = option("--profile", help="The profile of ~/.aws/config.  [default: boto3's]")
_BUCKET = option("--bucket_name", "bucket", help="[default: walking-es-ACCOUNT-REGION]")
_SUBNETS = option("--subnet_ids", metavar="ID,...", help="Where machines will stand.")


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which account it is about."""
    for one in (_SUBNETS, _BUCKET, _PROFILE, _AWS):
        command = one(command)
    return command


@click.command()
@click.pass_obj
@account_options
@option("--ssh_from", metavar="CIDR", help="Let ssh in from there.  [default: from nowhere]")
@DRY_RUN
def setup(desk: Desk, dry_run: bool, **options: Any) -> None:
    """Make what an AWS account needs once: bucket, policy, security group. Again is no harm."""
    from cluster.aws.account import set_up
    from cluster.aws.session import plainly

    provider = desk.aws(options)
    with plainly():
        set_up(provider.aws, provider.settings, click.echo, dry_run)


@click.command()
@click.pass_obj
@account_options
@DRY_RUN
@YES
def teardown(desk: Desk, dry_run: bool, yes: bool, **options: Any) -> None:
    """Remove what setup and bake have made, and with the bucket every run kept there."""
    from cluster.aws.account import tear_down
    from cluster.aws.session import plainly

    provider = desk.aws(options)
    with plainly():
        tear_down(provider.aws, provider.settings, click.echo, dry_run=True)
        if not dry_run:
            confirm("remove all of that, the runs in the bucket too?", yes=yes)
            tear_down(provider.aws, provider.settings, click.echo)


@click.command()
@click.pass_obj
@account_options
@option("--for_setup", is_flag=True, help="What setup, teardown and bake need besides.")
def policy(desk: Desk, for_setup: bool, **options: Any) -> None:
    """Print the IAM policy that a user needs to launch, watch and end clusters."""
    from cluster.aws.account import place_of
    from cluster.aws.policies import account_policy, user_policy
    from cluster.aws.session import plainly

    provider = desk.aws(options)
    with plainly():
        place = place_of(provider.aws, provider.settings)
    document = account_policy(place) if for_setup else user_policy(place)
    click.echo(json.dumps(document, indent=2))


@click.command("create_bucket")
@click.pass_obj
@account_options
def create_bucket(desk: Desk, **options: Any) -> None:
    """Make the bucket alone; setup does that too."""
    from cluster.aws.account import place_of
    from cluster.aws.bucket import make_bucket
    from cluster.aws.session import plainly

    provider = desk.aws(options)
    with plainly():
        place = place_of(provider.aws, provider.settings)
        make_bucket(provider.aws, place)
    click.echo(f"bucket {place.bucket} is there: private, encrypted, by TLS only")


@click.command("set_price")
@click.pass_obj
@NAME
@ON_AWS
@option(
    "--price",
    type=float,
    metavar="USD",
    help="Of a spot machine, an hour, at most; 0: the on-demand price.",
)
@option("--min_size", type=click.IntRange(min=0))
@option("--max_size", type=click.IntRange(min=0))
@option("--desired_size", type=click.IntRange(min=0))
@option(
    "--worker_type",
    "worker_types",
    multiple=True,
    metavar="TYPE",
    help="Several times, or with commas: any of them.",
)
@option("--spot/--on_demand", "spot", default=None)
@option("--on_demand_base", type=click.IntRange(min=0), help="How many never are spot.")
def set_price(desk: Desk, name: str, **options: Any) -> None:  # fmt: skip
    """Change price, type or number of a cluster's worker machines; those that run stay."""
    from cluster.aws.scaling import Change

    fields = Change.__struct_fields__
    given = {field: options.pop(field) for field in fields if field in options}
    words = [word.strip() for text in given["worker_types"] for word in text.split(",")]
    given["worker_types"] = tuple(words) or None
    if all(value is None for value in given.values()):
        raise ConfigError("nothing to change: say --price, --worker_type or another option")
    provider, state = _found(desk, name, options)
    for line in provider.set_price(state, Change(**given)):
        click.echo(line)


@click.command("replace_head")
@click.pass_obj
@NAME
@ON_AWS
def replace_head(desk: Desk, name: str, **options: Any) -> None:
    """Start a new head where the old one is gone; it goes on with the run."""
    provider, state = _found(desk, name, options)
    click.echo(f"head {provider.replace_head(state)} starts, and goes on with the run")


@click.command()
@click.pass_obj
@NAME
@click.argument("remote", nargs=-1)
@ON_AWS
@option("--worker", type=click.IntRange(min=0), metavar="N", help="[default: the head]")
@PEM_FILE
@option("--tail", is_flag=True, help="Follow the machine's log there, as tail does without.")
def ssh(
    desk: Desk,
    name: str,
    remote: Sequence[str],
    worker: int | None,
    pem_file: Path | None,
    tail: bool,
    **options: Any,
) -> None:
    """Log in to a machine, or run REMOTE there. It needs --key_name at launch and --ssh_from at
    setup; tail, status and fetch need neither.
    """
    _, state = _found(desk, name, options)
    words = ["sudo", "tail", "-n", "100", "-F", LOG] if tail else list(remote)
    line = ssh_words(machine_of(state, worker).address, pem_file, words)
    say(shlex.join(line))
    os.execvp(line[0], line)


@click.command()
@click.pass_obj
@ON_AWS
@AWS_MACHINES
@YES
def bake(desk: Desk, yes: bool, **options: Any) -> None:
    """Make an image with everything installed: machines start minutes earlier.

    Launch takes it by itself as long as it fits this code's requirements.
    """
    from cluster.aws.baking import bake as bake_image
    from cluster.aws.provider import requirements_hash
    from cluster.aws.session import plainly

    provider = desk.aws(options)
    settings = msgspec.structs.replace(provider.settings, on_demand_base=0)
    confirm(f"start a {settings.head_type} for some minutes, and keep an image of it?", yes=yes)
    with tempfile.TemporaryDirectory() as folder, plainly():
        source = pack_source(desk.root, Path(folder))
        image = bake_image(
            provider.aws,
            settings,
            source.sha256,
            {source.sha256: source.path},
            requirements_hash(desk.root),
            desk.settings(options).owner,
            say,
        )
    click.echo(f"image {image} is made; launch takes it as long as it fits")


@click.command()
@click.pass_obj
@click.argument("ip")
@PEM_FILE
@DRY_RUN
def upload(desk: Desk, ip: str, pem_file: Path | None, dry_run: bool) -> None:
    """Bring our code to a machine of your own by ssh, and say what to do there."""
    with tempfile.TemporaryDirectory() as folder:
        archive = pack_source(desk.root, Path(folder)).path
        for line in upload_words(archive, ip, pem_file):
            click.echo(shlex.join(line))
            if not dry_run and subprocess.run(line, check=False).returncode:
                raise ResourceExhausted(
                    f"{ip} did not take it: see what {line[0]} says above, and check the "
                    "address, --pem_file and the security group"
                )
    click.echo("then:")
    for text in next_steps(ip, pem_file):
        click.echo(f"  {text}")


COMMANDS = (
    setup,
    teardown,
    policy,
    create_bucket,
    set_price,
    replace_head,
    ssh,
    bake,
    upload,
)


def _found(desk: Desk, name: str, options: dict[str, Any]) -> tuple[AwsProvider, ClusterState]:
    provider: AwsProvider = desk.aws(options)
    return provider, provider.cluster(name, desk.settings(options).owner)
