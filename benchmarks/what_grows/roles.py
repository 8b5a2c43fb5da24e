"""What each role needs besides time: memory, connections, and to be heard."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil
from one_head.whole_fleet import free_port
from what_grows.figures import WORKERS_A_MACHINE, Beats, Connections, Memory

from fleet import keys
from fleet.connection import connect
from fleet.head.claims import Claims
from fleet.head.machine_watch import MachineWatch
from fleet.heartbeat import Claim, Heartbeat, RelayBeat, WorkerBeat, encode_beat
from fleet.parent import dying_with
from fleet.server.redis_server import RedisServer

MB = 1e6
_ROOT = Path(__file__).resolve().parents[2]
_DIGEST = "0" * 32
_REPEATS = 20
_PATIENCE_S = 600.0
_TINY = ("pop_size=4", "validation_episodes=1", "max_ep_length=40")
_SIMULATORS: Mapping[str, Sequence[str]] = {
    "Box2D, lander": ("lander",),
    "MuJoCo, half_cheetah": ("half_cheetah", *_TINY),
    "OpenSim, walk": ("walk", *_TINY),
}


class Site(NamedTuple):
    """A head at its own Redis, a machine behind a relay, and workers beside the head."""

    server: psutil.Process
    port: int
    head: psutil.Process
    machine: psutil.Process
    direct: psutil.Process


def roles(*, quick: bool) -> tuple[list[Memory], Connections]:
    """Memory of each role, some generations into the newcomer's `lander`, and of children for each
    simulator; and everybody's connections to the head's Redis, over TCP.
    """
    found: list[Memory] = []
    connected: Connections | None = None
    for simulator, options in _SIMULATORS.items():
        if quick and connected is not None:
            break
        with site(options, generations=1 if quick else 3) as there:
            if connected is None:
                connected = _connections(there)
                found += [_memory(role, process) for role, process in _roles(there).items()]
            child = process_of(there.machine, "fleet.machine.child")
            found.append(_memory(f"child ({simulator})", child))
    assert connected is not None
    return found, connected


def _roles(there: Site) -> dict[str, psutil.Process]:
    return {
        "head": there.head,
        "head's Redis": there.server,
        "relay": process_of(there.machine, "fleet.relay.process"),
        "machine's Redis": process_of(there.machine, "valkey", "redis-server"),
        "supervisor": there.machine,
    }


def _connections(there: Site) -> Connections:
    count = _counting(there.port)
    return Connections(
        head=count(there.head),
        relay=count(process_of(there.machine, "fleet.relay.process")),
        direct_worker=count(process_of(there.direct, "fleet.machine.child")),
        direct_supervisor=count(there.direct),
    )


def beats_of(num_machines: int) -> Beats:
    """What hearing so many machines takes a head: medians and means of several times.

    Each has a relay and eight workers with a rollout in hand.
    """
    with RedisServer() as server, connect(server.url) as client:
        redis_process = psutil.Process(server.pid)
        num_bytes = 0
        with client.pipeline(transaction=False) as pipe:
            for beat in (one for number in range(num_machines) for one in _beats(number)):
                data = encode_beat(beat)
                num_bytes += len(data)
                # Of a time to come: they are to be fresh however long this takes.
                pipe.zadd(keys.MACHINES, {beat.machine: time.time() + 1e6})
                pipe.set(keys.machine(beat.machine), data)
            pipe.execute()
        watch = MachineWatch(client, lambda line: None)
        claims = Claims(_DIGEST, WORKERS_A_MACHINE * num_machines)
        cpu_s: list[float] = []
        redis_s = _cpu_s(redis_process)
        for _ in range(_REPEATS):
            started_s = time.process_time()
            watch.listen()
            claims.hear(watch.heard, time.monotonic())
            cpu_s.append(time.process_time() - started_s)
        redis_s = (_cpu_s(redis_process) - redis_s) / _REPEATS
        assert watch.num_workers == WORKERS_A_MACHINE * num_machines
    return Beats(num_machines, num_bytes, statistics.median(cpu_s), redis_s)


def _beats(number: int) -> Iterator[Heartbeat]:
    name, uid, size = f"host-{number}-{'0' * 8}", "1" * 32, WORKERS_A_MACHINE
    workers = tuple(
        WorkerBeat(
            f"{name}-{index}",
            True,
            run_uid=uid,
            rollouts=1000,
            env_steps=10**6,
            env_steps_per_s=1234.5,
            rss_mb=123.4,
            doing_s=1.234,
            claim=Claim(_DIGEST, size * number + index, size * number + index + 1),
        )
        for index in range(size)
    )
    yield Heartbeat(name, name, "0" * 16, workers)
    relay = RelayBeat("redis://head:6379/0", uid, 1000, 1000, 1000, 10**6, 10**6, 0.001)
    yield Heartbeat(f"{name}-relay", name, "0" * 16, relay=relay)


@contextmanager
def site(options: Sequence[str], generations: int) -> Iterator[Site]:
    """A real run after so many generations; it goes on meanwhile.

    Raises:
        SystemExit: it does not come so far.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        server = stack.enter_context(RedisServer(port=port))
        say = stack.enter_context((folder / "log").open("wb"))

        def start(script: str, *arguments: str) -> psutil.Process:
            return psutil.Process(stack.enter_context(_running([script, *arguments], say)).pid)

        at = (
            f"redis_url={server.url}",
            "workers=0",
            f"runs_dir={folder}",
            "num_generations=100000",
        )
        quiet = ("num_generations=100000", "max_wall_s=None", "mongo_url=off", "notify=off")
        head = start("experiment.py", "with", *options, *at, *quiet)
        machine = start("worker.py", "workers", f"--master_host={server.url}", "--num_workers=1")
        direct = start("worker.py", "start-workers", f"--redis_url={server.url}", "--num_workers=1")
        deadline_s = time.monotonic() + _PATIENCE_S
        while _generations(folder) < generations:
            if time.monotonic() > deadline_s or not head.is_running():
                raise SystemExit(f"no run: {(folder / 'log').read_text()[-1000:]}")
            time.sleep(0.1)
        yield Site(psutil.Process(server.pid), port, head, machine, direct)


@contextmanager
def _running(command: Sequence[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    script, *arguments = command
    process = subprocess.Popen(
        [sys.executable, _ROOT / "es" / script, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=dying_with(os.getpid(), signal.SIGTERM),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _generations(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/metrics.jsonl"))


def process_of(parent: psutil.Process, *names: str) -> psutil.Process:
    """The descendant whose command line has one of ``names`` in it.

    Raises:
        SystemExit: there is none.
    """
    for process in parent.children(recursive=True):
        if any(name in " ".join(process.cmdline()) for name in names):
            return process
    raise SystemExit(f"no {names[0]} below process {parent.pid}")


def _memory(role: str, process: psutil.Process) -> Memory:
    found = process.memory_full_info()
    click.echo(f"{role}: {found.uss / MB:.0f} MB, with shared {found.pss / MB:.0f} MB", err=True)
    return Memory(role, found.uss / MB, found.pss / MB)


def _counting(port: int) -> Callable[[psutil.Process], int]:
    def count(process: psutil.Process) -> int:
        return sum(
            one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port
            for one in process.net_connections("tcp")
        )

    return count


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)
