"""What provides machines, as the commands see it: AWS, or this machine in the part of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import msgspec

from cluster.spec import ClusterSpec
from cluster.store import Ended, Progress

Say = Callable[[str], None]
"""Tells the user a line of progress."""

Archives = dict[str, Path]
"""Local files by the sha256 that a spec names them by."""

Secrets = Mapping[str, str]
"""What the user gives the machines that nobody else may see, by `Platform.secret`'s names."""


class MachineState(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of a cluster.

    Attributes:
        name: the provider's own: an instance's id, ``worker-3``.
        role: what it is there for.
        state: as the provider calls it: ``pending``, ``running``, ``terminated``.
        type: the kind of machine: ``c7i.2xlarge``.
        address: where it can be reached; empty: nowhere.
        is_spot: whether it may be taken away.
        since_s: when it was started, seconds since 1970.
        usd_per_hour: what it costs; 0.0: nothing.
    """

    name: str
    role: Literal["head", "worker"]
    state: str
    type: str = ""
    address: str = ""
    is_spot: bool = False
    since_s: float = 0.0
    usd_per_hour: float = 0.0


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster as it is found.

    Attributes:
        name, key, owner: see `ClusterSpec`.
        state: a word: ``starting``, ``running``, ``ending``, ``ended``, ``half-launched``,
            ``stopped`` (its head is gone and nobody brings it back), ``killed`` (only its runs are
            kept, for `fetch`).
        spec: None where launch did not come far enough to write it.
        machines: those that are there, the head first.
        progress: None before the head first spoke.
        ended: how the run ended; None: it did not.
        usd: cost so far, estimated.
    """

    name: str
    key: str
    owner: str
    state: str
    spec: ClusterSpec | None = None
    machines: tuple[MachineState, ...] = ()
    progress: Progress | None = None
    ended: Ended | None = None
    usd: float = 0.0

    @property
    def usd_per_hour(self) -> float:
        """What its machines cost while they are there."""
        return sum(machine.usd_per_hour for machine in self.machines)


class LogLine(NamedTuple):
    """A line that a machine has said.

    Attributes:
        time_s: seconds since 1970.
        machine: the machine's name.
        text: without its end of line; printable characters only.
    """

    time_s: float
    machine: str
    text: str


class Plan(NamedTuple):
    """What a launch would make.

    Attributes:
        lines: for people: what is made, of which kind, at what price.
        usd_per_hour: when all machines run; 0.0: nothing is paid for.
        usd_at_most: until every machine ends itself, or the budget does; 0.0 likewise.
    """

    lines: Sequence[str]
    usd_per_hour: float = 0.0
    usd_at_most: float = 0.0


class Provider(Protocol):
    """Makes clusters, finds them again, and ends them. It keeps nothing between two commands.

    Every method may raise `ConfigError` (a setting, no such cluster), `ServiceUnavailable` (the
    provider does not answer), `AccessRefused` (or does not let us in), `ResourceExhausted`
    (quota, capacity), each with a line that says what to do.
    """

    def plan(self, spec: ClusterSpec) -> Plan:
        """What `launch` would make; nothing is created."""

    def launch(self, spec: ClusterSpec, archives: Archives, secrets: Secrets, say: Say) -> None:
        """Make the cluster; its Redis passwords are made here. An error, or Ctrl-C, half-way
        removes what was made.
        """

    def clusters(self, owner: str | None) -> list[ClusterState]:
        """Every cluster there is, by name; of one owner, or of everybody (None)."""

    def cluster(self, name: str, owner: str | None) -> ClusterState:
        """The cluster of that name or key.

        Raises:
            ConfigError: there is none (close names are named), or there are two.
        """

    def notes(self, cluster: ClusterState) -> list[str]:
        """Why something does not come or is not there, a line each; nothing if all is well."""

    def log(
        self, cluster: ClusterState, worker: int | None, lines: int, follow: bool
    ) -> Iterator[LogLine]:
        """What the head says, or the n-th worker machine (from 0): the last ``lines``, then, if
        ``follow``, all that comes, until the cluster has ended.
        """

    def resize(self, cluster: ClusterState, size: int) -> None:
        """Have so many worker machines; returns when that has been asked for."""

    def fetch(self, cluster: ClusterState, folder: Path) -> list[Path]:
        """Bring the cluster's runs home as ``folder/<id>``, under free ids; the directories."""

    def kill(self, cluster: ClusterState, say: Say) -> list[str]:
        """End it in whatever state it is, and wait; what is left, which is nothing. What `fetch`
        would bring is kept unless there is no run.
        """

    def orphans(self, owner: str | None) -> list[str]:
        """Things of ours that belong to no cluster, a line each."""
