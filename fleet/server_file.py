"""Which Redis server is ours: a small file that names it, so that ``--stop`` stops no other."""

from __future__ import annotations

import getpass
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from errors import ResourceExhausted
from fleet.redis_server import RedisServer

_PATIENCE_S = 5.0


@contextmanager
def written(port: int, server: RedisServer) -> Iterator[None]:
    """Name ``server`` as ours for as long as the context lasts."""
    path = _path(port)
    process = psutil.Process(server.pid)
    path.write_text(json.dumps({"pid": server.pid, "created_s": process.create_time()}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def stop(port: int) -> int | None:
    """Stop the server that we started earlier on ``port``; its process id, if there was one."""
    path = _path(port)
    try:
        said = json.loads(path.read_text())
        process = psutil.Process(int(said["pid"]))
        # A process id is given to others in time; with its birth it is a name.
        if abs(process.create_time() - float(said["created_s"])) > 1.0:
            return None
        process.terminate()
        process.wait(_PATIENCE_S)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    except (ValueError, KeyError, TypeError):
        return None
    finally:
        path.unlink(missing_ok=True)
    return int(process.pid)


def _path(port: int) -> Path:
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder /= f"walking-es-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ResourceExhausted(f"{folder} is not a private folder of yours: remove it")
    return folder / f"redis-{port}.json"
