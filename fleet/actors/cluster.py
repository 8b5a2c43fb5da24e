"""The Ray cluster that a run uses: one of its own on this machine, or one that is there.

Only this file starts Ray or connects to it, and whoever needs Ray comes here first: what Ray reads
from the environment has to be set before it is imported.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from errors import ResourceExhausted, ServiceUnavailable
from fleet.actors.local_ray import LOOPBACK, Addresses, addresses, first_line
from fleet.actors.probe import address_on_this_machine, refuse_unreachable
from fleet.figures import harmless
from fleet.machine.watched_process import WatchedProcess
from fleet.provision import Workers, num_cores
from fleet.security.private_files import write_private
from fleet.server.runtime_folder import runtime_folder
from search.code_version import EVALUATING

AUTO = "auto"

_START_S = 120.0
_START_TRIES = 2
_END_S = 10.0
_POLL_S = 0.02
# Sockets lie 85 characters further down, and may have 107 in all.
_MOST_FOLDER_BYTES = 20
_ROOT = Path(__file__).resolve().parents[2]
_NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "runs")
_INCLUDE = "include"
_TOKEN_FILE = "token"

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A call after the cluster was lost would start another one, here, without a word.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
_LOCAL = {
    # Ray's own way to say that this machine is alone: every port is bound to the loopback address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    # Our own guards watch memory, and nobody reads what Ray would report of each call.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
}


@contextmanager
def connected(
    address: str | None,
    *,
    workers: Workers = "auto",
    dashboard: bool = False,
    include: Path | None = None,
    notice: Callable[[str], None] = lambda line: None,
) -> Iterator[Path | None]:
    """Connect this process to Ray for as long as the context lasts.

    Args:
        address: ``None`` starts Ray on this machine, reachable from it alone, and ends it again;
            ``auto`` is a cluster of which this machine is a node, ``ray://host:port`` one that is
            reached through its Ray client server. Those two are left as they were found, and our
            code and ``include`` travel to their nodes.
        workers: how many processors a local Ray has; ``auto``: as many as the machine.
        dashboard: of a local Ray.
        include: folder of the user's own modules.
        notice: where a line for people goes.

    Yields:
        ``include`` as actors know it. A process that is connected already is left as it is.

    Raises:
        ServiceUnavailable: there is no such cluster, or it does not let us in.
        ResourceExhausted: Ray cannot be started here.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment({**_QUIET, **(_local() if address is None else {})}))
        import ray  # takes a while, and reads the environment

        if ray.is_initialized():
            yield include
            return
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        if address is None:
            _start(stack, ray, workers, dashboard=dashboard, notice=notice)
            yield include
        else:
            yield _join(stack, ray, address, include)


def _start(
    stack: ExitStack,
    ray: Any,
    workers: Workers,
    *,
    dashboard: bool,
    notice: Callable[[str], None],
) -> None:
    folder = stack.enter_context(runtime_folder(_MOST_FOLDER_BYTES))
    num_cpus = num_cores() if workers == "auto" else workers
    arguments = ["--folder", str(folder), "--num-cpus", str(num_cpus)]
    if dashboard:
        arguments.append("--dashboard")
    found = _started(stack, folder, arguments)
    host = found.gcs.rpartition(":")[0]
    if host != LOOPBACK:
        raise ResourceExhausted(f"Ray would be reachable from elsewhere, at {host}: not started")
    _connect(stack, ray, found.gcs)
    if found.dashboard:
        # In a file, since notices are kept with the run and go where its records go.
        write_private(folder / _TOKEN_FILE, _token())
        notice(
            f"Ray's dashboard: http://{found.dashboard}; it asks for the token in "
            f"{folder / _TOKEN_FILE}"
        )


def _started(stack: ExitStack, folder: Path, arguments: Sequence[str]) -> Addresses:
    """A `local_ray`, once it is up; Ray gives itself half a minute, too little on a busy machine.

    Raises:
        ResourceExhausted: it does not start.
    """
    why = ""
    for _ in range(_START_TRIES):
        process = WatchedProcess("fleet.actors.local_ray", arguments, hear=lambda line: None)
        ending = stack.enter_context(ExitStack())
        ending.callback(_end, process)
        deadline_s = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < deadline_s:
            if (found := addresses(folder)) is not None:
                return found
            time.sleep(_POLL_S)
        ending.close()
        why = process.last_line or f"Ray was not up after {_START_S:.0f} s"
    raise ResourceExhausted(harmless(why))


def _end(process: WatchedProcess) -> None:
    process.terminate()
    process.wait(_END_S)


def _join(stack: ExitStack, ray: Any, address: str, include: Path | None) -> Path | None:
    if address == AUTO:
        address = address_on_this_machine()
    refuse_unreachable(address)
    with TemporaryDirectory(prefix="es-ray-") as folder:
        shipped = Path(folder)
        for name in EVALUATING:
            shutil.copytree(_ROOT / name, shipped / name, ignore=_NOT_SHIPPED)
        shutil.copy(_ROOT / "errors.py", shipped)
        if include is not None:
            shutil.copytree(include, shipped / _INCLUDE, ignore=_NOT_SHIPPED)
        _connect(stack, ray, address, runtime_env={"working_dir": folder})
    return None if include is None else Path(_INCLUDE)


def _connect(stack: ExitStack, ray: Any, address: str, **options: Any) -> None:
    stack.callback(ray.shutdown)  # also where it fails half-way, or is interrupted
    try:
        with _own_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, configure_logging=False, log_to_driver=False, **options)
    except Exception as error:
        raise ServiceUnavailable(
            f"the Ray cluster at {address} does not let us in: {first_line(error)}; it wants the "
            "same Ray and Python there, and its token in RAY_AUTH_TOKEN or the token file"
        ) from None


@cache
def _token() -> str:
    """A process may start Ray more than once, and Ray reads the token only once."""
    return secrets.token_hex(32)


def _local() -> dict[str, str]:
    return {**_LOCAL, "RAY_AUTH_TOKEN": _token()}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray answers SIGTERM in its own way from ``ray.init`` on; ours is what a run is saved by."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
