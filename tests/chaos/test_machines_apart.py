"""Two relays and three machines, each in a network of its own where this system permits."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from chaos_head import SLOW, Head, reference
from chaos_machine import INCLUDE, ROOT, Command, kept
from conditions import IS_FULL
from heads_redis import free_port
from networks import Networks, Place
from own_processes import Mark
from real_fleet import wait_for

from errors import ServiceUnavailable
from fleet import heartbeat
from fleet.connection import connect
from fleet.security.access import Access

RUN = (*SLOW, "num_generations=5")
HEADS, WORKERS, MIRRORS = (secrets.token_hex(8) for _ in range(3))
FOR_HEAD = {"ES_REDIS_PASSWORD": HEADS}
FOR_WORKER = {"ES_REDIS_WORKER_PASSWORD": WORKERS}
FOR_MIRROR = {"ES_REDIS_PASSWORD": MIRRORS, "ES_REDIS_WORKER_PASSWORD": MIRRORS[::-1]}
FOR_RELAY = {**FOR_WORKER, "ES_MIRROR_PASSWORD": MIRRORS}
INCLUDED = f"--include={INCLUDE}"


def commands_of(
    folder: Path, sockets: Path, networks: Networks, mark: Mark, port: int
) -> list[Command]:
    """The first machine has `workers`: a relay of its own. The second has a relay whose Redis
    others may use too, and a worker. The third has a worker that uses it.
    """
    first, second, third = networks.places
    # In a network of its own any port is free.
    below = 6400 if networks.are_apart else free_port()
    mirror = f"--relay_socket_path={sockets / 'two'}"
    master = (f"--master_host={networks.head_address}", f"--master_port={port}", "--no_tls")
    own = f"--relay_socket_path={sockets / 'one'}"
    near, far = f"unix://{sockets / 'two'}", f"redis://{second.address}:{below}/0"

    def command(place: Place, environment: dict[str, str], name: str, *words: str) -> Command:
        log = folder / f"{len(made)}-{name}.log"
        made.append(Command(log, mark, name, *words, prefix=place.prefix, environment=environment))
        return made[-1]

    made: list[Command] = []
    command(first, FOR_WORKER, "workers", *master, own, "--num_workers=2", INCLUDED)
    open_to_others = (f"--port={below}", f"--bind={second.address}", "--no_tls")
    command(second, FOR_MIRROR, "run-mirror", mirror, *open_to_others)
    command(second, FOR_RELAY, "run-relay", *master, mirror)
    command(second, FOR_MIRROR, "start-workers", f"--redis_url={near}", "--num_workers=1", INCLUDED)
    command(third, FOR_MIRROR, "start-workers", f"--redis_url={far}", "--num_workers=1", INCLUDED)
    return made


@pytest.mark.timeout(240)
@pytest.mark.parametrize("overlap", [1, 0] if IS_FULL else [1])
def test_two_relays_and_three_machines_come_to_the_same_theta(tmp_path: Path, overlap: int) -> None:
    mark = Mark()
    run = (*RUN, f"overlap={overlap}")
    wanted = reference(tmp_path / "calm", mark, *run)
    with ExitStack() as stack:
        stack.callback(mark.end_all)
        networks = stack.enter_context(Networks(3))
        sockets = Path(tempfile.mkdtemp(prefix="es-chaos-"))
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        port = free_port(networks.head_address)
        server = run_server(tmp_path, mark, networks.head_address, port)
        stack.callback(server.wait)
        stack.callback(server.terminate)
        url = f"redis://{networks.head_address}:{port}/0"
        stack.enter_context(kept(*commands_of(tmp_path, sockets, networks, mark, port)))
        wait_for(lambda: num_workers(url) == 4, "the workers of all three machines")
        where = (f"redis_url={url}", "workers=0")
        head = Head(tmp_path / "runs", mark, *run, *where, environment=FOR_HEAD)
        stack.callback(head.end)
        head.start()
        result = head.result()
    for same in ("theta_sha256", "rollouts", "env_steps", "fitness_current"):
        assert result[same] == wanted[same]
    assert result["failed_rollouts"] == result["host_failures"] == 0
    assert not mark.left_running()


def run_server(folder: Path, mark: Mark, address: str, port: int) -> subprocess.Popen[bytes]:
    """The head's Redis by its command."""
    words = [sys.executable, str(ROOT / "es" / "head.py"), "run-server", "--no_tls"]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            [*words, f"--bind={address}", f"--port={port}"],
            env={**mark.environment, **FOR_HEAD, **FOR_WORKER},
            cwd=folder,
            stdout=log,
            stderr=log,
        )


def num_workers(url: str) -> int:
    """As the head's Redis has heard of them."""
    try:
        with connect(url, access=Access(password=HEADS)) as client:
            return sum(machine.num_workers for machine in heartbeat.fresh(client))
    except ServiceUnavailable:
        return 0
