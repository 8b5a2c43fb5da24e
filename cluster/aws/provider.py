"""Clusters on AWS: a `cluster.provider.Provider`, and what only AWS has."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.aws.account import place_of, require
from cluster.aws.archives import upload_archives, upload_boot
from cluster.aws.bucket import bucket_is_there
from cluster.aws.inventory import Thing, find_computing, find_everything, groups
from cluster.aws.launching import Launch, start_head, undone_on_error
from cluster.aws.logs import console, tail
from cluster.aws.names import Names, checked_owner, log_stream
from cluster.aws.planning import Survey, make_plan, survey
from cluster.aws.prices import Prices
from cluster.aws.removal import remove_cluster, remove_files
from cluster.aws.s3_store import S3Store
from cluster.aws.scaling import Change, change_group, set_size
from cluster.aws.session import Aws, plainly
from cluster.aws.settings import AwsSettings
from cluster.aws.standing import failures, name_in, state_of, stored_keys
from cluster.aws.templates import Ground
from cluster.fetch import fetch_runs
from cluster.provider import Archives, ClusterState, LogLine, Plan, Say, Secrets
from cluster.spec import ClusterSpec
from errors import ConfigError, did_you_mean

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("requirements.txt", "requirements-no-deps.txt", "requirements-worker.txt")


def requirements_hash(root: Path = ROOT) -> str:
    """sha256 of what this tree's machines have installed; a baked image says whose it has."""
    files = [root / name for name in REQUIREMENTS]
    texts = [path.read_bytes() if path.exists() else b"" for path in files]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


class AwsProvider:
    """See `cluster.provider.Provider`; errors of boto3 come out as ours."""

    def __init__(
        self,
        aws: Aws,
        settings: AwsSettings,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.aws, self.settings = aws, settings
        self._sleep, self._clock = sleep, clock
        self._prices = Prices(aws)

    def plan(self, spec: ClusterSpec) -> Plan:
        """See `Provider.plan`."""
        with plainly():
            found = self._survey(spec)
            plan = make_plan(self.settings, spec, found, self._prices)
            try:
                require(self.aws, self.settings)
            except ConfigError as error:
                return plan._replace(lines=[*plan.lines, f"before launch: {error}"])
            return plan

    def _survey(self, spec: ClusterSpec) -> Survey:
        checked_owner(spec.owner)
        return survey(self.aws, self.settings, spec, requirements_hash())

    def launch(self, spec: ClusterSpec, archives: Archives, secrets: Secrets, say: Say) -> None:
        """See `Provider.launch`."""
        with plainly():
            place, boundary, security_group = require(self.aws, self.settings)
            found = self._survey(spec)
            names = Names(spec.key, spec.owner)
            now_s = self._clock()
            upload_archives(self.aws, place.bucket, spec, archives, now_s, say)
            ground = Ground(
                found.image,
                security_group,
                boundary,
                place.bucket,
                found.subnets,
                upload_boot(self.aws, place.bucket, now_s, say),
            )
            launch = Launch(
                self.aws, place, self.settings, spec, ground, say=say, sleep=self._sleep
            )
            with undone_on_error(self.aws, place.bucket, names, say, self._sleep):
                launch.make(secrets)

    def clusters(self, owner: str | None) -> list[ClusterState]:
        """See `Provider.clusters`: those with anything on EC2, and those whose runs are kept."""
        with plainly():
            found: dict[str, list[Thing]] = {}
            for thing in find_computing(self.aws):
                found.setdefault(thing.names.key, []).append(thing)
            if bucket_is_there(self.aws, self.bucket):
                for key in stored_keys(self.aws, self.bucket):
                    found.setdefault(key, [])
            states = [
                self._state(key, things)
                for key, things in sorted(found.items())
                if owner is None or not things or things[0].names.owner == owner
            ]
            return [state for state in states if owner in (None, state.owner)]

    def cluster(self, name: str, owner: str | None) -> ClusterState:
        """See `Provider.cluster`; one that was ended is found as long as its runs are kept."""
        with plainly():
            everything = find_everything(self.aws)
            keys = {thing.names.key for thing in everything}
            found = {key for key in keys if name in (key, name_in(key))}
            if bucket_is_there(self.aws, self.bucket):
                found |= set(stored_keys(self.aws, self.bucket, name))
            states = [
                self._state(key, [t for t in everything if t.names.key == key])
                for key in sorted(found)
            ]
            mine = [state for state in states if owner is None or state.owner in (owner, "")]
            there = [state for state in mine if state.state != "killed"]
            return _only(name, there or mine, states, {name_in(key) for key in keys})

    def log(
        self, cluster: ClusterState, worker: int | None, lines: int, follow: bool
    ) -> Iterator[LogLine]:
        """See `Provider.log`."""
        prefix = "head/"
        machines = [machine for machine in cluster.machines if machine.role == "head"]
        if worker is not None:
            machines = [machine for machine in cluster.machines if machine.role == "worker"]
            if not 0 <= worker < len(machines):
                raise ConfigError(
                    f"worker={worker}: {cluster.name} has {len(machines)} worker machines, "
                    "counted from 0"
                )
            machines = machines[worker : worker + 1]
            prefix = log_stream("worker", machines[0].name)
        group = Names(cluster.key, cluster.owner).log_group
        with plainly():
            said = tail(
                self.aws, group, prefix, lines, follow, lambda: self._is_over(cluster), self._sleep
            )
            first = next(said, None)
            if first is not None:
                yield first
                yield from said
            elif machines:
                yield from console(self.aws, machines[0].name, lines)

    def _is_over(self, cluster: ClusterState) -> bool:
        things = find_computing(self.aws, cluster.key)
        return self._state(cluster.key, things).state in ("ended", "ending", "killed")

    def resize(self, cluster: ClusterState, size: int) -> None:
        """See `Provider.resize`."""
        if size < 0:
            raise ConfigError(f"size={size}: expected 0 or more worker machines")
        with plainly():
            set_size(self.aws, self._group(cluster), size)

    def set_price(self, cluster: ClusterState, change: Change) -> list[str]:
        """Change of which types and at which price worker machines are, and how many; what is
        then in force, a line each. Machines that run stay as they are.

        Raises:
            ConfigError: the change cannot be, or the cluster has ended.
        """
        with plainly():
            return change_group(self.aws, self._group(cluster), change)

    def replace_head(self, cluster: ClusterState) -> str:
        """Start a head for a cluster whose own is gone: it goes on with the run. Its id.

        Raises:
            ConfigError: the cluster has one, or has ended.
        """
        self._group(cluster)
        if any(m.role == "head" and m.state in ("pending", "running") for m in cluster.machines):
            raise ConfigError(f"{cluster.name} has a head: end that machine first")
        with plainly():
            names = Names(cluster.key, cluster.owner)
            spec = cluster.spec
            if spec is None:
                raise ConfigError(f"{cluster.name} was never launched wholly: kill it")
            found = self._survey(spec)
            token = f"{spec.uid}-{int(self._clock())}"
            return start_head(self.aws, names, found.subnets, token, self._sleep)

    def fetch(self, cluster: ClusterState, folder: Path) -> list[Path]:
        """See `Provider.fetch`."""
        with plainly():
            return fetch_runs(self.store(cluster.key), cluster.key, folder)

    def kill(self, cluster: ClusterState, say: Say) -> list[str]:
        """See `Provider.kill`."""
        with plainly():
            names = Names(cluster.key, cluster.owner)
            left = remove_cluster(self.aws, cluster.key, say, sleep=self._sleep)
            remove_files(self.aws, self.bucket, names, keep_runs=True)
            return [str(thing) for thing in left]

    def orphans(self, owner: str | None) -> list[str]:
        """See `Provider.orphans`: what belongs to no group and no machine."""
        with plainly():
            everything = find_everything(self.aws)
            held = {
                thing.names.key
                for thing in everything
                if thing.kind in ("auto scaling group", "instance")
            }
            return [
                str(thing)
                for thing in everything
                if thing.names.key not in held and owner in (None, thing.names.owner)
            ]

    @property
    def bucket(self) -> str:
        """The account's."""
        return place_of(self.aws, self.settings).bucket

    def store(self, key: str) -> S3Store:
        """A cluster's."""
        return S3Store(self.aws.s3, self.bucket, Names(key, "").place)

    def _state(self, key: str, things: Sequence[Thing]) -> ClusterState:
        owner = next((thing.names.owner for thing in things), "")
        return state_of(key, owner, things, self.store(key), self._prices)

    def notes(self, cluster: ClusterState) -> list[str]:
        """Why worker machines do not come, in AWS's words; nothing if they do."""
        with plainly():
            return failures(self.aws, Names(cluster.key, cluster.owner).group)

    def _group(self, cluster: ClusterState) -> dict[str, Any]:
        found = list(groups(self.aws, cluster.key))
        if not found or cluster.state in ("ended", "ending", "killed"):
            raise ConfigError(
                f"{cluster.name} is {cluster.state} and has no group of workers any more: launch "
                "another"
            )
        return dict(found[0].found)


def _only(
    name: str, mine: Sequence[ClusterState], all_of_it: Sequence[ClusterState], known: set[str]
) -> ClusterState:
    """The one cluster that was meant.

    Raises:
        ConfigError: none or several are.
    """
    if len(mine) == 1:
        return mine[0]
    if mine:
        keys = ", ".join(state.key for state in mine)
        raise ConfigError(f"there are {len(mine)} clusters {name}: name one by its key ({keys})")
    if all_of_it:
        owners = ", ".join(sorted({state.owner or "nobody" for state in all_of_it}))
        raise ConfigError(f"cluster {name} is {owners}'s: say --owner if you mean it")
    raise ConfigError(
        f"there is no cluster {name}{did_you_mean(name, known)}; "
        "`python cluster/manage.py list` shows those there are"
    )
