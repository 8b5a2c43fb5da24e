"""Who is at work on a run: a token in Redis that one head holds, and that dies soon after it.

All time is the server's, so that clocks of machines do not matter. Of two heads the later one
counts: one that was paused, or cut off while Redis was emptied, finds its successor's token there
and leaves.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
from msgspec import Meta

from errors import RunLocked
from fleet import keys
from fleet.connection import Client
from fleet.figures import age_text, harmless
from fleet.heartbeat import redis_time_s
from search.messages import Count

TTL_S = 5.0
RENEW_EVERY_S = 1.0
MAX_TOKEN_BYTES = 1000
_ASK_EVERY_S = 0.1

# Sets the token to ARGV[1] where there is none, or this one, or ARGV[3]; else says what is there
# and for how many more milliseconds.
_HOLD = """
local found = redis.call('GET', KEYS[1])
if found then
    found = string.sub(found, 1, tonumber(ARGV[4]))
    if found ~= ARGV[1] and found ~= ARGV[3] then
        return {found, redis.call('PTTL', KEYS[1])}
    end
    if found == ARGV[1] then
        redis.call('PEXPIRE', KEYS[1], ARGV[2]) -- SET is refused by a server that is full
        return {}
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {}
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


class HeadToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One head at work.

    Attributes:
        epoch: microseconds on the server's clock when it started; a later head's is greater.
        host: its machine's own name, for people.
        pid: its process there.
        place: where that process id means something: this boot of the machine, this container.
    """

    epoch: Count
    host: Annotated[str, Meta(max_length=100)]
    pid: Count
    place: Annotated[str, Meta(max_length=32)] = ""


_decoder = msgspec.msgpack.Decoder(HeadToken)


def encode_token(token: HeadToken) -> bytes:
    """As it stands in Redis."""
    return msgspec.msgpack.encode(token)


def decode_token(data: Any) -> HeadToken | None:
    """A token; ``None`` of bytes that are none."""
    try:
        if isinstance(data, bytes) and len(data) <= MAX_TOKEN_BYTES:
            return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return None


class HeadLease:
    """A head's hold on its run.

    Args:
        client: of the head's Redis.
        run_uid: the run's; run_id: the short number that people use.
        clock: monotonic seconds.
        sleep: waits so many seconds.
        host, pid, place: of this process; see `HeadToken`.
    """

    def __init__(
        self,
        client: Client,
        run_uid: str,
        run_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        host: str | None = None,
        pid: int | None = None,
        place: str | None = None,
    ) -> None:
        self._client = client
        self._key = keys.head(run_uid)
        self._run_id = run_id
        self._clock = clock
        self._sleep = sleep
        self._host = (socket.gethostname() if host is None else host)[:100]
        self._pid = os.getpid() if pid is None else pid
        self._place = this_place() if place is None else place
        self._token: HeadToken | None = None
        self._held_s: float | None = None
        self.is_lost = False

    @property
    def holds(self) -> bool:
        """Whether the run has been ours, and nobody else's since, as far as we know."""
        return self._held_s is not None and not self.is_lost

    def acquire(self) -> None:
        """Take the run, where no other head is at work on it.

        A token that nobody renews runs out within `TTL_S`, which is waited for; one of a process
        that is gone from this machine is replaced at once.

        Raises:
            RunLocked: another head is.
            redis.RedisError: the server is out of reach.
        """
        self._token = token = self._new_token()
        deadline_s = self._clock() + 2 * TTL_S
        replaced, before = b"", (b"", 0)
        while answer := self._hold(token, replaced):
            data, left_ms = answer
            other = decode_token(data)
            if other is None or self._is_gone(other):
                replaced = data
                continue
            is_renewed = data == before[0] and left_ms > before[1]
            if is_renewed or self._clock() > deadline_s:
                raise self._locked(other)
            before = data, left_ms
            self._sleep(_ASK_EVERY_S)

    def renew(self) -> None:
        """Hold on to the run, or acquire it: once in `RENEW_EVERY_S`, in between this is free.

        Called before anything is written, so that nothing is when the token may have run out.

        Raises:
            RunLocked: a later head has taken it, or see `acquire`.
            redis.RedisError: the server is out of reach.
        """
        if self._token is None or self._held_s is None:
            return self.acquire()
        if self._clock() - self._held_s < RENEW_EVERY_S:
            return None
        replaced = b""
        while answer := self._hold(self._token, replaced):
            other = decode_token(answer[0])
            if other is not None and other.epoch >= self._token.epoch:
                self.is_lost = True
                raise self._locked(other)
            replaced = answer[0]
        return None

    def release(self) -> None:
        """Let the next head begin at once."""
        if self._token is not None and self.holds:
            self._client.eval(_RELEASE, 1, self._key, encode_token(self._token))

    def _new_token(self) -> HeadToken:
        epoch = int(redis_time_s(self._client) * 1e6)
        return HeadToken(epoch, self._host, self._pid, self._place)

    def _hold(self, token: HeadToken, replaced: bytes) -> tuple[bytes, int] | None:
        """Set ``token``; what is there instead, and its milliseconds, where that may not be."""
        asked_s = self._clock()
        found: Any = self._client.eval(
            _HOLD,
            1,
            self._key,
            encode_token(token),
            str(int(TTL_S * 1000)),
            replaced,
            str(MAX_TOKEN_BYTES + 1),
        )
        if found:
            return found[0], int(found[1])
        self._held_s = asked_s
        return None

    def _is_gone(self, other: HeadToken) -> bool:
        return bool(self._place) and other.place == self._place and not _is_alive(other.pid)

    def _locked(self, other: HeadToken) -> RunLocked:
        age_s = redis_time_s(self._client) - other.epoch / 1e6
        who = f"process {other.pid} on {harmless(other.host, 100)}, {age_text(age_s)} old"
        run = f"run {harmless(self._run_id, 100)}"
        if self.is_lost:
            return RunLocked(
                f"{run} has a later head ({who}): this one leaves; what it learnt is in its journal"
            )
        return RunLocked(
            f"{run} has another head ({who}): stop that one, or wait until it has ended"
        )


def this_place() -> str:
    """Names this boot of this machine and the space of its process ids; empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.blake2b(f"{boot} {space}".encode(), digest_size=8).hexdigest()


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OverflowError, ValueError):
        return False
