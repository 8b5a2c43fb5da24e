"""The services of a guest: what systemd does with units, as far as the stand-in goes."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

from confinement import confined
from unit_file import Unit, UnitError, read_environment

MARK = "INVOCATION_ID"
"""In the environment of all that a service has started, as with systemd."""


class Service:
    """One unit, and the processes that it has started.

    Args:
        environment: of every service.
        journal: file for what they say.
        root: what stands for the machine's disk; ``/``: it is, and ``User=`` is heeded.
    """

    def __init__(self, unit: Unit, environment: dict[str, str], journal: Path, root: Path) -> None:
        self.unit = unit
        self.phase = "inactive"
        self.starts = 0
        self._common = environment
        self._journal = journal
        self._root = root
        self._may_change_user = root == Path("/")
        self._mark = ""
        self._pid = 0
        self._started_s: list[float] = []
        self._deadline_s = 0.0
        self._left: list[list[str]] = []

    def start(self) -> None:
        """Have it run; a `UnitError` says why it cannot."""
        if self.phase in {"active", "activating"}:
            return
        if self.unit.required_path and not Path(self.unit.required_path).exists():
            return
        now_s = time.monotonic()
        within_s = self.unit.starts_within_s
        self._started_s = [at_s for at_s in self._started_s if now_s - at_s < within_s]
        if within_s and len(self._started_s) >= self.unit.starts_at_most:
            self.phase = "failed"
            raise UnitError(f"{self.unit.name}: Start request repeated too quickly.")
        self._started_s.append(now_s)
        self._mark = uuid.uuid4().hex
        self.starts += 1
        for name in self.unit.made_folders.values():
            folder = self._root / name.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            if self._may_change_user and self.unit.user:
                os.chown(folder, *_ids(self.unit.user))
        self._left = [*self.unit.before, *self.unit.commands]
        self.phase = "activating" if self.unit.kind == "oneshot" else "active"
        self._next_command()

    def stop(self) -> None:
        """Ask it to end; `tend` ends it."""
        if self.phase == "auto-restart":
            self.phase = "inactive"
        if self.phase not in {"active", "activating"}:
            return
        self.phase = "deactivating"
        self._deadline_s = time.monotonic() + self.unit.stop_s
        number = getattr(signal, self.unit.kill_signal)
        for pid in self.pids() if self.unit.kill_mode == "control-group" else [self._pid]:
            _signal(pid, number)

    def tend(self) -> None:
        """Do what is due; call it several times a second."""
        now_s = time.monotonic()
        if self.phase == "auto-restart" and now_s >= self._deadline_s:
            self.phase = "inactive"
            with suppress(UnitError):
                self.start()
        elif self.phase == "deactivating" and now_s >= self._deadline_s:
            self.kill()

    def reaped(self, pid: int, status: int) -> None:
        """A process has ended; nothing happens if it was not this service's own."""
        if pid != self._pid:
            return
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        clean = {0, *self.unit.success}
        if self.unit.kind != "oneshot":
            clean |= {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE}
        if code in clean and self._left and self.phase != "deactivating":
            self._next_command()
            return
        self._note(f"{self.unit.name}: main process ended, code {code}")
        if self.unit.kill_mode != "process":
            self._kill_rest()
        self._ended(code, was_clean=code in clean)

    def pids(self) -> list[int]:
        """All that the service has started and that has not ended."""
        return marked(MARK, self._mark) if self._mark else []

    def kill(self) -> None:
        """At once."""
        for pid in {*self.pids(), self._pid} - {0}:
            _signal(pid, signal.SIGKILL)

    def _next_command(self) -> None:
        command = self._left.pop(0)
        environment = {**self._common, **self._folders(), **read_environment(self.unit)}
        environment[MARK] = self._mark
        words = [part for word in command for part in _expanded(word, environment, self.unit.name)]
        forgiving, words[0] = words[0].startswith("-"), words[0].lstrip("-")
        if forgiving:
            words = ["/bin/sh", "-c", '"$@" || true', "sh", *words]
        own = self._root / "bin" / Path(words[0]).name
        if self._root != Path("/") and own.is_file():
            words[0] = str(own)
        user = self.unit.user if self._may_change_user else ""
        if user:
            home = pwd.getpwnam(user).pw_dir
            environment = {"HOME": home, "USER": user, "LOGNAME": user, **environment}
        if self._may_change_user:
            words = confined(self.unit, words)
        with self._output().open("ab") as output:
            process = subprocess.Popen(
                words,
                env=environment,
                cwd=self.unit.folder.lstrip("-") or "/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=self.unit.umask,
            )
        self._pid = process.pid
        process.returncode = 0  # init waits for it, as for everybody

    def _folders(self) -> dict[str, str]:
        """What tells the service of those that are made for it."""
        made = self.unit.made_folders.items()
        return {name: str(self._root / folder.lstrip("/")) for name, folder in made}

    def _ended(self, code: int, *, was_clean: bool) -> None:
        for command in self.unit.after:
            subprocess.run(command, env=self._common, check=False)
        again = {
            "always": True,
            "on-failure": not was_clean,
            "on-success": was_clean,
            "on-abnormal": code < 0 and not was_clean,
        }.get(self.unit.restart, False)
        if self.phase == "deactivating" or (was_clean and not again):
            self.phase = "active" if self.unit.remains and was_clean else "inactive"
        elif again and code not in self.unit.never_restart_after:
            self.phase = "auto-restart"
            self._deadline_s = time.monotonic() + self.unit.restart_s
        else:
            self.phase = "failed"

    def _kill_rest(self) -> None:
        for pid in self.pids():
            _signal(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + 5.0
        while (left := self.pids()) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        for pid in left:
            _signal(pid, signal.SIGKILL)

    def _output(self) -> Path:
        kind, _, path = self.unit.output.partition(":")
        return Path(path) if kind in {"append", "file", "truncate"} else self._journal

    def _note(self, text: str) -> None:
        with self._journal.open("a") as journal:
            journal.write(f"[systemd] {text}\n")


def marked(name: str, value: str) -> list[int]:
    """Living processes whose environment says so."""
    wanted, found = f"{name}={value}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and wanted in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _ids(user: str) -> tuple[int, int]:
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise UnitError(f"User= names {user}, who is not there") from None
    return found.pw_uid, found.pw_gid


def _expanded(word: str, environment: dict[str, str], name: str) -> list[str]:
    word = word.replace("%n", name).replace("%H", os.uname().nodename).replace("%%", "%")
    if re.fullmatch(r"\$[A-Za-z_]\w*", word):
        return environment.get(word[1:], "").split()
    return [re.sub(r"\$\{([A-Za-z_]\w*)\}", lambda m: environment.get(m[1], ""), word)]


def append_to(path: Path) -> IO[bytes]:
    """A log, opened for what a program says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
