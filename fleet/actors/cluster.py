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
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from errors import ResourceExhausted, ServiceUnavailable
from fleet.actors.probe import address_on_this_machine, refuse_unreachable
from fleet.figures import harmless
from fleet.provision import Workers, num_cores
from fleet.server.runtime_folder import runtime_folder
from search.code_version import EVALUATING

AUTO = "auto"

_LOOPBACK = "127.0.0.1"
_OBJECTS_BYTES = 2**30
# Sockets lie 62 characters further down, and may have 107 in all.
_MOST_FOLDER_BYTES = 24
_ROOT = Path(__file__).resolve().parents[2]
_NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "runs")
_INCLUDE = "include"

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
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
    # Also where it fails half-way, or is interrupted.
    stack.callback(ray.shutdown)
    try:
        with _own_signals(), _without_warnings():
            context = ray.init(
                address="local",
                num_cpus=num_cores() if workers == "auto" else workers,
                num_gpus=0,
                object_store_memory=_OBJECTS_BYTES,
                include_dashboard=dashboard,
                dashboard_host=_LOOPBACK,
                configure_logging=False,
                log_to_driver=False,
                _temp_dir=str(folder),
            )
    except Exception as error:
        advice = "; a dashboard needs ray[default]" if dashboard else ""
        raise ResourceExhausted(
            f"Ray cannot be started here: {_first_line(error)}{advice}"
        ) from None
    if context.address_info["node_ip_address"] != _LOOPBACK:
        raise ResourceExhausted(
            "Ray was imported before this program could keep it to this machine: unset "
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER, and import ray after fleet.actors.cluster"
        )
    if dashboard and context.dashboard_url:
        notice(f"Ray's dashboard: http://{context.dashboard_url}")


def _join(stack: ExitStack, ray: Any, address: str, include: Path | None) -> Path | None:
    if address == AUTO:
        address = address_on_this_machine()
    refuse_unreachable(address)
    shipped = Path(stack.enter_context(TemporaryDirectory(prefix="es-ray-")))
    for name in EVALUATING:
        shutil.copytree(_ROOT / name, shipped / name, ignore=_NOT_SHIPPED)
    shutil.copy(_ROOT / "errors.py", shipped)
    if include is not None:
        shutil.copytree(include, shipped / _INCLUDE, ignore=_NOT_SHIPPED)
    stack.callback(ray.shutdown)
    try:
        with _own_signals(), _without_warnings():
            ray.init(
                address=address,
                runtime_env={"working_dir": str(shipped)},
                configure_logging=False,
                log_to_driver=False,
            )
    except Exception as error:
        raise ServiceUnavailable(
            f"the Ray cluster at {address} does not let us in: {_first_line(error)}; it wants the "
            "same Ray and Python there, and its token in RAY_AUTH_TOKEN or the token file"
        ) from None
    return None if include is None else Path(_INCLUDE)


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


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return harmless(next(filter(None, lines), type(error).__name__), 300)
