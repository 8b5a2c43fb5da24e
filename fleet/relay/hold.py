"""A relay's hold on its machine's own Redis: one relay at a time, and proof that nothing was lost.

The hold is the key ``es:relay``. While it is there the server has not been emptied or restarted
since we took it; found missing, everything else is missing too.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from typing import Any, NoReturn

import psutil

from errors import ResourceExhausted
from fleet import keys
from fleet.relay.client import Reach

HOLD_S = 5
_LOOK_AGAIN_S = 0.25

WHILE_HELD = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
"""How a script begins that does nothing, and says 0, once the hold is lost."""

_KEEP = """
local holder = redis.call('GET', KEYS[1])
if not holder then return 'lost' end
if holder ~= ARGV[1] then return 'taken' end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 'held'
"""
_TAKE_OVER = WHILE_HELD + "redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) return 1"
_RELEASE = WHILE_HELD + "redis.call('DEL', KEYS[1]) return 1"


class Hold:
    """One relay's hold; each method raises `OutOfReach`.

    Args:
        client: of the server.
        reach: of the server.
    """

    def __init__(self, client: Any, reach: Reach) -> None:
        self._client = client
        self._reach = reach
        self._token = _new_token()

    @property
    def token(self) -> bytes:
        """Of this life of the server's: another one once it has been emptied, and taken again."""
        return self._token

    async def claim(self) -> None:
        """Take hold of the server; one whose holder has died is to be had after `HOLD_S`, and at
        once where it died on this machine.

        Raises:
            ResourceExhausted: another relay is at work there.
        """
        least_ms = float("inf")
        while True:
            with self._reach.asking():
                if await self._client.set(keys.RELAY, self._token, nx=True, ex=HOLD_S):
                    return
                holder: bytes | None = await self._client.get(keys.RELAY)
                left_ms = await self._client.pttl(keys.RELAY)
            if holder is None:
                continue
            if _is_dead(holder) and await self._run(_TAKE_OVER, [], holder, self._token, HOLD_S):
                return
            if left_ms > least_ms:  # somebody keeps it
                await self.refuse()
            least_ms = left_ms
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def keep(self) -> bool:
        """Whether the hold is still there, which is then kept for `HOLD_S` more.

        Raises:
            ResourceExhausted: another relay has it.
        """
        with self._reach.asking():
            found: bytes = await self._client.eval(_KEEP, 1, keys.RELAY, self._token, HOLD_S)
        if found == b"taken":
            await self.refuse()
        return found == b"held"

    def take(self, pipe: Any) -> None:
        """Add to ``pipe`` that the hold is taken anew, unless somebody has it."""
        self._token = _new_token()
        pipe.set(keys.RELAY, self._token, nx=True, ex=HOLD_S)

    def add(self, pipe: Any, text: str, other_keys: Sequence[str], *arguments: Any) -> None:
        """Add to ``pipe`` what `script` does."""
        pipe.eval(text, 1 + len(other_keys), keys.RELAY, *other_keys, self._token, *arguments)

    async def release(self) -> None:
        """Let go of it."""
        await self.script(_RELEASE, [])

    async def script(
        self, text: str, other_keys: Sequence[str], *arguments: Any, token: bytes | None = None
    ) -> bool:
        """Run a script that begins with `WHILE_HELD`; whether the hold was there, and is still
        that of ``token``.
        """
        return await self._run(text, other_keys, token or self._token, *arguments)

    async def refuse(self) -> NoReturn:
        """Complain of the other relay.

        Raises:
            ResourceExhausted: always.
        """
        with self._reach.asking():
            holder: bytes = await self._client.get(keys.RELAY) or b""
        host, pid, *_ = [*holder.decode(errors="replace").split(), "?", "?"]
        raise ResourceExhausted(
            f"another relay is at work on {self._reach.server} (process {pid} on {host}): "
            "stop that one, or give this one another --relay_socket_path"
        )

    async def _run(self, text: str, other_keys: Sequence[str], *arguments: Any) -> bool:
        count = 1 + len(other_keys)
        with self._reach.asking():
            found = await self._client.eval(text, count, keys.RELAY, *other_keys, *arguments)
        return bool(found)


def _new_token() -> bytes:
    return f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}".encode()


def _is_dead(holder: bytes) -> bool:
    host, pid, *_ = [*holder.decode(errors="replace").split(), "", ""]
    return host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid))
