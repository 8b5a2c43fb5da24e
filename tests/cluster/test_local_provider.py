"""Clusters on this machine: launched, seen, changed, and gone without a trace."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from local_clusters import DEADLINE_S, nothing_left, packed_source, provider_at, spec_of, wait_for

from cluster.local import machines
from cluster.local.folders import ClusterFolder
from cluster.local.processes import birth_of, machines_at_work
from cluster.local.provider import LocalProvider
from cluster.provider import Archives, ClusterState
from cluster.spec import ClusterSpec
from errors import ConfigError

pytestmark = pytest.mark.timeout(4 * DEADLINE_S)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return packed_source(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with nothing_left(tmp_path / "home"):
        yield tmp_path / "home"


@pytest.fixture
def provider(home: Path) -> LocalProvider:
    return provider_at(home)


def launch(provider: LocalProvider, spec: ClusterSpec, archives: Archives) -> None:
    provider.launch(spec, archives, {}, lambda line: None)


def names(state: ClusterState) -> list[tuple[str, str]]:
    return [(machine.name, machine.state) for machine in state.machines]


def generation(provider: LocalProvider) -> int:
    progress = provider.cluster("oak", "ada").progress
    return -1 if progress is None or progress.generation is None else progress.generation


def leader_of(home: Path, spec: ClusterSpec, name: str) -> int:
    leader = ClusterFolder(home / "clusters" / spec.key).machine(name).leader
    assert leader is not None
    return leader.pid


def test_a_cluster_trains_grows_shrinks_loses_its_head_and_leaves_only_its_run(
    provider: LocalProvider, home: Path, archives: Archives, tmp_path: Path
) -> None:
    spec = spec_of(archives)
    launch(provider, spec, archives)
    wait_for(lambda: generation(provider) >= 1, "generation")
    state = provider.cluster("oak", "ada")
    assert (state.state, state.key, state.usd_per_hour) == ("running", spec.key, 0.0)
    assert names(state) == [("head", "running"), ("worker-0", "running")]

    provider.resize(state, 2)
    both = [("head", "running"), ("worker-0", "running"), ("worker-1", "running")]
    assert names(provider.cluster("oak", "ada")) == both
    provider.resize(state, 1)
    assert names(provider.cluster("oak", "ada")) == both[:2]
    assert birth_of(leader_of(home, spec, "worker-1")) is None

    os.kill(leader_of(home, spec, "head"), signal.SIGKILL)
    wait_for(lambda: provider.cluster("oak", "ada").state == "stopped", "lost head")
    before = generation(provider)
    provider.resize(state, 1)
    wait_for(lambda: generation(provider) > before, "generation of the head that came after")

    (run,) = provider.fetch(state, tmp_path / "runs")
    assert provider.kill(state, lambda line: None) == []
    assert machines_at_work(home) == {}
    folder = home / "clusters" / spec.key
    assert [path.name for path in folder.iterdir()] == ["store"]
    assert provider.cluster("oak", "ada").state == "killed"
    assert provider.fetch(state, tmp_path / "runs") == [run]
    assert (run / "journal" / "log").stat().st_size > 0
    assert provider.kill(state, lambda line: None) == []


def test_a_run_that_ends_ends_its_machines(provider: LocalProvider, archives: Archives) -> None:
    launch(provider, spec_of(archives, "sphere num_generations=3 seed=3"), archives)
    state = provider.cluster("oak", "ada")
    told = [line.text for line in provider.log(state, None, 1000, follow=True)]
    assert any("theta_sha256" in line for line in told)
    wait_for(lambda: provider.cluster("oak", "ada").state == "ended", "end")
    state = provider.cluster("oak", "ada")
    assert state.ended is not None
    assert (state.ended.why, state.machines) == ("completed", ())
    with pytest.raises(ConfigError, match="oak has ended: launch another"):
        provider.resize(state, 3)


def test_an_experiment_that_cannot_begin_ends_its_cluster_and_says_why(
    provider: LocalProvider, archives: Archives
) -> None:
    launch(provider, spec_of(archives, "no_such_config"), archives)
    state = provider.cluster("oak", "ada")
    told = [line.text for line in provider.log(state, None, 1000, follow=True)]
    assert any("no_such_config" in line for line in told)
    wait_for(lambda: provider.cluster("oak", "ada").state == "ended", "end")
    ended = provider.cluster("oak", "ada").ended
    assert ended is not None
    assert ended.why == "failed"
    assert provider.kill(state, lambda line: None) == []
    assert provider.clusters("ada") == []


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_launch_that_is_broken_off_leaves_nothing(
    provider: LocalProvider,
    home: Path,
    archives: Archives,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    start, started = machines.start, []

    def breaking(*words: object, **options: object) -> object:
        if len(started) == after:
            raise Interrupted
        started.append(start(*words, **options))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(machines, "start", breaking)
    with pytest.raises(Interrupted):
        launch(provider, spec_of(archives, size=2), archives)
    assert len(started) == after
    assert machines_at_work(home) == {}
    assert list((home / "clusters").iterdir()) == []


def test_a_launch_whose_process_was_killed_is_listed_and_killed(
    provider: LocalProvider, home: Path, archives: Archives
) -> None:
    spec = spec_of(archives)
    launch(provider, spec, archives)
    (home / "clusters" / spec.key / "launched").unlink()
    (home / "clusters" / spec.key / "machines" / "worker-0" / "leader.json").unlink()
    state = provider.cluster(spec.key, "ada")
    assert state.state == "half-launched"
    assert provider.kill(state, lambda line: None) == []
    assert machines_at_work(home) == {}


def test_processes_whose_cluster_was_deleted_are_orphans_and_can_be_killed(
    provider: LocalProvider, home: Path, archives: Archives
) -> None:
    spec = spec_of(archives)
    launch(provider, spec, archives)
    folder = home / "clusters" / spec.key
    assert provider.orphans(None) == []
    folder.rename(home / "elsewhere")
    assert any(f"of {spec.key}/machines/head" in line for line in provider.orphans(None))
    assert provider.kill(provider.cluster(spec.key, None), lambda line: None) == []
    assert provider.orphans(None) == []


def test_clusters_are_told_apart_by_owner_and_name(
    provider: LocalProvider, archives: Archives
) -> None:
    launch(provider, spec_of(archives, size=0), archives)
    assert [state.name for state in provider.clusters("ada")] == ["oak"]
    assert provider.clusters("bob") == []
    with pytest.raises(ConfigError, match="oak is ada's: say --owner=ada"):
        provider.cluster("oak", "bob")
    with pytest.raises(ConfigError, match="no cluster oka on this machine; did you mean oak"):
        provider.cluster("oka", "ada")
    with pytest.raises(ConfigError, match="oak has no worker-3"):
        provider.log(provider.cluster("oak", "ada"), 3, 10, follow=False)
    launch(provider, spec_of(archives, size=0), archives)
    with pytest.raises(ConfigError, match=r"oak is the name of 2 clusters: say oak-.* and oak-"):
        provider.cluster("oak", "ada")
    for state in provider.clusters("ada"):
        assert provider.kill(state, lambda line: None) == []


def test_a_plan_makes_nothing_and_shares_the_cores(
    provider: LocalProvider, home: Path, archives: Archives
) -> None:
    plan = provider.plan(spec_of(archives, size=2, workers_per_machine=None))
    assert plan.lines[0].startswith("1 head and 2 worker machines of this machine, ")
    assert (plan.usd_per_hour, plan.usd_at_most) == (0.0, 0.0)
    assert not home.exists()
    assert list(islice(provider.clusters(None), 1)) == []
