"""``status`` says what is there and, where nothing moves, why and what to do."""

from __future__ import annotations

import doctest
import json
import timeit
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fleet_picture import REPORT, URL, Seen, declare, look, machine, relay, worker
from redis import ConnectionPool, Redis, UnixDomainSocketConnection

from errors import ServiceUnavailable
from fleet import figures, heartbeat, keys
from fleet.connection import Client, connect
from fleet.flush import flush_everything
from fleet.head.head_broker import HeadBroker
from fleet.security.access import Access
from fleet.server.redis_server import RedisServer
from fleet.status.overview_lines import document, lines
from fleet.status.readings import read
from search.code_version import code_version

OTHER = "0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    with connect(server.url) as client:
        client.flushall()
        yield client


def printed(seen: Seen) -> list[str]:
    return list(lines(seen.overview, seen.why, URL))


def test_an_empty_redis_wants_a_run_and_workers(client: Client) -> None:
    seen = look(client)
    assert seen.stopping == ["no-run", "no-workers"]
    assert "python es/experiment.py" in seen.text("no-run")
    assert "was started" in seen.text("no-run")
    assert "python es/worker.py start-workers" in seen.text("no-workers")


def test_where_all_is_well_nothing_is_said(client: Client) -> None:
    run = declare(client, tasks=3)
    machine(client, worker(run_uid=run.run_uid, doing_s=0.5), worker())
    relay(client, run_uid=run.run_uid)
    assert not look(client).why


def test_a_run_without_workers_is_not_without_a_run(client: Client) -> None:
    declare(client)
    assert look(client).stopping == ["no-workers"]


def test_workers_that_never_come_up_are_not_called_missing(client: Client) -> None:
    declare(client)
    machine(client, worker(is_up=False, deaths=9, last_error="worker 0 was killed by SIGILL"))
    assert look(client).stopping == ["workers-down"]
    assert "SIGILL" in look(client).text("workers-down")


def test_workers_of_another_version_are_named_with_both_versions(client: Client) -> None:
    declare(client)
    machine(client, worker(), worker(), version=OTHER, host="old1")
    seen = look(client)
    assert seen.stopping == ["other-version"]
    for part in ("2 workers", "old1", OTHER, code_version(), "run 7"):
        assert part in seen.text("other-version")
    machine(client, worker(), host="new1")
    assert not look(client).stopping
    assert "old1" in look(client).text("other-version")


def test_two_releases_side_by_side_are_no_trouble(client: Client) -> None:
    declare(client)
    declare(client, code_version=OTHER, report=msgspec.structs.replace(REPORT, run_id="8"))
    machine(client, worker(), version=OTHER, host="old1")
    machine(client, worker(), host="new1")
    assert not look(client).why


def test_workers_that_refuse_the_run_are_named_with_their_reason(client: Client) -> None:
    run = declare(client)
    why = f"cannot serve run {run.run_uid[:8]}: no environment Trouble-v0: install it"
    machine(client, worker(refusal=why), worker(refusal=why))
    seen = look(client)
    assert seen.stopping == ["refused"]
    assert seen.text("refused") == (
        "2 workers on gpu1 refuse run 7: no environment Trouble-v0: install it"
    )
    machine(client, worker(refusal=why), worker(run_uid=run.run_uid, doing_s=0.1))
    assert not look(client).stopping


def test_a_refusal_of_another_run_is_not_this_ones_trouble(client: Client) -> None:
    declare(client)
    machine(client, worker(refusal=f"cannot serve run {'f' * 8}: no"), worker())
    assert "refused" not in look(client).kinds


def test_all_rollouts_failing_comes_with_the_first_error(client: Client) -> None:
    error = "the episode raised ValueError: the knee is inside out"
    report = msgspec.structs.replace(REPORT, rollouts=5, failed=5, first_error=error)
    declare(client, report)
    machine(client, worker())
    assert look(client).stopping == ["all-failing"]
    assert "all 5 rollouts of run 7" in look(client).text("all-failing")
    assert error in look(client).text("all-failing")
    flush_everything(client)
    declare(client, msgspec.structs.replace(report, rollouts=8))
    machine(client, worker())
    assert not look(client).stopping
    assert "5 of 8 rollouts" in look(client).text("many-failing")


def test_failures_show_before_any_of_them_is_final(client: Client) -> None:
    started = msgspec.structs.replace(REPORT, rollouts=0, rollouts_per_s=0.0)
    run = declare(client, started)
    machine(
        client, worker(run_uid=run.run_uid, rollouts=4, failures=4, last_error="the knee is out")
    )
    assert "the knee is out" in look(client).text("all-failing")


def test_a_head_that_is_gone_is_missed_since_its_last_beat(client: Client) -> None:
    declare(client, silence_s=125)
    machine(client, worker())
    seen = look(client)
    assert seen.stopping == ["head-gone"]
    assert "run 7 on boss" in seen.text("head-gone")
    assert "(2 min ago)" in seen.text("head-gone")
    assert "resume=7" in seen.text("head-gone")
    assert not seen.overview.runs[0].is_at_work


def test_runs_that_ended_long_ago_are_only_counted(client: Client) -> None:
    declare(client, silence_s=4000)
    declare(client, silence_s=1e9)
    seen = look(client)
    assert not seen.overview.runs
    assert seen.overview.num_old_runs == 2
    assert "no-run" in seen.kinds
    assert "old-runs 2" in printed(seen)


def test_a_relay_in_trouble_is_named_with_its_upstream(client: Client) -> None:
    run = declare(client)
    machine(client, worker(run_uid=run.run_uid, doing_s=0.1))
    relay(client, run_uid=run.run_uid, last_error="Connection refused")
    seen = look(client)
    assert seen.stopping == ["relay-cut-off"]
    for part in ("gpu1", "redis://boss:6379/0", "Connection refused"):
        assert part in seen.text("relay-cut-off")
    relay(client, "gpu2")
    assert not look(client).stopping


def test_behind_a_relay_a_silent_head_may_be_a_relay_that_is_cut_off(client: Client) -> None:
    declare(client, report=None, silence_s=60)
    machine(client, worker())
    assert look(client).stopping == ["head-gone"]
    client.set(keys.RELAY, b"lock")
    assert look(client).stopping == ["relay-cut-off"]
    assert "the one above" in look(client).text("relay-cut-off")


def test_a_redis_that_was_emptied_is_not_taken_for_the_end_of_a_run(client: Client) -> None:
    run = declare(client)
    machine(client, worker())
    before = look(client)
    flush_everything(client)
    seen = look(client, before)
    assert seen.stopping[0] == "redis-emptied"
    assert "run 7 was here" in seen.text("redis-emptied")
    assert "redis-emptied" in look(client, seen).kinds
    HeadBroker(client, run.run_uid).declare(b"again")
    assert "was here" not in str(look(client, seen).why)


def test_a_run_that_was_withdrawn_is_simply_over(client: Client) -> None:
    run = declare(client)
    before = look(client)
    HeadBroker(client, run.run_uid).withdraw()
    assert look(client, before).stopping == ["no-run", "no-workers"]


def test_who_works_for_a_run_that_is_missing_is_enough_to_miss_it(client: Client) -> None:
    machine(client, worker(run_uid="ab" * 16))
    assert look(client).stopping == ["redis-emptied"]
    assert "abababab" in look(client).text("redis-emptied")


def test_a_run_of_which_redis_has_lost_a_part_waits_for_its_head(client: Client) -> None:
    run = declare(client)
    machine(client, worker())
    client.delete(keys.experiment(run.run_uid))
    assert look(client).stopping == ["redis-emptied"]
    assert "lost part of run 7" in look(client).text("redis-emptied")


def test_a_machine_that_vanished_is_remembered_and_one_that_left_is_not(client: Client) -> None:
    declare(client)
    machine(client, worker(), host="stays")
    name = machine(client, worker(), worker(), host="lost", silence_s=8)
    left = machine(client, worker(), host="left")
    before = look(client)
    assert "lost (2 workers) not heard of for 8.0 s" in before.text("silent-machine")
    assert not before.stopping
    client.zrem(keys.MACHINES, name)
    heartbeat.retract(client, left)
    seen = look(client, before)
    assert [m.host for m in seen.overview.machines] == ["lost", "stays"]
    assert "lost" in seen.text("silent-machine")
    assert "left" not in seen.text("silent-machine")


@pytest.mark.parametrize(
    ("facts", "tasks", "kind", "part"),
    [
        ({"doing_s": 300.0}, 0, "long-rollouts", "the longest for 5 min"),
        ({}, 5, "unserved", "nobody serves run 7"),
        ({}, 0, "unanswered", "57 rollouts that nobody has in hand"),
    ],
)
def test_a_run_at_which_nothing_comes_in_says_what_it_waits_for(
    client: Client, facts: dict[str, float], tasks: int, kind: str, part: str
) -> None:
    run = declare(client, msgspec.structs.replace(REPORT, rollouts_per_s=0.0), tasks=tasks)
    uid = run.run_uid if facts else ""
    machine(client, worker(run_uid=uid, **facts))
    assert look(client).stopping == [kind]
    assert part in look(client).text(kind)


def test_workers_of_another_run_are_said_to_be_with_it(client: Client) -> None:
    idle = msgspec.structs.replace(REPORT, rollouts_per_s=0.0)
    declare(client, idle, tasks=5)
    other = declare(client, msgspec.structs.replace(REPORT, run_id="8"), tasks=5)
    machine(client, worker(run_uid=other.run_uid, doing_s=0.2))
    assert "all serve run 8" in look(client).text("unserved")


def test_what_a_user_may_not_read_is_said_and_not_taken_for_missing(
    server: RedisServer, client: Client
) -> None:
    declare(client)
    client.acl_setuser("looker", True, passwords=["+pw"], keys=[keys.RUNS], commands=["+@all"])
    client.acl_setuser("blind", True, passwords=["+pw"], commands=["+info"])
    with connect(server.url, access=Access("looker", "pw")) as looker:
        assert "head's password" in look(looker).text("denied")
    with (
        connect(server.url, access=Access("blind", "pw")) as blind,
        pytest.raises(ServiceUnavailable, match="does not let this user look"),
    ):
        read(blind)


class CountingConnection(UnixDomainSocketConnection):
    """Counts what is sent in one piece, which is what has to be waited for."""

    round_trips = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        CountingConnection.round_trips += 1
        super().send_packed_command(command, check_health)


def test_a_large_fleet_is_read_in_three_round_trips(server: RedisServer, client: Client) -> None:
    run = declare(client)
    for number in range(180):
        workers = (worker(run_uid=run.run_uid, doing_s=1.0) for _ in range(8))
        machine(client, *workers, host=f"gpu{number}")
        relay(client, f"gpu{number}", run_uid=run.run_uid)
    path = server.url.removeprefix("unix://")
    with Redis.from_pool(ConnectionPool(CountingConnection, path=path)) as counted:
        counted.ping()
        CountingConnection.round_trips = 0
        assert len(look(counted).overview.workers) == 1440
        assert CountingConnection.round_trips == 3
        times_s = [timeit.timeit(lambda: look(counted), number=1) for _ in range(5)]
    # 10 ms where nobody else is at work.
    assert min(times_s) < 0.2


def test_lines_have_one_thing_each_and_can_be_split_at_blanks(client: Client) -> None:
    run = declare(client, tasks=2)
    machine(client, worker(run_uid=run.run_uid, doing_s=1.5, last_error='a "b" c', rss_mb=99.5))
    relay(client, run_uid=run.run_uid, records=10, batches=2)
    found = printed(look(client))
    assert [line.split()[0] for line in found] == [
        "redis", "run", "queue", "machine", "worker", "relay",
    ]  # fmt: skip
    of_run, queue, of_machine, of_worker = (line.split() for line in found[1:5])
    assert {"head=at-work", "host=boss", "done=143", "total=200", "first_error=-"} <= set(of_run)
    assert queue == ["queue", "7", "generation=12", "tasks=2", "reissues=0"]
    assert {"up=1", "busy=1", "state=up"} <= set(of_machine)
    assert {"run=7", "doing_s=1.5", "rss_mb=99.5"} <= set(of_worker)
    assert r'last_error="a \"b\" c"' in found[4]


def test_json_holds_everything_on_one_line(client: Client) -> None:
    declare(client, tasks=2)
    machine(client, worker(), version=OTHER)
    seen = look(client)
    text = document(seen.overview, seen.why, URL)
    assert "\n" not in text
    found = json.loads(text)
    assert found["redis"] == URL
    assert found["runs"][0]["report"]["done"] == 143
    assert found["machines"][0]["workers"][0]["is_up"] is True
    assert found["why"][0]["kind"] == "other-version"


def test_figures_are_as_their_examples_say() -> None:
    assert doctest.testmod(figures).failed == 0
