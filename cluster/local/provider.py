"""Clusters on this machine: each of their machines is a process group of its own."""

from __future__ import annotations

import os
import secrets as random_secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from cluster.fetch import fetch_runs
from cluster.local.folders import (
    HEAD,
    HOME_VARIABLE,
    ClusterFolder,
    MachineFolder,
    home_folder,
)
from cluster.local.log_files import log_lines
from cluster.local.machines import is_up, leaders, let_go, put_up
from cluster.local.processes import Leader, end, machines_at_work
from cluster.local.states import has_ended, state_of
from cluster.machine.run_files import stored_runs
from cluster.provider import Archives, ClusterState, LogLine, Plan, Say, Secrets
from cluster.source import unpack
from cluster.spec import SPEC_KEY, ClusterSpec
from cluster.store import ENDED_KEY, Ended
from errors import ConfigError, ResourceExhausted, did_you_mean

PASSWORDS = ("redis-password", "worker-password")
_PASSWORD_BYTES = 32
PATIENCE_S = 100.0
"""As the head's service has on AWS."""


class LocalProvider:
    """See `cluster.provider.Provider`.

    Args:
        home: where clusters are kept; None: ``~/.walking-es``, or ``WALKING_ES_HOME``.
        environment: what machines inherit, but for what steers commands given here.
    """

    def __init__(
        self, home: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._clusters = (home or home_folder()) / "clusters"
        self._environment = os.environ if environment is None else environment

    def plan(self, spec: ClusterSpec) -> Plan:
        """See `Provider.plan`."""
        each = _workers_each(spec)
        cores = _num_cores()
        lines = [
            f"1 head and {_count(spec.size, 'worker machine')} of this machine, "
            f"{_count(each, 'worker')} on each; it has {_count(cores, 'core')}",
            f"kept in {self._clusters / spec.key}",
        ]
        if spec.requirements is not None:
            lines.append("requirements: machines here use the packages of this Python, as it is")
        return Plan(lines)

    def launch(self, spec: ClusterSpec, archives: Archives, secrets: Secrets, say: Say) -> None:
        """See `Provider.launch`."""
        cluster = ClusterFolder(self._clusters / spec.key)
        _make_private(cluster.path)
        try:
            with cluster.locked():
                self._make(cluster, spec, archives, secrets)
                put_up(cluster, self._environment)
                cluster.mark_launched()
        except BaseException:
            say(f"removing what was made of {spec.name}")
            end(self._at_work(cluster), 0.0)
            cluster.remove(keep_store=False)
            raise
        say(f"{_count(1 + spec.size, 'machine')} started")

    def clusters(self, owner: str | None) -> list[ClusterState]:
        """See `Provider.clusters`."""
        found = {path.name: ClusterFolder(path) for path in self._clusters.glob("*")}
        for machine in machines_at_work(self._clusters):
            key = machine.relative_to(self._clusters).parts[0]
            found.setdefault(key, ClusterFolder(self._clusters / key))
        states = [state_of(cluster) for cluster in found.values()]
        return sorted(
            (state for state in states if owner is None or state.owner in ("", owner)),
            key=lambda state: (state.name, state.key),
        )

    def cluster(self, name: str, owner: str | None) -> ClusterState:
        """See `Provider.cluster`."""
        known = self.clusters(owner)
        found = [state for state in known if name in (state.name, state.key)]
        # One that is there comes before those of its name that were killed.
        found = [state for state in found if state.state != "killed"] or found
        if len(found) > 1:
            keys = " and ".join(state.key for state in found)
            raise ConfigError(f"{name} is the name of {len(found)} clusters: say {keys}")
        if not found:
            for other in self.clusters(None):
                if name in (other.name, other.key):
                    raise ConfigError(f"{name} is {other.owner}'s: say --owner={other.owner}")
            names = [state.name for state in known]
            raise ConfigError(f"no cluster {name} on this machine{did_you_mean(name, names)}")
        return found[0]

    def notes(self, cluster: ClusterState) -> list[str]:
        """See `Provider.notes`."""
        gone = [machine.name for machine in cluster.machines if machine.state == "gone"]
        again = f"`resize {cluster.name} {self._folder(cluster).wanted}` starts it again"
        return [f"{name} has gone: {again}" for name in gone]

    def log(
        self, cluster: ClusterState, worker: int | None, lines: int, follow: bool
    ) -> Iterator[LogLine]:
        """See `Provider.log`."""
        folder = self._folder(cluster)
        machine = folder.machine(HEAD if worker is None else f"worker-{worker}")
        if not machine.path.is_dir():
            numbers = [str(other.number) for other in folder.machines() if other.number >= 0]
            there = f"; there are {', '.join(numbers)}" if numbers else ""
            raise ConfigError(f"{cluster.name} has no {machine.name} that says anything{there}")

        def is_over() -> bool:
            return not is_up(machine) or has_ended(folder)

        return log_lines(machine.log, machine.name, lines, is_over if follow else None)

    def resize(self, cluster: ClusterState, size: int) -> None:
        """See `Provider.resize`. What is wanted and not there is started, a head that was lost too:
        it goes on with its run.
        """
        folder = self._folder(cluster)
        with folder.locked():
            if not folder.is_launched or has_ended(folder):
                raise ConfigError(
                    f"{cluster.name} has ended: launch another, or fetch its run and go on with "
                    "that here, by resume=ID"
                )
            folder.wanted = size
            let_go(folder, size)
            put_up(folder, self._environment)

    def fetch(self, cluster: ClusterState, folder: Path) -> list[Path]:
        """See `Provider.fetch`."""
        return fetch_runs(self._folder(cluster).store, cluster.key, folder)

    def kill(self, cluster: ClusterState, say: Say) -> list[str]:
        """See `Provider.kill`."""
        folder = self._folder(cluster)
        if not folder.path.is_dir():
            end(self._at_work(folder), 0.0)
            return self._left(folder)
        with folder.locked():
            machines = self._at_work(folder)
            if at_work := machines_at_work(folder.path):
                say(f"ending {_count(len(at_work), 'machine')} of {cluster.name}")
            end(machines, PATIENCE_S)
            has_run = bool(stored_runs(folder.store))
            if has_run and not has_ended(folder):
                ended = Ended(time_s=time.time(), why="killed")
                folder.store.put(ENDED_KEY, msgspec.json.encode(ended))
            folder.remove(keep_store=has_run)
        if has_run:
            say(f"its run is kept in {folder.store_path}, for fetch")
        return self._left(folder)

    def orphans(self, owner: str | None) -> list[str]:
        """See `Provider.orphans`."""
        return [
            f"{_count(number, 'process', 'es')} of {machine.relative_to(self._clusters)}: "
            f"kill {machine.relative_to(self._clusters).parts[0]}"
            for machine, number in sorted(machines_at_work(self._clusters).items())
            if not machine.is_dir()
        ]

    def _folder(self, cluster: ClusterState) -> ClusterFolder:
        return ClusterFolder(self._clusters / cluster.key)

    def _make(
        self, cluster: ClusterFolder, spec: ClusterSpec, archives: Archives, secrets: Secrets
    ) -> None:
        unpack(archives[spec.source], cluster.source)
        if spec.include is not None:
            unpack(archives[spec.include], cluster.include)
        made = {name: random_secrets.token_urlsafe(_PASSWORD_BYTES) for name in PASSWORDS}
        for name, value in {**secrets, **made}.items():
            cluster.keep_secret(name, value)
        cluster.wanted = spec.size
        shared = msgspec.structs.replace(spec, workers_per_machine=_workers_each(spec))
        cluster.store.put(SPEC_KEY, msgspec.json.encode(shared))

    def _at_work(self, cluster: ClusterFolder) -> dict[Path, Leader | None]:
        """Machines to end: those with a folder, and those that have processes."""
        found = leaders(cluster.machines())
        for machine in machines_at_work(cluster.path):
            found.setdefault(machine, MachineFolder(machine).leader)
        return found

    def _left(self, cluster: ClusterFolder) -> list[str]:
        return [
            f"{_count(number, 'process', 'es')} of {machine.name}"
            for machine, number in machines_at_work(cluster.path).items()
        ]


def _workers_each(spec: ClusterSpec) -> int:
    """They share the cores of the one machine that there is."""
    return spec.workers_per_machine or max(1, _num_cores() // max(1, spec.size))


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"


def _make_private(folder: Path) -> None:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise ConfigError(f"{folder} is there already: launch under another name") from None
    except OSError as error:
        raise ResourceExhausted(
            f"{folder} cannot be made ({error.strerror}): name another home in {HOME_VARIABLE}"
        ) from None
