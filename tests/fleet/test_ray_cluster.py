"""Ray as a run starts it or finds it: reachable from here alone, and gone when the run is."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from errors import ConfigError, EsError, ServiceUnavailable
from fleet.actors.cluster import connected
from fleet.actors.probe import refuse_unreachable
from fleet.server import runtime_folder

HEAD = Path(__file__).with_name("ray_head.py")
SOON_S = 15.0
STRANGER = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}


def patiently_wait_for(condition: Callable[[], object]) -> None:
    """Ray starts a dozen processes, which takes long on a busy machine."""
    deadline_s = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@contextmanager
def head(
    folder: Path, address: str = "", kind: str = "", environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command of its own session, which a Ctrl-C reaches as a whole."""
    process = subprocess.Popen(
        [sys.executable, str(HEAD), address, str(folder), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ["itself", "SIGINT", "SIGKILL"])
def test_nothing_is_left_of_a_ray_of_ones_own_however_the_run_ends(
    tmp_path: Path, end: str
) -> None:
    with head(tmp_path, kind="wait") as process:
        patiently_wait_for(lambda: list(tmp_path.glob("waiting-*")))
        family = psutil.Process(process.pid).children(recursive=True)
        names = " ".join(word for child in family for word in child.cmdline())
        assert all(name in names for name in ("raylet", "gcs_server", "ray::", "fleet.evaluation"))
        folder = next(Path(found) for found in re.findall(r"[^= ]*/es-machine-[^/ ]*", names))
        assert folder.stat().st_mode & 0o777 == 0o700
        if end == "itself":
            (tmp_path / "go").touch()
        elif end == "SIGINT":  # as a terminal does: everybody in it
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(getattr(signal, end))
        out, err = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=SOON_S)
        assert not alive
    assert process.returncode == {"itself": 0, "SIGINT": 130, "SIGKILL": -9}[end]
    assert folder.exists() == (end == "SIGKILL")
    assert "Traceback" not in err
    if end == "itself":
        assert json.loads(out.splitlines()[-1]) == {"are_right": True}
    with runtime_folder.runtime_folder():
        assert not folder.exists()  # the next to need one clears it away


def test_ray_listens_on_the_loopback_address_alone(local_ray: None) -> None:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_ray_wants_a_token_and_leaves_none_behind(local_ray: None) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    program = (
        "from ray._raylet import GcsClient; "
        f"GcsClient('{address}').internal_kv_get(b'key', namespace=b'', timeout=5)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **STRANGER},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode != 0
    assert "uthenticat" in found.stderr


def test_our_own_answer_to_signals_is_kept(tmp_path: Path, local_ray: None) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_cluster_that_is_there_is_used_and_left_as_it_was(
    tmp_path: Path, local_ray: None
) -> None:
    import ray

    joined = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    before = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    with head(tmp_path, "auto", environment=joined) as process:
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"are_right": True}
    assert [node["NodeID"] for node in ray.nodes() if node["Alive"]] == before
    assert not list(tmp_path.glob("es-ray-*"))


@contextmanager
def foreign_cluster(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """``ray start --head``, as somebody else would, but that it keeps to this machine."""
    command = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    command += ["--port=0", f"--ray-client-server-port={port}", f"--temp-dir={folder / 'ray'}"]
    with (folder / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *command],
            env={**os.environ, **STRANGER, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        patiently_wait_for(lambda: is_up(port))
        yield process
    finally:
        end_all(process)


def is_up(port: int) -> bool:
    try:
        refuse_unreachable(f"ray://127.0.0.1:{port}")
    except ServiceUnavailable:
        return False
    return True


@contextmanager
def admitted(
    folder: Path, address: str, kind: str = "", *, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A head that has opened its pool; on a busy machine Ray gives up waiting for itself."""
    for _ in range(3):
        with head(folder, address, kind, environment) as process:
            assert process.stdout is not None
            if process.stdout.readline() == "open\n":
                yield process
                return
    raise AssertionError(f"{address} lets nobody in")


def end_all(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_behind_its_client_server_gets_our_code_and_is_missed_when_it_is_gone(
    port: int,
) -> None:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as short,
        foreign_cluster(Path(short), port) as cluster,
    ):
        address = f"ray://127.0.0.1:{port}"
        folders = [Path(short, name) for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
        with admitted(folders[0], address, environment=STRANGER) as process:
            out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert json.loads(out.splitlines()[-1]) == {"are_right": True}
        assert cluster.poll() is None
        impatient = {**STRANGER, "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "2"}
        with admitted(folders[1], address, "wait", environment=impatient) as process:
            patiently_wait_for(lambda: list(folders[1].glob("waiting-*")))
            end_all(cluster)
            out, err = process.communicate(timeout=90)
    assert process.returncode == ServiceUnavailable.exit_code, err
    assert "lost the Ray cluster" in err.splitlines()[-1]
    assert "Traceback" not in err


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """A server that is no Ray: says this to whoever comes, and keeps the line open."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                held.append(line)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for line in held:
            line.close()


def refused(address: str) -> tuple[EsError, float]:
    """What ``ray_address=address`` comes to, in a process that is not connected; and how soon."""
    started_s = time.monotonic()
    with pytest.raises(EsError) as caught:
        refuse_unreachable(address)
    return caught.value, time.monotonic() - started_s


@pytest.mark.parametrize("form", ["ray://127.0.0.1:{}", "127.0.0.1:{}"])
def test_an_address_where_nobody_answers_is_refused_in_one_line_within_seconds(
    form: str, port: int
) -> None:
    error, seconds = refused(form.format(port))
    assert isinstance(error, ServiceUnavailable)
    assert str(port) in str(error)
    assert "\n" not in str(error)
    assert seconds < 5


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+PONG\r\n"])
def test_a_server_that_is_no_ray_is_refused_within_seconds(answer: bytes) -> None:
    with server(answer) as port:
        error, seconds = refused(f"ray://127.0.0.1:{port}")
    assert "is no Ray cluster" in str(error)
    assert seconds < 10


@pytest.mark.parametrize(
    "address", ["nonsense", "ray://", "ray://host", "http://host:1", "host:70000", "ray://h:x"]
)
def test_what_is_no_address_is_a_setting_that_cannot_work(address: str) -> None:
    error, _ = refused(address)
    assert isinstance(error, ConfigError)
    assert "ray://HOST:PORT" in str(error)


def test_no_cluster_on_this_machine_is_said_at_once(tmp_path: Path, port: int) -> None:
    with head(tmp_path, "auto", environment={"RAY_ADDRESS": f"127.0.0.1:{port}"}) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == ServiceUnavailable.exit_code
    assert err.count("\n") == 1
    assert "no Ray cluster answers" in err


def test_a_process_that_is_connected_stays_so(local_ray: None) -> None:
    import ray

    with connected("ray://127.0.0.1:1") as include:
        assert include is None
    assert ray.is_initialized()
