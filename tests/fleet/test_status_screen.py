"""One screen, whatever is on the Redis: nothing scrolls, nothing is obeyed, trouble comes first."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec
import pytest
import redis
from fleet_picture import REPORT, URL, Seen, declare, look, machine, relay, screen, send, worker
from real_fleet import experiment_of
from rich.cells import cell_len

from fleet import keys
from fleet.connection import Client, connect
from fleet.heartbeat import Heartbeat, RelayBeat, encode_beat
from fleet.run_report import encode_report
from fleet.server.redis_server import RedisServer
from fleet.status.overview_lines import document, lines
from fleet.status.overview_watch import Link
from search.messages import encode

SIZES = [(80, 24), (120, 40), (60, 15), (200, 60), (80, 8)]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    with connect(server.url) as client:
        client.flushall()
        yield client


def fleet(client: Client, machines: int, workers: int = 8) -> str:
    """That many machines at work on one run; the run's uid."""
    run = declare(client, tasks=40)
    for number in range(machines):
        beats = (worker(run_uid=run.run_uid, doing_s=1.0, rollouts=500) for _ in range(workers))
        machine(client, *beats, host=f"gpu{number}")
        relay(client, f"gpu{number}", run_uid=run.run_uid, records=100, batches=10)
    return run.run_uid


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("machines", [0, 1, 3, 180])
def test_everything_fits_the_terminal(client: Client, machines: int, size: tuple[int, int]) -> None:
    fleet(client, machines)
    machine(client, worker(last_error="e" * 400, refusal="r" * 400), host="h" * 60, silence_s=9)
    found = screen(look(client), *size)
    assert len(found) <= size[1]
    assert max(map(cell_len, found)) <= size[0]


def test_relays_of_like_names_leave_room_for_where_their_work_comes_from(client: Client) -> None:
    for number in range(2):
        name = f"vm-1494{number}-7df6fe3{number}-relay"
        beat = RelayBeat(upstream="rediss://10.0.0.5:6379/0")
        send(client, Heartbeat(name, "vm", "c0de", relay=beat), silence_s=8 * number)
    silent, heard = screen(look(client))[-2:]
    assert heard.startswith("vm-1494")
    assert heard.endswith("  10.0.0.5:6379")
    assert silent.endswith("  silent 8.0 s")
    assert heard.split()[0] != silent.split()[0]


def test_few_workers_have_a_line_each(client: Client) -> None:
    fleet(client, 2, workers=3)
    found = screen(look(client), 80, 24)
    assert sum("  worker " in line and "rollout 1.0 s" in line for line in found) == 6
    assert any(line.startswith("gpu1 ") and "3/3" in line for line in found)


def test_many_machines_are_counted_after_the_troubled_ones(client: Client) -> None:
    fleet(client, 180)
    dead = worker(is_up=False, deaths=4, last_error="worker 3 was killed by SIGSEGV")
    machine(client, worker(), dead, host="gpu77")
    machine(client, worker(), host="gpu88", silence_s=8)
    found = screen(look(client))
    text = "\n".join(found)
    assert "180 machines, 1427 workers · 1425 up" in text
    names = [line.split()[0] for line in found if line.startswith("gpu")]
    assert names[:4] == ["gpu88", "gpu77", "gpu0", "gpu1"]
    assert "worker 3 was killed by SIGSEGV" in text
    assert f"and {180 - len(names)} more machines" in text
    assert "all well" in text
    assert "180 relays" in text


def test_a_run_shows_how_far_it_is_and_what_went_wrong(client: Client) -> None:
    report = msgspec.structs.replace(REPORT, failed=2, reissued=5, lost=1, audited=12, disagreed=3)
    declare(client, report, tasks=40)
    machine(client, worker())
    text = "\n".join(screen(look(client)))
    for part in (
        "run 7  Trouble-v0", "head at work on boss:42", "generation 12", "143/200",
        "12.5 rollouts/s", "40 tasks, 0 reissues", "2 failed", "5 reissued", "1 lost",
        "3 disagreed", "12 audited",
    ):  # fmt: skip
        assert part in text
    assert "stopped" not in text


def test_many_runs_have_a_line_each_and_the_rest_is_counted(client: Client) -> None:
    for number in range(20):
        declare(client, msgspec.structs.replace(REPORT, run_id=str(number)))
    found = screen(look(client))
    shown = [line for line in found if line.startswith("run ") and "143/200" in line]
    assert shown
    assert any(f"and {20 - len(shown)} more runs" in line for line in found)


def test_a_terminal_without_unicode_gets_none(client: Client) -> None:
    fleet(client, 30)
    machine(client, worker(last_error="Grüße vom Knie"), host="gpu-ä")
    found = screen(look(client), encoding="ascii")
    assert any("#" in line and "143/200" in line for line in found)


EVIL = "\x1b]0;gone\x07\x1b[2J\x1b[31m[bold red]x[/]\r\n\x00\x9b31m\u202egnp.exe\u2028" + "界" * 90


def evil_text(limit: int) -> str:
    return EVIL[:limit]


def assert_harmless(seen: Seen) -> None:
    """Nothing that a terminal obeys is left, in any form; markup is text like any other."""
    shown = [*screen(seen), *screen(seen, 200, 60), *lines(seen.overview, seen.why, URL)]
    shown.append(document(seen.overview, seen.why, URL))
    for line in shown:
        assert line.isprintable(), repr(line)
    assert max(cell_len(line) for line in screen(seen)) <= 80


def test_texts_from_the_wire_cannot_steer_a_terminal(client: Client) -> None:
    evil = evil_text(500)
    report = msgspec.structs.replace(
        REPORT, run_id=evil, env=evil, host=evil, first_error=evil, note=evil, failed=3000
    )
    run = declare(client, report, code_version=evil)
    beat = worker(run_uid=evil_text(32), last_error=evil, refusal=evil, rss_mb=float("nan"))
    send(client, Heartbeat("m-1", evil, evil, (beat,), last_error=evil))
    relay(client, evil, run_uid=evil_text(32), last_error=evil, lag_s=float("inf"))
    client.zadd(keys.MACHINES, {evil: 9e99, b"\xff\x1b[2J": 0})
    client.set(keys.open_generations(run.run_uid), "4" * 9000 + ",5,x,\x1b[2J,9" + "9" * 20)
    seen = look(client)
    assert_harmless(seen)
    assert "[bold red]x[/]" in "\n".join(lines(seen.overview, seen.why, URL))


def corruptions(run_uid: str) -> list[Callable[[Client, str], object]]:
    """Ways to put something else under a key."""
    rng = random.Random(run_uid)
    good = [
        encode(experiment_of(None)),  # type: ignore[arg-type]
        encode_report(REPORT),
        encode_beat(Heartbeat("m", "h", "v", (worker(),))),
    ]

    def mutated() -> bytes:
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)

    return [
        lambda c, key: c.set(key, rng.randbytes(rng.randrange(300))),
        lambda c, key: c.set(key, mutated()),
        lambda c, key: c.set(key, rng.choice(good)),
        lambda c, key: c.set(key, b"\x91" * 300_000),
        lambda c, key: c.rpush(key, b"x"),
        lambda c, key: c.hset(key, "a", "b"),
        lambda c, key: c.zadd(key, {rng.randbytes(20): float("inf"), "f" * 32: -1e300}),
    ]


def test_hostile_bytes_under_any_key_break_nothing(client: Client) -> None:
    for turn in range(4):
        client.flushall()
        uid = declare(client, tasks=1).run_uid
        name = machine(client, worker(run_uid=uid))
        client.zadd(keys.crew(uid), {"w": 1})
        places = [
            keys.RUNS, keys.MACHINES, keys.machine(name), keys.head(uid), keys.experiment(uid),
            keys.open_generations(uid), keys.tasks(uid, 12), keys.reissues(uid, 12),
            keys.records(uid), keys.crew(uid), keys.report(uid), keys.RELAY,
        ]  # fmt: skip
        for key in places:
            for corrupt in corruptions(f"{turn}{key}"):
                saved = client.dump(key)
                client.delete(key)
                corrupt(client, key)
                assert_harmless(look(client))
                client.delete(key)
                if saved is not None:
                    client.restore(key, 0, saved)


def test_a_key_that_cannot_be_read_is_named(client: Client) -> None:
    run = declare(client)
    name = machine(client, worker())
    client.set(keys.report(run.run_uid), b"another release's")
    client.set(keys.machine(name), b"another release's")
    text = look(client).text("garbled")
    assert keys.report(run.run_uid) in text
    assert keys.machine(name) in text
    assert "same release" in text


def test_the_link_says_since_when_redis_is_gone_and_when_it_is_back() -> None:
    link = Link().asked(10.0)
    assert link.news(11.0) is None
    assert link.news(15.0) == ("Redis has not answered for 5.0 s", True)
    lost = link.failed(20.0, redis.ConnectionError("Connection\x1b refused."))
    lost = lost.asked(21.0).failed(22.0, redis.ConnectionError("Connection refused."))
    news = lost.news(32.0)
    assert news is not None
    assert news[0].startswith("Redis is out of reach for 12 s (Connection refused)")
    back = lost.answered(35.0)
    assert back.news(36.0) == ("Redis is back after 15 s", False)
    assert back.answered(50.0).news(50.0) is None
