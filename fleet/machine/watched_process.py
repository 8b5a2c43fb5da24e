"""A process of ours with a voice: what it complains of is passed on, and its last line kept."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import psutil

from fleet.child_process import start_child

_MOST_BYTES = 65536
_POLL_S = 0.005


class WatchedProcess:
    """A ``python -m module`` in a session of its own, of which nothing is left when it ends, nor
    when we do: see ``lifeline_fd`` of `fleet.parent.die_with_parent`.

    Args:
        module: takes ``--lifeline-fd`` too.
        arguments, pass_fds, environment: see `fleet.child_process.start_child`.
        hear: where each line of its stderr goes.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        hear: Callable[[str], None],
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._hear = hear
        theirs, self._lifeline = os.pipe()
        try:
            self._process = start_child(
                module,
                [*arguments, "--lifeline-fd", str(theirs)],
                pass_fds=[*pass_fds, theirs],
                environment=environment,
                own_session=True,
                stderr=subprocess.PIPE,
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid
        assert self._process.stderr is not None
        self._voice = self._process.stderr
        os.set_blocking(self._voice.fileno(), False)
        self._rest = b""
        self.last_line = ""

    def poll(self) -> int | None:
        """Hear what it says; the code that it ended with, as `subprocess.Popen` gives it."""
        if self._process.returncode is None:
            self._listen()
            if _has_ended(self.pid):
                self._bury()
        return self._process.returncode

    def terminate(self) -> None:
        """Ask it to leave."""
        if self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and whatever it has started, at once."""
        if self._process.returncode is None:
            self._kill_family()

    def wait(self, patience_s: float) -> int:
        """Wait for it to leave, by force after ``patience_s``; the code that it ended with."""
        deadline_s = time.monotonic() + patience_s
        while self.poll() is None and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        if self._process.returncode is None:
            self._bury()
        code = self._process.returncode
        assert code is not None
        return code

    def _bury(self) -> None:
        # As long as nobody has asked for its code it keeps its number: nobody else can be hit.
        self._kill_family()
        self._process.wait()
        os.close(self._lifeline)
        self._listen()
        if self._rest:
            self._say(self._rest)
        self._voice.close()

    def _kill_family(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def _listen(self) -> None:
        try:
            data = os.read(self._voice.fileno(), _MOST_BYTES)
        except (BlockingIOError, ValueError):
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._say(line)
        if len(self._rest) > _MOST_BYTES:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self.last_line = text
            self._hear(text)


def _has_ended(pid: int) -> bool:
    """Whether it has, while its code is left where it is."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
