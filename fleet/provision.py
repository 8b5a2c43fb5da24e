"""Redis and workers for one run on this machine: found, or started and stopped again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

import redis

from errors import AccessRefused, ServiceUnavailable
from fleet import heartbeat
from fleet.child_process import inherited_environment
from fleet.connection import (
    DEFAULT_URL,
    URL_VARIABLE,
    Client,
    connect,
    without_password,
)
from fleet.figures import harmless
from fleet.parent import dying_with
from fleet.security.access import (
    NO_ACCESS,
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    WORKER_USER,
    Access,
)
from fleet.server.redis_server import RedisServer

_QUICK_LOOK_S = 0.3
_STOP_S = 10.0
_ROOT = Path(__file__).resolve().parents[1]

Notice = Callable[[str], None]
Workers = Literal["auto"] | int


class Provisioned(NamedTuple):
    """What a run has to work with; ``check`` raises once a part of it that we started is gone."""

    client: Client
    url: str
    check: Callable[[], None] = lambda: None


class _Started(NamedTuple):
    what: str
    poll: Callable[[], int | None]


@contextmanager
def provision(
    workers: Workers,
    redis_url: str | None,
    *,
    include: Path | None,
    noise_dir: Path | None,
    notice: Notice,
    log: Path,
    access: Access = NO_ACCESS,
) -> Iterator[Provisioned]:
    """A checked Redis and workers, for as long as the context lasts.

    Args:
        workers: ``auto`` uses the workers that are there and starts one a core where there are
            none; a number always starts that many.
        redis_url: the head's Redis; ``None`` looks at the usual place and, finding none there that
            takes what is written, starts one for this run alone, unless ``workers`` is 0: nobody
            could find that one.
        include, noise_dir: passed on to workers that are started.
        notice: where a line for people goes.
        log: file that started workers write to, rather than into a live console.
        access: to Redis.

    Raises:
        AccessRefused: what we have is the workers' password.
        ServiceUnavailable: ``redis_url`` was given and will not do, or nothing was found and
            ``workers`` is 0.
        ResourceExhausted: a server cannot be started.
    """
    ours: list[_Started] = []
    with ExitStack() as stack:
        found = _find(redis_url, access, notice, is_needed=workers == 0)
        if found is None:
            server = stack.enter_context(RedisServer())
            ours.append(_Started("Redis", server.poll))
            found = Provisioned(connect(server.url), server.url)
        elif access.user == WORKER_USER:
            raise AccessRefused(
                f"Redis at {without_password(found.url)} takes us for a worker: a run needs the "
                f"head's password, in {PASSWORD_VARIABLE} or a file that {PASSWORD_FILE_VARIABLE} "
                "names"
            )
        found = found._replace(check=lambda: _check(ours))
        client, url, _ = found
        stack.callback(client.close)
        num_workers = _num_to_start(workers, client)
        if num_workers:
            notice(f"started {num_workers} workers on {without_password(url)}; log: {log}")
            process = stack.enter_context(
                local_workers(
                    num_workers, url, access, log=log, include=include, noise_dir=noise_dir
                )
            )
            ours.append(_Started(f"workers (log: {log})", process.poll))
        yield found


def _check(ours: Iterable[_Started]) -> None:
    for what, poll in ours:
        if (code := poll()) is not None:
            raise ServiceUnavailable(
                f"this run's own {what} ended with code {code}: start the run again; resume=ID "
                "goes on where it was"
            )


def num_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def local_workers(
    num_workers: int,
    url: str,
    access: Access = NO_ACCESS,
    *,
    log: Path,
    include: Path | None = None,
    noise_dir: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """``python es/worker.py start-workers`` in a session of its own, ended with the context."""
    command = [sys.executable, str(_ROOT / "es" / "worker.py"), "start-workers"]
    command += [f"--num_workers={num_workers}"]
    if include is not None:
        command.append(f"--include={include}")
    if noise_dir is not None:
        command.append(f"--noise_dir={noise_dir}")
    environment = {**inherited_environment(), **access.environment(), URL_VARIABLE: url}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=dying_with(os.getpid()),
        )
    try:
        yield process
    finally:
        _end(process)


def _find(
    redis_url: str | None, access: Access, notice: Notice, *, is_needed: bool
) -> Provisioned | None:
    if redis_url is not None:
        return Provisioned(connect(redis_url, access=access), redis_url)
    try:
        client = connect(DEFAULT_URL, access=access, connect_timeout_s=_QUICK_LOOK_S)
    except ServiceUnavailable:
        if is_needed:
            raise
        return None
    if not is_needed and (refusal := _refusal(client)):
        notice(f"Redis at {DEFAULT_URL} takes no writes ({refusal}): starting one for this run")
        client.close()
        return None
    return Provisioned(client, DEFAULT_URL)


def _refusal(client: Client) -> str:
    """Why a server takes no writes, as a replica does or one that cannot save to its disk; asked by
    removing a key that is not there.
    """
    try:
        client.delete("es:nothing")
    except redis.RedisError as error:
        return harmless(str(error)) or type(error).__name__
    return ""


def _num_to_start(workers: Workers, client: Client) -> int:
    if workers != "auto":
        return workers
    found = sum(machine.num_workers for machine in heartbeat.fresh(client))
    return 0 if found else num_cores()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
