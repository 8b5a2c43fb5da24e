"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from cluster.settings import ProviderName

Command = Callable[..., Any]

_PATH = click.Path(path_type=Path)
_PROVIDERS = get_args(ProviderName)


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option whose name may be written with ``_`` and with ``-``."""
    spelt = [_with_hyphens(name) for name in names if name.startswith("--")]
    return click.option(*dict.fromkeys([*names, *filter(None, spelt)]), **settings)


def _with_hyphens(name: str) -> str:
    """The other spelling of ``--a_b``, or of the two of ``--a/--no_a``; empty: there is none."""
    yes, slash, no = name.partition("/")
    others = [one.replace("_", "-") if "_" in one else "" for one in (yes, no)]
    # A blank: a name that begins with a slash would be one as on Windows.
    return (others[0] or " ") + slash + others[1] if any(others) else ""


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


YES = option("--yes", "-y", is_flag=True, help="Do not ask.")


def _provider(default: str) -> Callable[[Command], Command]:
    return option("--provider", type=click.Choice(_PROVIDERS),
                  help=f"Who provides machines.  [default: {default}]")  # fmt: skip


AWS_PLACE = together(
    option("--region", help="AWS: the region.  [default: boto3's]"),
    option("--profile", help="AWS: the profile of ~/.aws/config.  [default: boto3's]"),
    option("--bucket_name", "bucket",
           help="AWS: the bucket.  [default: walking-es-ACCOUNT-REGION]"),
)  # fmt: skip
"""Where on AWS clusters are."""

OWNER = option("--owner", help="Whose clusters.  [default: you]")

PLACE = together(_provider("where the cluster is, else aws"), AWS_PLACE, OWNER)
"""Where the clusters are that a command is about."""

ON_AWS = together(_provider("aws"), AWS_PLACE, OWNER)
"""The same, for commands that are about AWS only."""

AWS_MACHINES = together(
    option("--head_type", "--master_type", "head_type", metavar="TYPE",
           help="AWS: the head's type of machine."),
    option("--worker_type", "worker_types", metavar="TYPE", multiple=True,
           help="AWS: a worker machine's; several times, or with commas: any of them."),
    option("--spot/--on_demand", "spot", default=None,
           help="AWS: worker machines that may be taken away, at a third of the price, or not."
                "  [default: spot]"),
    option("--on_demand_base", type=click.IntRange(min=0), help="AWS: how many of them never are."),
    option("--max_price", type=float, metavar="USD",
           help="AWS: of a spot machine, an hour.  [default: the on-demand price]"),
    option("--subnet_ids", metavar="ID,...", help="AWS: where machines stand."),
    option("--key_name", help="AWS: key pair for ssh.  [default: no ssh]"),
    option("--image_id", help="AWS: image of machines.  [default: baked, else Ubuntu 24.04]"),
    option("--volume_gb", type=int, metavar="GB", help="AWS: disk of each machine."),
)  # fmt: skip
"""What machines on AWS are like."""

LAUNCH = together(
    option("--size", type=click.IntRange(min=0),
           help="Worker machines, beside the head.  [default: 1]"),
    option("--workers_per_machine", type=click.IntRange(min=1), metavar="N",
           help="Worker processes on each.  [default: one a core]"),
    option("--config", metavar="'WORDS'", help="What stands after `with`: 'walk lr=0.02'."),
    option("--experiment", type=click.Choice(["es", "nevergrad", "evaluate"]),
           help="Which experiment; evaluate takes env/evaluate.py's arguments as --config."
                "  [default: es]"),
    option("--cluster_name", metavar="NAME", help="[default: an English word]"),
    option("--include", type=_PATH, help="Folder with your own environments and policies."),
    option("--requirements", type=_PATH, help="File with packages that they need."),
    option("--worker_command", metavar="COMMAND", help="Run on worker machines instead of ours."),
    option("--mongo_url", envvar="WALKING_ES_MONGO_URL", show_envvar=True, metavar="URL",
           help="MongoDB that keeps the runs too; its password in ES_MONGO_PASSWORD."),
    option("--notify", envvar="ES_NOTIFY_URL", show_envvar=True, metavar="URL",
           help="Address that is told when a run ends, fails or reaches a limit."),
    option("--max_hours", type=float, metavar="H", help="All ends itself then.  [default: 24]"),
    option("--budget_usd", type=float, metavar="USD", help="All ends itself before that is spent."),
    option("--keep/--no_keep", default=None, help="Machines stay when the run has ended."),
    _provider("aws"),
    AWS_PLACE,
    OWNER,
    AWS_MACHINES,
    option("--dry_run", is_flag=True, help="Say what would be made, at what price; make nothing."),
    YES,
)  # fmt: skip
"""What a cluster is to be."""
