"""What a worker may say to Redis, as data: everything else is refused by the server itself.

Redis 7.0's selectors, one pair of brackets each: these commands on these keys, and on no others.
``%R~`` lets read and ``%W~`` write; a plain ``~`` both, which taking from a list needs.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

from errors import ServiceUnavailable
from fleet.connection import Client, server_version
from fleet.security.access import DEFAULT_USER, WORKER_USER

OLDEST = (7, 0)


class Grant(NamedTuple):
    """Some commands, the patterns of keys they may be used on, and why a worker needs them."""

    commands: tuple[str, ...]
    keys: tuple[str, ...]
    why: str


WORKER_GRANTS = (
    Grant(("ping", "time"), (), "is the server there, and what does the shared clock say"),
    Grant(
        ("get", "mget", "exists"),
        ("%R~es:*:experiment", "%R~es:*:open", "%R~es:*:generation:*"),
        "read what is to be evaluated",
    ),
    Grant(("zrangebyscore",), ("%R~es:runs", "%R~es:*:crew"), "choose the run with fewest workers"),
    Grant(("blpop", "lpop"), ("~es:*:tasks:*", "~es:*:reissues:*"), "take tasks"),
    Grant(("rpush", "expire"), ("%W~es:*:records",), "answer, and not for ever to a dead head"),
    Grant(("zadd", "zrem", "expire"), ("%W~es:*:crew",), "count as one of a run's workers"),
    Grant(("set", "del"), ("%W~es:machine:*",), "say how this machine does"),
    Grant(("zadd", "zrem", "zremrangebyscore"), ("%W~es:machines",), "say that it is there"),
)


def worker_rules(password: str) -> list[str]:
    """The words after the user's name, in a configuration and in ACL SETUSER alike.

    The password is in them as its SHA-256 only.
    """
    words = ["reset", "on", hashed(password), "resetkeys", "resetchannels", "-@all"]
    for grant in WORKER_GRANTS:
        allowed = " ".join([*(f"+{command}" for command in grant.commands), *grant.keys])
        words += [f"({allowed})"] if grant.keys else allowed.split()
    return words


def head_rules(password: str) -> list[str]:
    """Everything: the head is trusted."""
    return ["reset", "on", hashed(password), "~*", "&*", "+@all"]


def user_lines(password: str, worker_password: str | None) -> list[str]:
    """The lines of a server's configuration that let a head in and, maybe, workers."""
    lines = [f"user {DEFAULT_USER} {' '.join(head_rules(password))}"]
    if worker_password is not None:
        lines.append(f"user {WORKER_USER} {' '.join(worker_rules(worker_password))}")
    return lines


def worker_lines(password: str) -> list[str]:
    """What lets workers into a Redis of the user's own, with the reasons as comments."""
    lines = ["# Workers of walking-es, for the redis.conf of Redis 7.0 or of Valkey:"]
    for grant in WORKER_GRANTS:
        words = " ".join([*grant.commands, *grant.keys])
        lines.append(f"#   {words}: {grant.why}")
    return [*lines, f"user {WORKER_USER} {' '.join(worker_rules(password))}"]


def make_worker(client: Client, password: str) -> None:
    """Make the workers' user on a server that runs.

    Raises:
        ServiceUnavailable: it is too old.
    """
    require_selectors("this Redis", server_version(client))
    untyped: Any = client
    untyped.execute_command("ACL", "SETUSER", WORKER_USER, *worker_rules(password))


def hashed(password: str) -> str:
    """A password as a server's configuration names it without giving it away."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def require_selectors(server: str, version: str) -> None:
    """Refuse a server that cannot hold a worker to its rules.

    Args:
        server: what to call it in the error.
        version: as it states it, "6.2.14".

    Raises:
        ServiceUnavailable: it is older than Redis 7.0.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise ServiceUnavailable(
            f"{server} is version {version}, which cannot keep a worker to its own keys "
            "(%R~, %W~ and selectors): expected Redis 7.0 or Valkey; install a newer one "
            "(ES_REDIS_SERVER names a binary)"
        )
