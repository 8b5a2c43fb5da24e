"""TCP connections that can be broken: cut, silenced, delayed, throttled, reset in mid-message.

What netem does for a kernel that has it. One thread moves the bytes of all wires; a fault is
counted when it met bytes on their way, not when it was asked for.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

_CHUNK = 64 * 1024
_RECENT_S = 1.5
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)

Count = Callable[[str], None]


class Wire:
    """One place to connect to, and what stands between it and the server behind.

    Args:
        target: the server's address, which may refuse connections at times.
        rng: where a message is torn, and in which direction.
        count: told the kind of each fault that met something; called in the thread of the wires.
        bind: address to listen at, on a port of the system's choice.
    """

    def __init__(
        self,
        target: tuple[str, int],
        rng: random.Random,
        count: Count = lambda kind: None,
        bind: str = "127.0.0.1",
    ) -> None:
        self._target = target
        self._rng = rng
        self._count = count
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._silent_until_s = self._refusing_until_s = 0.0
        self._delay_until_s = self._throttle_until_s = 0.0
        self._delay_s = 0.0
        self._bytes_per_s = 1.0
        self._is_silence_met = self._is_delay_met = self._is_throttle_met = True
        self._tearing_until_s = 0.0
        self._moved_s = -float("inf")
        self.bytes_moved = 0
        self._listening = socket.create_server((bind, 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self.host = bind
        self.url = f"redis://{bind}:{self.port}/0"

    @property
    def is_busy(self) -> bool:
        """Whether bytes went through it just now."""
        return bool(self._pairs) and time.monotonic() - self._moved_s < _RECENT_S

    # What follows is called in the thread of the wires; see `WireRoom.tell`.

    def cut(self, duration_s: float) -> None:
        """Reset every connection, and each new one, for so long."""
        if self.is_busy:
            self._count("cut")
        self._refusing_until_s = time.monotonic() + duration_s
        for pair in tuple(self._pairs):
            _reset(*pair)

    def silence(self, duration_s: float) -> None:
        """Deliver nothing for so long, and all of it then."""
        self._silent_until_s = time.monotonic() + duration_s
        self._is_silence_met = False

    def delay(self, duration_s: float, delay_s: float) -> None:
        """Deliver each piece ``delay_s`` late, for so long."""
        self._delay_until_s, self._delay_s = time.monotonic() + duration_s, delay_s
        self._is_delay_met = False

    def throttle(self, duration_s: float, bytes_per_s: float) -> None:
        """Deliver so slowly, for so long."""
        self._throttle_until_s = time.monotonic() + duration_s
        self._bytes_per_s = bytes_per_s
        self._is_throttle_met = False

    def tear(self, within_s: float) -> None:
        """Deliver a part of the next message, and reset the connection then."""
        self._tearing_until_s = time.monotonic() + within_s

    def heal(self) -> None:
        """Stop whatever goes on."""
        self._silent_until_s = self._refusing_until_s = 0.0
        self._delay_until_s = self._throttle_until_s = self._tearing_until_s = 0.0

    async def serve(self) -> None:
        """Until cancelled."""
        server = await asyncio.start_server(self._join, sock=self._listening)
        async with server:
            await server.serve_forever()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if time.monotonic() < self._refusing_until_s:
            _reset(writer)
            return
        try:
            beyond, onward = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        pair = (writer, onward)
        self._pairs.add(pair)
        pumps = {
            asyncio.create_task(self._pump(reader, onward)),
            asyncio.create_task(self._pump(beyond, writer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the room is being left; asyncio's streams would take it for a defect
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._pairs.discard(pair)
            _reset(*pair)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(_CHUNK):
            self._moved_s = time.monotonic()
            await self._hold_back(len(data))
            if len(data) > 1 and time.monotonic() < self._tearing_until_s:
                self._tearing_until_s = 0.0
                writer.write(data[: self._rng.randrange(1, len(data))])
                await writer.drain()
                await asyncio.sleep(0.02)  # a reset takes with it what has not been read yet
                self._count("reset in mid-message")
                return
            writer.write(data)
            await writer.drain()
            self.bytes_moved += len(data)

    async def _hold_back(self, size: int) -> None:
        now_s = time.monotonic()
        if now_s < self._silent_until_s:
            if not self._is_silence_met:
                self._is_silence_met = True
                self._count("silent")
            while time.monotonic() < self._silent_until_s:
                await asyncio.sleep(0.05)
        if now_s < self._delay_until_s:
            if not self._is_delay_met:
                self._is_delay_met = True
                self._count("delayed")
            await asyncio.sleep(self._delay_s)
        if now_s < self._throttle_until_s:
            if not self._is_throttle_met:
                self._is_throttle_met = True
                self._count("throttled")
            await asyncio.sleep(min(size / self._bytes_per_s, self._throttle_until_s - now_s))


def _reset(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        writer.transport.abort()


class WireRoom:
    """The thread in which wires move their bytes; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._serving: list[asyncio.Task[None]] = []

    def add(self, wire: Wire) -> Wire:
        """Have ``wire`` served from now on."""

        async def begin() -> None:
            self._serving.append(asyncio.ensure_future(wire.serve()))

        asyncio.run_coroutine_threadsafe(begin(), self._loop).result()
        return wire

    def tell(self, order: Callable[..., None], *args: float) -> None:
        """Call a wire's method where its bytes are moved."""
        self._loop.call_soon_threadsafe(order, *args)

    def __enter__(self) -> WireRoom:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
