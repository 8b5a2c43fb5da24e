"""What a worker's password lets one do on a real server, and that it is nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import redis
from redis.exceptions import NoPermissionError

from errors import ServiceUnavailable
from fleet import heartbeat, keys
from fleet.connection import Client, connect
from fleet.heartbeat import Heartbeat
from fleet.machine.worker_broker import WorkerBroker
from fleet.security import acl
from fleet.security.access import Access
from fleet.server.redis_server import RedisServer

UID = "0123456789abcdef" * 2
HEADS, WORKERS = "the head's own word", "the workers' word"
REFUSED = "permissions|command not allowed|unknown subcommand"
ALWAYS = {"hello", "auth", "quit", "reset"}  # how anybody comes and goes, before any rule

KEYS = {
    "runs": keys.RUNS,
    "machines": keys.MACHINES,
    "machine": keys.machine("m-1"),
    "head": keys.head(UID),
    "experiment": keys.experiment(UID),
    "open": keys.open_generations(UID),
    "generation": keys.generation(UID, 7),
    "tasks": keys.tasks(UID, 7),
    "reissues": keys.reissues(UID, 7),
    "records": keys.records(UID),
    "crew": keys.crew(UID),
    "report": keys.report(UID),
    "relay": keys.RELAY,
    "theirs": "somebody:else",
}

# Every command of a worker with words that make it a whole one, and the keys it may be about.
READABLE = {"experiment", "open", "generation"}
QUEUES = {"tasks", "reissues"}
MAY: dict[tuple[str, ...], set[str]] = {
    ("GET", "K"): READABLE,
    ("MGET", "K"): READABLE,
    ("EXISTS", "K"): READABLE,
    ("ZRANGEBYSCORE", "K", "-inf", "+inf"): {"runs", "crew"},
    ("BLPOP", "K", "1"): QUEUES,
    ("LPOP", "K"): QUEUES,
    ("RPUSH", "K", "x"): {"records"},
    ("EXPIRE", "K", "60"): {"records", "crew"},
    ("ZADD", "K", "1", "m"): {"crew", "machines"},
    ("ZREM", "K", "m"): {"crew", "machines"},
    ("ZREMRANGEBYSCORE", "K", "0", "1"): {"machines"},
    ("SET", "K", "x"): {"machine"},
    ("DEL", "K"): {"machine"},
}

ATTACKS = [
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "SELECT 1",
    "SWAPDB 0 1",
    "CONFIG GET requirepass",
    "CONFIG SET dir /tmp",
    "EVAL return(1) 0",
    "FUNCTION LIST",
    "SCRIPT FLUSH",
    "MULTI",
    "MONITOR",
    "SUBSCRIBE es",
    "PUBLISH es x",
    "INFO",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "ACL LIST",
    "ACL SETUSER worker +@all",
    "SHUTDOWN NOSAVE",
    "DEBUG SLEEP 1",
    "MODULE LIST",
    "SLAVEOF 127.0.0.1 1",
    "REPLICAOF 127.0.0.1 1",
    "SYNC",
    "MIGRATE 127.0.0.1 1 k 0 1",
    "SAVE",
    "BGSAVE",
    f"SET {KEYS['machine']} x GET",
    f"MGET {KEYS['open']} {KEYS['records']}",
    f"BLPOP {KEYS['tasks']} {KEYS['records']} 1",
    f"DEL {KEYS['machine']} {KEYS['open']}",
    f"LRANGE {KEYS['records']} 0 -1",
    f"LLEN {KEYS['tasks']}",
    f"RPUSH {KEYS['tasks']} x",
    f"RENAME {KEYS['machine']} {KEYS['open']}",
    f"COPY {KEYS['open']} {KEYS['machine']}",
    f"OBJECT ENCODING {KEYS['records']}",
    f"SORT {KEYS['records']} STORE {KEYS['machine']}",
    f"RESTORE {KEYS['machine']} 0 x",
]


class Guarded(NamedTuple):
    """A server with a run on it, its head and a worker."""

    server: RedisServer
    head: Client
    worker: Client


@pytest.fixture(scope="module")
def guarded(every_binary: Path) -> Iterator[Guarded]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ES_REDIS_SERVER", str(every_binary))
        server = RedisServer(password=HEADS, worker_password=WORKERS)
    with server:
        head = connect(server.url, access=server.access)
        worker = connect(server.url, access=Access("worker", WORKERS))
        with head, worker:
            yield Guarded(server, head, worker)


@pytest.fixture(autouse=True)
def filled(guarded: Guarded) -> None:
    """Something of its own kind under every key."""
    head: Any = guarded.head
    head.flushall()
    for name in ("runs", "machines", "crew"):
        head.zadd(KEYS[name], {"m": 1.0})
    for name in ("tasks", "reissues", "records"):
        head.rpush(KEYS[name], "first", "second")
    for name in ("machine", "head", "experiment", "open", "generation", "report", "relay"):
        head.set(KEYS[name], "text")
    head.set(KEYS["theirs"], "text")


def everything(head: Any) -> dict[bytes, bytes]:
    return {key: head.dump(key) for key in head.scan_iter()}


def say(client: Any, words: list[str]) -> Any:
    return client.execute_command(*words)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_hurt_others_is_refused_and_changes_nothing(
    guarded: Guarded, attack: str
) -> None:
    before = everything(guarded.head)
    with pytest.raises(redis.ResponseError, match=REFUSED):
        say(guarded.worker, attack.split())
    assert everything(guarded.head) == before


def test_every_command_that_the_server_has_and_we_did_not_grant_is_refused(
    guarded: Guarded,
) -> None:
    """Whatever a later Redis brings, too: the server itself is asked what it has."""
    granted = {command for grant in acl.WORKER_GRANTS for command in grant.commands}
    untyped: Any = guarded.head
    names = [name.decode() for name in untyped.execute_command("COMMAND LIST")]
    assert len(names) > 200
    assert granted <= set(names)
    info = untyped.execute_command("COMMAND INFO", *names)
    arities = (
        info.values() if isinstance(info, dict) else (entry for entry in info if entry is not None)
    )
    before = everything(guarded.head)
    tried = 0
    for entry in arities:
        name, arity = _name_and_arity(entry)
        if name.partition("|")[0] in granted | ALWAYS:
            continue
        words = name.split("|")
        # The least words that it takes; all of them name what a worker may read and write.
        words += [KEYS["machine"]] * (abs(arity) - len(words))
        try:
            say(guarded.worker, words)
        except NoPermissionError:
            tried += 1
        except redis.ResponseError as error:
            if not re.search(REFUSED, str(error)):
                pytest.fail(f"{name} came as far as {error}")
        else:
            pytest.fail(f"{name} was let through")
    assert tried > 200
    assert everything(guarded.head) == before


def _name_and_arity(entry: Any) -> tuple[str, int]:
    if isinstance(entry, dict):
        name, arity = entry["name"], entry["arity"]
    else:
        name, arity = entry[0], entry[1]
    return (name.decode() if isinstance(name, bytes) else str(name)), int(arity)


@pytest.mark.parametrize("words", MAY, ids=lambda words: words[0])
def test_each_command_works_on_its_own_keys_and_on_no_other(
    guarded: Guarded, words: tuple[str, ...]
) -> None:
    for name, key in KEYS.items():
        spoken = [key if word == "K" else word for word in words]
        if name in MAY[words]:
            say(guarded.worker, spoken)
            continue
        before = everything(guarded.head)
        with pytest.raises(NoPermissionError):
            say(guarded.worker, spoken)
        assert everything(guarded.head) == before, spoken


def test_the_table_of_this_test_knows_every_command_that_is_granted() -> None:
    granted = {command for grant in acl.WORKER_GRANTS for command in grant.commands}
    assert granted == {words[0].lower() for words in MAY} | {"ping", "time"}


def test_a_worker_says_all_that_it_has_to_say(guarded: Guarded) -> None:
    head, worker = guarded.head, guarded.worker
    head.zadd(keys.RUNS, {UID: heartbeat.redis_time_s(head)})
    head.set(KEYS["open"], "7")
    broker = WorkerBroker(worker, "m-1-0")
    assert [run.uid for run in broker.live_runs()] == [UID]
    assert broker.experiment(UID) == b"text"
    assert broker.generation(UID, 7) == b"text"
    assert broker.open_numbers(UID) == [7]
    broker.join(UID)
    assert broker.exchange(UID, b"answers", [7, 8]) == (b"first", [7])
    broker.send(UID, b"more")
    broker.leave(UID)
    assert head.lrange(KEYS["records"], -2, -1) == [b"answers", b"more"]
    heartbeat.send(worker, Heartbeat("m-1", "m", "1"))
    assert [beat.machine for beat in heartbeat.fresh(head)] == ["m-1"]
    heartbeat.retract(worker, "m-1")
    assert heartbeat.fresh(head) == []


def test_a_generation_of_40_mb_reaches_a_worker(guarded: Guarded) -> None:
    theta = bytes(40_000_000)
    guarded.head.set(KEYS["generation"], theta)
    assert guarded.worker.get(KEYS["generation"]) == theta


def flood(worker: Client) -> None:
    for _ in range(100):
        worker.rpush(KEYS["records"], bytes(1_000_000))


def test_a_server_that_is_full_refuses_and_stays(guarded: Guarded) -> None:
    memory = guarded.head.info("memory")
    assert 0 < memory["maxmemory"] < psutil.virtual_memory().total
    assert memory["maxmemory_policy"] == "noeviction"
    guarded.head.config_set("maxmemory", "20mb")
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            flood(guarded.worker)
        assert guarded.head.lpop(KEYS["records"]) == b"first"
    finally:
        guarded.head.config_set("maxmemory", memory["maxmemory"])


def test_the_server_knows_only_hashes_and_its_argv_nothing(guarded: Guarded) -> None:
    rules = " ".join(str(line) for line in guarded.head.acl_list())
    words = psutil.Process(guarded.server.pid).cmdline()
    for password in (HEADS, WORKERS):
        assert password not in rules
        assert password not in " ".join(words)
        assert acl.hashed(password)[1:] in rules
    assert words[1:] in (["-"], [], ["unixsocket:" + guarded.server.url.removeprefix("unix://")])


def test_nobody_comes_in_without_a_word_or_with_another_ones(guarded: Guarded) -> None:
    for access in (
        Access(),
        Access(password="guess"),
        Access(password=WORKERS),
        Access("worker", HEADS),
        Access("nobody", WORKERS),
    ):
        with pytest.raises(ServiceUnavailable, match="password"):
            connect(guarded.server.url, access=access)


def test_an_old_server_that_cannot_hold_workers_to_rules_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "redis-server"
    old.write_text('#!/bin/sh\necho "Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64"\n')
    old.chmod(0o700)
    monkeypatch.setenv("ES_REDIS_SERVER", str(old))
    with pytest.raises(ServiceUnavailable, match=r"6\.2\.14.*expected Redis 7\.0 or Valkey"):
        RedisServer(password=HEADS, worker_password=WORKERS)
