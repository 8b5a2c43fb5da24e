"""Following a cluster's log: the last lines, then all that comes, until it has ended."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import msgspec
import pytest
from aws_clusters import Account, quiet
from moto_cloud import MotoCloud

from cluster.aws.names import Names, log_stream
from cluster.store import ENDED_KEY, Ended
from errors import ConfigError


class Machine:
    """What one machine says, to CloudWatch."""

    def __init__(self, account: Account, key: str, stream: str) -> None:
        self._logs = account.aws.logs
        self._where = {"logGroupName": Names(key, "").log_group, "logStreamName": stream}
        self._logs.create_log_stream(**self._where)
        self._time_ms = itertools.count(int(time.time() * 1000) - 60_000)

    def say(self, *lines: str) -> None:
        events = [{"timestamp": next(self._time_ms), "message": line} for line in lines]
        self._logs.put_log_events(**self._where, logEvents=events)


@pytest.fixture
def account(cloud: MotoCloud, tmp_path: Path) -> Account:
    return Account(cloud, tmp_path)


def test_tail_shows_the_last_lines_and_follows_until_the_cluster_has_ended(
    account: Account,
) -> None:
    spec = account.launch()
    state = account.provider.cluster("oak", "ada")
    head = Machine(account, spec.key, log_stream("head", state.machines[0].name))
    head.say(*(f"line {number}" for number in range(30)))
    lines = account.provider.log(state, None, 3, follow=True)
    assert [next(lines).text for _ in range(3)] == ["line 27", "line 28", "line 29"]
    head.say("line 30", "bad \x1b[31mred\x07")
    assert [next(lines).text for _ in range(2)] == ["line 30", "bad  [31mred"]

    # The head is replaced: its successor's stream is a new one.
    Machine(account, spec.key, log_stream("head", "i-0new")).say("begins", "ends")
    found = [next(lines), next(lines)]
    assert [(line.machine, line.text) for line in found] == [
        ("i-0new", "begins"),
        ("i-0new", "ends"),
    ]
    head.say("the very last")
    ended = Ended(time_s=spec.created_s, why="completed")
    account.provider.store(spec.key).put(ENDED_KEY, msgspec.json.encode(ended))
    assert [line.text for line in lines] == ["the very last"]


def test_each_worker_machine_has_a_log_of_its_own(account: Account) -> None:
    spec = account.launch()
    state = account.provider.cluster("oak", "ada")
    for machine in state.machines[1:]:
        Machine(account, spec.key, log_stream("worker", machine.name)).say(machine.name)
    for number in range(2):
        (line,) = account.provider.log(state, number, 10, follow=False)
        assert line.text == line.machine == state.machines[1 + number].name
    with pytest.raises(ConfigError, match=r"worker=2: oak has 2 worker machines"):
        list(account.provider.log(state, 2, 10, follow=False))


def test_a_machine_that_never_sent_a_log_shows_its_console(account: Account) -> None:
    account.launch()
    state = account.provider.cluster("oak", "ada")
    lines = list(account.provider.log(state, None, 5, follow=False))
    assert len(lines) == 5
    assert {line.machine for line in lines} == {state.machines[0].name}


def test_following_ends_when_the_cluster_is_killed(account: Account) -> None:
    account.launch()
    state = account.provider.cluster("oak", "ada")
    account.provider.kill(state, quiet)
    lines = list(account.provider.log(state, None, 5, follow=True))
    assert len(lines) == 5  # of its console: there is no log any more


def test_runs_come_home_from_the_bucket(account: Account, tmp_path: Path) -> None:
    spec = account.launch()
    runs = tmp_path / "runs"
    (runs / "1").mkdir(parents=True)
    assert account.provider.fetch(account.provider.cluster("oak", "ada"), runs) == []
    account.provider.store(spec.key).put("runs/1/config.json", b"{}")
    (path,) = account.provider.fetch(account.provider.cluster("oak", "ada"), runs)
    assert path == runs / "2"
    assert (path / "config.json").exists()
