"""The init of a guest: makes its disk, runs its user data once, keeps its services, ends with it.

``python guest.py PLAN``: a file with a `Plan` in JSON. It is told what to do by lines on its
standard input (``go``, ``shutdown``, ``reboot``), and ends at once when that is closed: so nothing
of a guest outlives the test that started it. It says what happens on the plan's descriptor.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guest_disk import GuestDisk, empty
from guest_requests import STAND_INS, answer
from relocated import lay_out, relocated
from services import Service, append_to, marked
from stand_in import DEFAULT_SOCKET, SOCKET
from unit_file import UnitError, read_unit

GUEST_MARK = "GUEST"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TEND_S = 0.1
_BUSY = {"active", "activating", "deactivating"}


@dataclass
class Plan:
    """What a guest is.

    Attributes:
        name: the instance's id.
        folder: its own on this machine, for logs.
        user_data: as EC2 gives it, base64.
        environment: of everything that runs in it.
        interpreter: a Python that is in it; of the system's own kind, with no packages.
        status: descriptor for what happens.
        is_apart: whether it has namespaces of its own.
        host_name: what it is called.
        hidden, shown: see `GuestDisk.make`.
        scratch: where it has no disk of its own: a folder with a path that is short enough for
            sockets, for what is temporary.
        programs: of this machine's, by where the guest has them.
        packages: what ``apt-get`` knows, with the program each brings, or none.
    """

    name: str
    folder: str
    user_data: str
    environment: dict[str, str]
    interpreter: str
    status: int
    is_apart: bool = True
    host_name: str = ""
    scratch: str = ""
    hidden: list[str] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)


class Guest:
    """A machine from its first process' point of view."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.services: dict[str, Service] = {}
        self.power_at: tuple[float, str] | None = None
        self.enabled: list[str] = []
        self.root = Path("/") if plan.is_apart else Path(plan.folder) / "root"
        self._logs = self.root / "var/log"
        self._user_data_pid = 0
        self._said = b""
        self._asking: list[tuple[socket.socket, dict[str, Any]]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._ending = ""
        self._hurry_s = float("inf")

    @property
    def environment(self) -> dict[str, str]:
        """What everything in here starts with."""
        path = _PATH if self.plan.is_apart else f"{self.root}/bin:{os.environ['PATH']}"
        ours = {"PATH": path, "LANG": "C.UTF-8", GUEST_MARK: self.plan.name}
        if not self.plan.is_apart:
            ours |= {SOCKET: self._socket_name, "HOME": str(self.root / "root")}
            ours["TMPDIR"] = self.plan.scratch
        return ours | {name: self._meant(text) for name, text in self.plan.environment.items()}

    def boot(self) -> None:
        """Make the disk and start."""
        self._make_disk() if self.plan.is_apart else self._make_folders()
        self._listener.bind(f"\0{self._socket_name}")
        self._listener.listen(16)
        self.say("booted")
        self._run_user_data()

    def say(self, event: str, **facts: Any) -> None:
        """Let the simulator know."""
        line = json.dumps({"event": event, **facts}) + "\n"
        os.write(self.plan.status, line.encode())

    def run(self) -> None:
        """Until it is switched off."""
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while not self._is_over():
            ready, _, _ = select.select([0, self._listener, wake], [], [], _TEND_S)
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
            if 0 in ready:
                self._hear()
            if self._listener in ready:
                self._take_request()
            self._reap()
            for service in list(self.services.values()):
                service.tend()
            self._answer_requests()
            if self.power_at is not None and time.monotonic() >= self.power_at[0]:
                self._begin_to_end(self.power_at[1])
        self._kill_everything()
        self.say("off")

    def service(self, name: str) -> Service:
        """By its unit's name; read again unless it runs. A `UnitError` says why there is none."""
        name = name if "." in name else f"{name}.service"
        known = self.services.get(name)
        if known is not None and known.phase != "inactive":
            return known
        folders = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
        unit = read_unit(name, tuple(self.root / folder for folder in folders), self._meant)
        service = Service(unit, self.environment, self._logs / "journal.log", self.root)
        self.services[name] = service
        return service

    def _meant(self, text: str) -> str:
        return text if self.plan.is_apart else relocated(text, self.root)

    def note(self, text: str) -> None:
        """A line in the journal."""
        with append_to(self._logs / "journal.log") as journal:
            journal.write(f"{text}\n".encode())

    @property
    def _socket_name(self) -> str:
        return DEFAULT_SOCKET if self.plan.is_apart else f"guest-{self.plan.name}"

    def _make_disk(self) -> None:
        logs = Path(self.plan.folder) / "log"
        disk = GuestDisk(Path(self.plan.folder) / "disk")
        disk.make(self.plan.hidden, self.plan.shown)
        disk.show(str(logs), "/var/log", writable=True)
        stand_in = Path(__file__).with_name("stand_in.py").read_text()
        for where in STAND_INS:
            disk.write(where, f"#!{self.plan.interpreter} -IS\n{stand_in}", 0o755)
        for where, program in self.plan.programs.items():
            disk.write(where, f'#!/bin/sh\nexec {program} "$@"\n', 0o755)
        name = self.plan.host_name
        disk.write("/etc/hostname", f"{name}\n")
        disk.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
        disk.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")  # refuses at once
        if not (disk.root / "usr/bin/python3").exists():
            (disk.root / "usr/bin/python3").symlink_to(self.plan.interpreter)
        socket.sethostname(name)
        disk.enter()

    def _make_folders(self) -> None:
        lay_out(self.root, self.plan.interpreter, self.plan.shown, self.plan.programs)
        stand_in = Path(__file__).with_name("stand_in.py").read_text()
        for where in STAND_INS:
            path = self.root / "bin" / Path(where).name
            path.write_text(f"#!{self.plan.interpreter} -IS\n{stand_in}")
            path.chmod(0o755)

    def _run_user_data(self) -> None:
        data = base64.b64decode(self.plan.user_data)
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        if not data.startswith(b"#!"):
            self.note("[cloud-init] the user data is no script: nothing is run")
            self.say("user data", code=-1)
            return
        script = self.root / "var/lib/cloud/instance/scripts/part-001"
        script.parent.mkdir(parents=True)
        if not self.plan.is_apart:
            data = relocated(data.decode(), self.root).encode()
        script.write_bytes(data)
        script.chmod(0o700)
        with append_to(self._logs / "cloud-init-output.log") as output:
            process = subprocess.Popen(
                [str(script)],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._user_data_pid, process.returncode = process.pid, 0

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._user_data_pid:
                    self.say("user data", code=os.waitstatus_to_exitcode(ended[1]))
                for service in list(self.services.values()):
                    service.reaped(*ended)

    def _hear(self) -> None:
        data = os.read(0, 4096)
        if not data:  # whoever started us is gone
            self._kill_everything()
            os._exit(1)
        self._said += data
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            if line in (b"shutdown", b"reboot"):
                self._begin_to_end("reboot" if line == b"reboot" else "off")

    def _take_request(self) -> None:
        client = self._listener.accept()[0]
        client.settimeout(5.0)
        with suppress(OSError, json.JSONDecodeError):
            self._asking.append((client, json.loads(client.makefile().readline())))

    def _answer_requests(self) -> None:
        for client, request in list(self._asking):
            try:
                said = answer(self, request)
            except UnitError as error:
                said = (5, f"{error}\n")
            if said is not None:
                self._asking.remove((client, request))
                with suppress(OSError), client:
                    client.sendall(json.dumps({"code": said[0], "text": said[1]}).encode() + b"\n")

    def _begin_to_end(self, how: str) -> None:
        self.power_at = None
        if not self._ending:
            self._ending = how
            patience_s = sum(service.unit.stop_s for service in self.services.values())
            self._hurry_s = time.monotonic() + patience_s + 1.0

    def _is_over(self) -> bool:
        if not self._ending:
            return False
        busy = {n for n, s in self.services.items() if s.phase in _BUSY and s.pids()}
        for name in busy:
            if not busy & set(self.services[name].unit.ends_after):
                self.services[name].stop()
        if busy and time.monotonic() < self._hurry_s:
            return False
        if self._ending == "reboot":
            self._start_again()
            return False
        return True

    def _start_again(self) -> None:
        self._kill_everything()
        self._reap()
        self._ending, self._hurry_s = "", float("inf")
        self.services.clear()
        empty([str(self.root / name) for name in ("tmp", "dev/shm") if (self.root / name).is_dir()])
        self.say("booted")
        for name in self.enabled:
            with suppress(UnitError):
                self.service(name).start()

    def _kill_everything(self) -> None:
        if self.plan.is_apart:
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        deadline_s = time.monotonic() + 10.0
        while time.monotonic() < deadline_s:
            left = [pid for pid in marked(GUEST_MARK, self.plan.name) if pid != os.getpid()]
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not left:
                return
            time.sleep(0.02)


def main() -> None:
    """Be a guest."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    os.set_inheritable(plan.status, False)
    guest = Guest(plan)
    guest.say("here")
    if sys.stdin.buffer.raw.readline() != b"go\n":  # type: ignore[union-attr]
        return
    guest.boot()
    guest.run()


if __name__ == "__main__":
    main()
