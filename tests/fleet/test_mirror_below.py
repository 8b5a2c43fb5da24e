"""Machines that get their work from a machine, and not from the head: what is printed is typed."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import GIVEN_VARIABLE
from real_fleet import DEADLINE_S, generation_of, of_run, said, seeds_of, wait_for
from real_machine import Machine, Site, free_port, started

from fleet import heartbeat
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from fleet.machine.mirror import Below, Mirror
from fleet.security.credentials import Credentials, Given, credentials_for
from fleet.security.find_access import find_mirror_access
from fleet.security.invitation import invitation_of_workers
from fleet.server import server_file
from fleet.server.redis_server import BINARY_VARIABLE, RedisServer

TLS_SERVER = os.environ.get(GIVEN_VARIABLE) or shutil.which("redis-server")
PLAINLY = [] if TLS_SERVER else ["--no_tls"]
TOLERATED = {"info", "client|setinfo", "client|maint_notifications"}
"""What a client tries at first and does without."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with Site.opened(tmp_path) as opened:
        opened.server.stop()
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(opened.runtime))
        if TLS_SERVER:
            monkeypatch.setenv(BINARY_VARIABLE, TLS_SERVER)
        yield opened


class Elsewhere:
    """A machine that knows what was copied there, and nothing else."""

    def __init__(self, site: Site, name: str, stack: ExitStack) -> None:
        self.site, self.stack = site, stack
        self.home = site.runtime / name
        self.home.mkdir(mode=0o700)
        self.port = free_port()

    def start(self, *words: str) -> Machine:
        """``python es/worker.py`` with these words; ended at the end of the test."""
        environment = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"), str(self.home))
        return self.stack.enter_context(started(self.site, words, environment))

    def invited(self, lines: list[str], port: int) -> list[str]:
        """The words after ``python es/worker.py workers``, once scp has done what was printed."""
        (copied,) = (shlex.split(line) for line in lines if line.startswith("  scp "))
        for file in copied[1:-1]:
            shutil.copy(file, self.home)
        (line,) = (line for line in lines if line.startswith("  python es/worker.py workers "))
        assert line.split()[4] == f"--master_port={port}"
        # An address that is there without a network, too.
        scheme = "rediss" if TLS_SERVER else "redis"
        words = [f"--master_host={scheme}://127.0.0.1:{port}/0", *line.split()[5:]]
        return [word.replace("~", str(self.home)) for word in words]


@contextmanager
def served(port: int, credentials: Credentials) -> Iterator[Client]:
    """A head's Redis, as the head sees it."""
    with (
        RedisServer(
            port,
            "0.0.0.0",
            password=credentials.password,
            worker_password=credentials.worker_password,
            tls=credentials.tls,
            no_tls=credentials.tls is None,
        ) as server,
        connect(server.url.replace("0.0.0.0", "127.0.0.1"), access=server.access) as client,
    ):
        yield client


def relays_of(head: Client) -> list[str]:
    return [beat.machine for beat in heartbeat.fresh(head) if beat.relay is not None]


def refused_to_workers(client: Client) -> set[str]:
    entries = [entry for entry in client.acl_log() if entry["username"] == "worker"]
    assert entries  # this is the right log
    return {str(entry["object"]) for entry in entries} - TOLERATED


def users_of(client: Client) -> set[str]:
    """Who is there from elsewhere, but for us."""
    mine = client.client_id()
    return {
        str(one["user"])
        for one in client.client_list()
        if int(one["id"]) != mine and not one["addr"].endswith(":0")
    }


def test_a_chain_of_three_machines_each_with_the_workers_password_of_the_one_above(
    site: Site,
) -> None:
    given = Given(no_tls=not TLS_SERVER)
    credentials = credentials_for("0.0.0.0", site.port, given)
    calm = generation_of()
    experiment = site.experiment(kind="wait", seeds=seeds_of(calm, [3]))
    generation = of_run(calm, experiment)
    answers: dict[int, object] = {}
    with ExitStack() as stack:
        head = stack.enter_context(served(site.port, credentials))
        first, second, third = (Elsewhere(site, name, stack) for name in "123")
        # The first has a relay alone, which is there before its machine's own Redis.
        lines = invitation_of_workers("0.0.0.0", site.port, credentials, whose="the head's")
        own = f"--relay_socket_path={first.home / 'own' / 'r'}"
        relay = first.start("run-relay", own, *first.invited(lines, site.port))
        wait_for(lambda: "trying again" in relay.log, "the relay to wait")
        listening = ("--bind=0.0.0.0", f"--port={first.port}", *PLAINLY)
        mirror = first.start("run-mirror", own, *listening)
        wait_for(lambda: "Ctrl-C ends it" in mirror.log, "the first machine's Redis")
        # The second has all of it in one command, and the third comes to the second.
        words = second.invited(mirror.log.splitlines(), first.port)
        serving = ("--serve_bind=0.0.0.0", f"--serve_port={second.port}", "--num_workers=1")
        middle = second.start("workers", *words, *serving, *site.folders)
        wait_for(lambda: "Ctrl-C ends them" in middle.log, "the second machine")
        words = third.invited(middle.log.splitlines(), second.port)
        last = third.start("workers", *words, "--num_workers=1", *site.folders)

        pool = RedisPool(head, experiment)
        stack.callback(pool.shutdown)
        pool.open(generation)

        def listen() -> bool:
            for batch in pool.results(0.05):
                answers.update({record.rollout: said(record) for record in batch.records})
            return len(answers) == generation.num_rollouts

        def at_work() -> set[int]:
            listen()
            return {int(one.name.partition("-")[2]) for one in site.folder.glob("waiting-*")}

        wait_for(lambda: len(at_work()) == 2, "a rollout on each of two machines")
        workers = {process.pid for one in (middle, last) for process in one.those("child")}
        assert at_work() == workers
        (site.folder / "go").touch()
        wait_for(listen, "every answer")
        wait_for(lambda: len(relays_of(head)) == 3, "word of all relays")
        assert refused_to_workers(head) == set()
        assert users_of(head) == {"worker"}
        found = find_mirror_access(f"unix://{first.home / 'own' / 'r'}")
        with connect(f"unix://{first.home / 'own' / 'r'}", access=found) as client:
            assert refused_to_workers(client) == set()
            assert users_of(client) == {"worker"}
    assert answers == site.wanted(experiment, generation)
    for machine in (relay, mirror, middle, last):
        assert "Traceback" not in machine.log
        assert "is there again" not in machine.log
    assert not list(site.runtime.rglob("*.json"))


def pid_of(mirror: Mirror) -> int | None:
    mirror.tend()
    return mirror.pid


def test_a_mirror_that_is_started_again_is_found_by_its_socket_and_forgotten_at_its_end(
    site: Site,
) -> None:
    path = site.runtime / "own" / "r"
    credentials = credentials_for("0.0.0.0", site.port, Given(no_tls=True))
    mirror = Mirror(path, print, Below(site.port, "0.0.0.0", credentials, no_tls=True))
    try:
        assert mirror.pid is not None
        os.kill(mirror.pid, signal.SIGKILL)
        wait_for(lambda: pid_of(mirror) is None, "its death to be seen")
        assert find_mirror_access(mirror.url).password is None
        wait_for(lambda: pid_of(mirror), "its successor")
        found = find_mirror_access(mirror.url)
        connect(mirror.url, access=found).close()
        assert found.password == credentials.password
        connect(mirror.url, access=mirror.worker_access).close()
        assert mirror.worker_access.user == "worker"
        path.parent.chmod(0o750)  # others could have put something there
        assert find_mirror_access(mirror.url).password is None
        path.parent.chmod(0o700)
        (path.parent / "s.json").write_bytes((path.parent / "r.json").read_bytes())
        assert find_mirror_access(f"unix://{path.parent}/s").password is None
    finally:
        mirror.stop()
    assert server_file.ours_at(mirror.url) is None
    assert not (path.parent / "r.json").exists()


def test_a_relay_that_cannot_know_its_mirrors_password_says_which_one_it_wants(site: Site) -> None:
    path = site.runtime / "own" / "r"
    with (
        RedisServer(socket_path=path, password="fish"),
        site.machine("run-relay", f"--relay_socket_path={path}") as relay,
    ):
        assert relay.process.wait(DEADLINE_S) == 4
    (line,) = relay.log.splitlines()
    assert "set ES_MIRROR_PASSWORD or --mirror_password_file" in line
