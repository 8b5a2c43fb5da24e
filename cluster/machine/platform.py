"""What a machine of a cluster needs of whoever provides it."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec

from cluster.store import Store


class MachineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a machine is told of itself before anything runs on it: ``machine.json``. No secrets.

    Attributes:
        provider: who provides it.
        role: what it is there for.
        key: the cluster's; see `cluster.spec.ClusterSpec.key`.
        store: where the cluster's files are: ``s3://BUCKET/PREFIX`` or a folder's path.
        region: the provider's, if it has any.
        name: the machine's; empty: the provider tells it (an instance's id).
        group: what holds the worker machines, to be emptied at the end: an auto scaling group.
        log_group: where what it says goes.
        work_dir: folder for runs, logs, and what is fetched.
        redis_port: of the head's Redis.
        include: folder with the user's own modules, unpacked; empty: there is none.
    """

    provider: Literal["aws", "local"]
    role: Literal["head", "worker"]
    key: str
    store: str
    work_dir: str
    region: str = ""
    name: str = ""
    group: str = ""
    log_group: str = ""
    redis_port: int = 6379
    include: str = ""


class Notice(NamedTuple):
    """The provider will take this machine away, or may.

    Attributes:
        kind: ``interruption``: within two minutes; ``rebalance``: it has become likely.
        text: the provider's words.
    """

    kind: Literal["interruption", "rebalance"]
    text: str


class Platform(Protocol):
    """The provider, from one of its machines."""

    @property
    def store(self) -> Store:
        """The cluster's files."""

    def name(self) -> str:
        """What this machine is called."""

    def address(self) -> str:
        """Where the cluster's other machines reach it."""

    def secret(self, name: str) -> str:
        """A secret of the cluster: ``redis-password``, ``worker-password``, ``mongo-url``,
        ``notify-url``; empty: there is none of that name.
        """

    def notice(self) -> Notice | None:
        """Whether the machine is about to be taken away; asked every 5 s."""

    def usd_so_far(self) -> float | None:
        """What the cluster has cost since it was launched, estimated; None: nothing is paid for."""

    def usd_per_hour(self) -> float:
        """What the machines cost that `usd_so_far` last found; 0: nothing."""

    def end_workers(self) -> None:
        """Let go of every worker machine, and have no new ones come."""

    def end_machine(self, why: str) -> None:
        """End this machine for good; the process that asks may be gone before this returns."""
