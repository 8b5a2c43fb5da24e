"""In a guest: ``systemctl``, ``shutdown`` and others hand what was typed to its init.

It runs with nothing but Python's standard library, under the name of the program it stands for.
"""

from __future__ import annotations

import json
import os
import socket
import sys

SOCKET = "GUEST_SOCKET"
"""Variable with the name of init's socket, which is in no folder."""

DEFAULT_SOCKET = "guest"


def main() -> int:
    """Ask init; its answer's text and code are ours."""
    request = {"program": os.path.basename(sys.argv[0]), "words": sys.argv[1:]}  # noqa: PTH119
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + os.environ.get(SOCKET, DEFAULT_SOCKET))
        client.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(client.makefile().readline() or '{"code": 1, "text": "no answer\\n"}')
    sys.stdout.write(answer["text"])
    return int(answer["code"])


if __name__ == "__main__":
    sys.exit(main())
