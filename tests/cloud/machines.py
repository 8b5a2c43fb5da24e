"""Machines of the simulated cloud, from outside: started, wired, told of their end, cut off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guest import GUEST_MARK, Plan
from metadata_service import ADDRESS, Metadata, MetadataServer
from moto_server import listening
from network_space import NetworkSpace
from services import marked

GATEWAY = "198.18.0.1"
"""Where moto is for guests: an address that no VPC has."""

LOOPBACK_PORT = 16925
"""Of the metadata service, where a machine is an address of this one's loopback."""

_GUEST = Path(__file__).with_name("guest.py")
_APART = ("unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
_PATIENCE_S = 60.0


class Bridge:
    """A network that all machines are on, and moto: nothing of it is seen from this machine."""

    def __init__(self) -> None:
        self.space = NetworkSpace.new()
        self._count = 0
        self.space.ip(
            "link set lo up",
            "link add bridge type bridge",
            f"addr add {GATEWAY}/32 dev bridge",
            "link set bridge up",
            "route add default dev bridge",
        )

    def lay(self, pid: int, address: str) -> tuple[str, NetworkSpace]:
        """A cable to the network that a process is in; its name at this end, and that network."""
        self._count += 1
        name = f"cable{self._count}"
        self.space.ip(
            f"link add {name} type veth peer name eth0 netns {pid}",
            f"link set {name} master bridge up",
        )
        inner = NetworkSpace.of(pid)
        inner.ip(
            "link set lo up",
            f"addr add {ADDRESS}/32 dev lo",
            f"addr add {address}/32 dev eth0",
            "link set eth0 up",
            f"route add default dev eth0 src {address}",
        )
        return name, inner

    def cut(self, name: str) -> None:
        """Nothing comes through this cable any more."""
        with suppress(OSError):
            self.space.ip(f"link set {name} down")

    def close(self) -> None:
        """Let it go; it vanishes with the last of its machines."""
        self.space.close()


class Machine:
    """One that runs.

    Args:
        plan: what it is; its ``status`` is filled in.
        address: its own.
        bridge: what it is on; None: this machine's loopback.
        metadata: what it is told of itself.
        on_off: called from a thread when it has been switched off from within.
    """

    def __init__(
        self,
        plan: Plan,
        address: str,
        bridge: Bridge | None,
        metadata: Metadata,
        on_off: Callable[[Machine], None],
    ) -> None:
        self.name, self.address, self.metadata = plan.name, address, metadata
        self.folder = Path(plan.folder)
        self.events: list[dict[str, Any]] = []
        self._bridge, self._plan, self._on_off = bridge, plan, on_off
        self._cable = ""
        self._is_ended_from_outside = False
        for part in ("log", "disk"):
            (self.folder / part).mkdir(parents=True)
        if bridge is None:
            plan.scratch = tempfile.mkdtemp(prefix="es-guest-")
        self._process, status = self._started()
        try:
            listener = self._wired()
        except BaseException:
            self._process.kill()
            self._process.wait()
            os.close(status)
            raise
        self._service = MetadataServer(metadata, listener)
        self._thread = threading.Thread(target=self._listen, args=(status,))
        self._thread.start()
        self._tell("go")

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def metadata_url(self) -> str:
        """Where it is told of itself."""
        return f"http://{ADDRESS}" if self._bridge else f"http://{self.address}:{LOOPBACK_PORT}"

    @property
    def init_pid(self) -> int:
        """Its first process', as this machine counts; 0: gone."""
        if self._bridge is None:
            return self._process.pid if self.is_on else 0
        with suppress(OSError, ValueError, IndexError):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            return int(children.read_text().split()[0])
        return 0

    def log(self, name: str = "cloud-init-output.log") -> str:
        """What it has written to a file of its ``/var/log``."""
        folder = self.folder / ("log" if self._bridge else "root/var/log")
        path = folder / name
        return path.read_text(errors="replace") if path.is_file() else ""

    def path(self, inner: str) -> str:
        """Where `run` finds what the guest has at that path."""
        return inner if self._bridge else f"{self.folder}/root{inner}"

    def story(self) -> str:
        """All its logs, for whoever reads of a failure."""
        folder = self.folder / ("log" if self._bridge else "root/var/log")
        parts = [f"== {self.name} at {self.address}: {self.events}"]
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            parts += [f"-- {path.relative_to(folder)}", path.read_text(errors="replace")[-6000:]]
        return "\n".join(parts)

    def run(self, *words: str, timeout_s: float = 30.0) -> str:
        """What a command prints that is run in it.

        Raises:
            subprocess.CalledProcessError: it fails.
        """
        # Where it has no place of its own, nothing leads to it but its address.
        prefix = []
        if self._bridge is not None:
            prefix = ["nsenter", f"--target={self.init_pid}", "--all", "--root", "--wd=/"]
        done = subprocess.run(
            [*prefix, *words], check=True, capture_output=True, text=True, timeout=timeout_s
        )
        return done.stdout

    def processes(self) -> list[int]:
        """Everything that runs in it, as this machine counts."""
        if self._bridge is None:
            return marked(GUEST_MARK, self.name)
        init = self.init_pid
        return processes_in(pid_space_of(init)) if init else []

    def has_done(self, event: str) -> dict[str, Any] | None:
        """What it said of that event, if it has come."""
        return next((said for said in reversed(self.events) if said["event"] == event), None)

    def shut_down(self) -> None:
        """As by a button, or EC2's TerminateInstances: in good order."""
        self._is_ended_from_outside = True
        self._tell("shutdown")

    def reboot(self) -> None:
        """In good order, and up again with the same disk."""
        self._tell("reboot")

    def lose(self) -> None:
        """From one moment to the next: cut off, and everything in it killed."""
        self._is_ended_from_outside = True
        if self._bridge is not None:
            self._bridge.cut(self._cable)
        self._kill()

    def close(self) -> None:
        """Have nothing of it left, whatever state it is in."""
        self._is_ended_from_outside = True
        self._kill()
        self._thread.join(_PATIENCE_S)
        self._service.close()
        if self._plan.scratch:
            shutil.rmtree(self._plan.scratch, ignore_errors=True)

    def _started(self) -> tuple[subprocess.Popen[bytes], int]:
        status, told = os.pipe()
        self._plan.status = told
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps(asdict(self._plan)))
        words = [*(_APART if self._bridge else ()), sys.executable, "-B", str(_GUEST), str(plan)]
        with (self.folder / "log" / "init.log").open("ab") as output:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[told],
                start_new_session=True,
                bufsize=0,
            )
        os.close(told)
        return process, status

    def _wired(self) -> Any:
        if self._bridge is None:
            return listening(self.address, LOOPBACK_PORT)
        deadline_s = time.monotonic() + _PATIENCE_S
        own, its = Path("/proc/self/ns/net"), Path(f"/proc/{self._process.pid}/ns/net")
        while its.stat().st_ino == own.stat().st_ino:
            if time.monotonic() > deadline_s:
                raise TimeoutError("unshare made no network")
            time.sleep(0.005)
        self._cable, inner = self._bridge.lay(self._process.pid, self.address)
        try:
            return inner.do(lambda: listening(ADDRESS, 80))
        finally:
            inner.close()

    def _tell(self, what: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(what.encode() + b"\n")

    def _listen(self, status: int) -> None:
        with open(status) as lines:
            for line in lines:
                self.events.append(json.loads(line))
        self._process.wait()
        if not self._is_ended_from_outside:
            self._on_off(self)

    def _kill(self) -> None:
        init, pids, space = self.init_pid, [], 0
        if self._bridge is not None and init:
            with suppress(OSError):
                space = pid_space_of(init)
        if self._bridge is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGSTOP)
            pids = marked(GUEST_MARK, self.name)
        for pid in [*pids, init, self._process.pid]:
            if pid and self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        # With its init the kernel ends all of a namespace, in its own time.
        deadline_s = time.monotonic() + _PATIENCE_S
        while left := processes_in(space) if self._bridge else marked(GUEST_MARK, self.name):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self.name}: {left} do not end")
            time.sleep(0.01)
        assert self._process.stdin is not None
        self._process.stdin.close()


def pid_space_of(pid: int) -> int:
    """The pid namespace that a process is in, by its inode."""
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino


def processes_in(space: int) -> list[int]:
    """Living processes in a pid namespace, by that one's inode."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "ns/pid").stat().st_ino == space:
                found.append(int(path.name))
    return found
