"""A server that greets as a MongoDB of long ago does: no such program is to be had here."""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType

import bson

_REPLY, _QUERY, _MESSAGE = 1, 2004, 2013
_HEADER = struct.Struct("<iiii")


class OldMongod:
    """Answers every question with the greeting of MongoDB 3.6 (wire version 6)."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(client,), daemon=True).start()

    def _greet(self, client: socket.socket) -> None:
        greeting = {"ok": 1, "ismaster": True, "minWireVersion": 0, "maxWireVersion": 6}
        body = bson.encode(greeting)
        with client, client.makefile("rb") as asked:
            while header := asked.read(_HEADER.size):
                length, request, _, kind = _HEADER.unpack(header)
                asked.read(length - _HEADER.size)
                if kind == _QUERY:
                    answer, code = struct.pack("<iqii", 8, 0, 0, 1) + body, _REPLY
                else:
                    answer, code = struct.pack("<iB", 0, 0) + body, _MESSAGE
                size = _HEADER.size + len(answer)
                try:
                    client.sendall(_HEADER.pack(size, 0, request, code) + answer)
                except OSError:
                    return

    def __enter__(self) -> OldMongod:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
