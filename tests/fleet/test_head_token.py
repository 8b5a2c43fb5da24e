"""One head a run: the second is refused, a superseded one leaves, for a dead one nobody waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fed_by_hand import experiment, fed_by_hand
from real_fleet import DEADLINE_S, wait_for

from errors import RunLocked
from fleet import keys
from fleet.connection import Client, connect
from fleet.head import head_token
from fleet.head.head_token import HeadLease, HeadToken, decode_token, encode_token, this_place
from fleet.head.redis_pool import RedisPool
from fleet.server.redis_server import RedisServer

UID = "7" * 32
ELSEWHERE = "another machine"
HOLD_FOR_EVER = """
import sys, time
from errors import RunLocked
from fleet.connection import connect
from fleet.head.head_token import HeadLease
lease = HeadLease(connect(sys.argv[1]), sys.argv[2], "12")
while True:
    try:
        lease.renew()
    except RunLocked as error:
        sys.exit(error.exit_code)
    print("held", flush=True)
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    with connect(server.url) as client:
        client.flushall()
        yield client


def lease_of(client: Client, **options: Any) -> HeadLease:
    return HeadLease(client, UID, "12", **options)


def held(client: Client) -> HeadToken:
    token = decode_token(client.get(keys.head(UID)))
    assert token is not None
    return token


def start_holder(server: RedisServer) -> subprocess.Popen[bytes]:
    """A process that is the head, and says so."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_FOR_EVER, server.url, UID], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(DEADLINE_S)
    assert process.stdout is not None
    process.stdout.close()


def test_the_token_names_the_head_and_runs_out_soon(client: Client) -> None:
    lease = lease_of(client, host="here", pid=99)
    lease.acquire()
    token = held(client)
    assert (token.host, token.pid, token.place) == ("here", 99, this_place())
    assert 0 < client.pttl(keys.head(UID)) <= 5000
    seconds, microseconds = client.time()
    assert 0 <= seconds * 10**6 + microseconds - token.epoch < 10 * 10**6
    lease.release()
    assert client.get(keys.head(UID)) is None


def test_a_second_head_is_refused_in_one_line_that_names_the_first(
    server: RedisServer, client: Client
) -> None:
    holder = start_holder(server)
    try:
        started_s = time.monotonic()
        with pytest.raises(RunLocked) as caught:
            lease_of(client).acquire()
        line = str(caught.value)
        assert f"run 12 has another head (process {holder.pid} on {os.uname().nodename}, " in line
        assert " s old): stop that one" in line
        assert "\n" not in line
        assert time.monotonic() - started_s < DEADLINE_S
        assert held(client).pid == holder.pid
    finally:
        end(holder)


def test_a_head_that_was_killed_is_not_waited_for_where_it_ran(
    server: RedisServer, client: Client
) -> None:
    holder = start_holder(server)
    os.kill(holder.pid, signal.SIGKILL)
    dead = psutil.Process(holder.pid)
    wait_for(lambda: dead.status() == psutil.STATUS_ZOMBIE, "its death")
    waits: list[float] = []
    lease = lease_of(client, sleep=waits.append)
    lease.acquire()  # though nobody has collected its exit status
    assert waits == []
    assert held(client).pid == os.getpid()
    end(holder)


@pytest.mark.parametrize("place", [ELSEWHERE, ""])
def test_a_head_that_went_silent_elsewhere_is_waited_for_no_longer_than_its_token_lives(
    client: Client, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(head_token, "TTL_S", 0.5)
    lease_of(client, place=place, pid=2**22 + 1).acquire()
    slept_s: list[float] = []

    def sleep(seconds: float) -> None:
        slept_s.append(seconds)
        time.sleep(seconds)

    lease_of(client, sleep=sleep).acquire()
    assert slept_s
    assert sum(slept_s) < 0.8
    assert held(client).pid == os.getpid()


def test_a_head_at_work_elsewhere_is_known_by_its_renewing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_token, "RENEW_EVERY_S", 0.0)
    # Its process id is nobody's here, and that says nothing.
    other = lease_of(client, place=ELSEWHERE, pid=2**22 + 1, host="there")
    other.acquire()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.3):
            other.renew()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with pytest.raises(RunLocked, match="process 4194305 on there"):
            lease_of(client).acquire()
    finally:
        stop.set()
        thread.join()


def test_a_process_that_was_stopped_and_goes_on_ends_as_locked_out(
    server: RedisServer, client: Client
) -> None:
    holder = start_holder(server)
    try:
        os.kill(holder.pid, signal.SIGSTOP)
        wait_for(lambda: psutil.Process(holder.pid).status() == psutil.STATUS_STOPPED, "its stop")
        client.pexpire(keys.head(UID), 1)  # as after five seconds
        wait_for(lambda: not client.exists(keys.head(UID)), "its token to run out")
        lease_of(client).acquire()
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.wait(DEADLINE_S) == RunLocked.exit_code
        assert held(client).pid == os.getpid()
    finally:
        end(holder)


def test_a_head_that_was_paused_finds_its_successor_and_leaves(server: RedisServer) -> None:
    run = experiment()
    with fed_by_hand(server, run=run) as old:
        old.open(0)
        old.tick()
        old.client.delete(keys.head(old.uid))  # it was paused for longer than its token lives
        with fed_by_hand(server, run=run) as new:
            generation = new.open(0)
            queued = new.queued()
            for act in (
                lambda: old.tick(),
                lambda: old.open(1),
                lambda: old.pool.close(0),
            ):
                old.now_s += 10
                with pytest.raises(RunLocked) as caught:
                    act()
                assert f"run 1 has a later head (process {os.getpid()} on " in str(caught.value)
                assert "this one leaves" in str(caught.value)
            old.pool.shutdown()
            assert new.queued() == queued
            task = new.take()
            assert task is not None
            new.answer(generation, task)
            assert len(new.tick()) == 1
            new.tick()
            assert new.client.get(keys.open_generations(new.uid)) == b"0"


def test_records_that_a_paused_head_had_read_reach_its_successor(server: RedisServer) -> None:
    run = experiment()
    with fed_by_hand(server, run=run) as old:
        generation = old.open(0)
        task = old.take()
        assert task is not None
        old.answer(generation, task)
        assert len(old.tick(0.0)) == 1
        old.client.delete(keys.head(old.uid))
        with fed_by_hand(server, run=run) as new:
            new.open(0)
            assert [answer.rollout for answer in new.tick(0.0)] == [task.first]


def test_in_an_emptied_redis_the_later_of_two_heads_prevails(client: Client) -> None:
    now_s = [0.0]
    old = lease_of(client, clock=lambda: now_s[0])
    old.acquire()
    client.delete(keys.head(UID))
    new = lease_of(client, clock=lambda: now_s[0])
    new.acquire()
    client.flushall()
    now_s[0] += 2
    old.renew()  # the old one comes first, and cannot know
    assert held(client).epoch == decode_epoch(old)
    new.renew()
    now_s[0] += 2
    with pytest.raises(RunLocked, match="later head"):
        old.renew()
    assert old.is_lost
    assert not old.holds
    old.release()
    now_s[0] += 2
    new.renew()


def decode_epoch(lease: HeadLease) -> int:
    assert lease._token is not None
    return lease._token.epoch


def test_a_head_alone_in_an_emptied_redis_goes_on(client: Client) -> None:
    now_s = [0.0]
    lease = lease_of(client, clock=lambda: now_s[0])
    lease.acquire()
    before = client.get(keys.head(UID))
    client.flushall()
    lease.renew()  # not yet: it was renewed this second
    assert client.get(keys.head(UID)) is None
    now_s[0] += 1
    lease.renew()
    assert client.get(keys.head(UID)) == before


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xc1" * 10_000, b"\x84"])
def test_bytes_that_are_no_token_lock_nobody_out(client: Client, garbage: bytes) -> None:
    client.set(keys.head(UID), garbage)
    lease_of(client).acquire()
    assert held(client).pid == os.getpid()


def test_a_head_that_starts_while_redis_is_away_does_not_oust_another_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_token, "RENEW_EVERY_S", 0.0)
    tmp_path.chmod(0o700)
    run = experiment()
    with RedisServer(socket_path=tmp_path / "s") as server:
        late_client = connect(server.url)
    late = RedisPool(late_client, run)  # before the other, and says so to nobody
    with RedisServer(socket_path=tmp_path / "s") as server, fed_by_hand(server, run=run) as first:
        first.open(0)
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.3):
                first.tick()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            with pytest.raises(RunLocked, match="run 1 has another head"):
                late.results(0.01)
        finally:
            stop.set()
            thread.join()
        late.shutdown()
        assert first.client.exists(keys.experiment(first.uid), keys.head(first.uid)) == 2
    late_client.close()


def test_a_token_of_a_later_version_is_somebody_elses(client: Client) -> None:
    token = HeadToken(1, "h", 2, "p")
    assert decode_token(encode_token(token)) == token
    assert decode_token(encode_token(token) + b"x") is None
    assert decode_token(None) is None
