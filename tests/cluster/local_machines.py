"""Machines of a small cluster, run as they are run on any: processes with a machine.json."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cluster.local.folders import ClusterFolder, MachineFolder
from cluster.local.processes import MACHINE_VARIABLE, Leader, birth_of, end
from cluster.machine.platform import MachineSettings
from cluster.spec import SPEC_KEY, ClusterSpec
from cluster.store import ENDED_KEY, PROGRESS_KEY, Ended, FolderStore, Progress

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0
SPHERE = ("sphere", "pop_size=8", "seed=5")


class Machines:
    """A cluster's folder and what runs in it; a context manager that leaves nothing running."""

    def __init__(self, folder: Path, **about: Any) -> None:
        self.cluster = ClusterFolder(folder / "clusters" / "trial-01234567")
        words: dict[str, Any] = {
            "name": "trial",
            "uid": "0123456789abcdef" * 2,
            "owner": "me",
            "size": 1,
            "workers_per_machine": 1,
            "source": "ab" * 32,
            "created_s": time.time(),
            "max_hours": 1.0,
            "config": SPHERE,
        }
        self.spec = ClusterSpec(**{**words, **about})
        self.store: FolderStore = self.cluster.store
        self.store.put(SPEC_KEY, msgspec.json.encode(self.spec))
        for name in ("redis-password", "worker-password"):
            self.cluster.keep_secret(name, f"{name}-of-this-test")
        self.port = free_port()
        self.include = ""
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *, program: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the machine of that name; another process of it when there was one."""
        machine = self.cluster.machine(name)
        machine.work.mkdir(parents=True, exist_ok=True)
        settings = MachineSettings(
            provider="local",
            role=machine.role,
            key=self.cluster.key,
            store=str(self.cluster.store_path),
            work_dir=str(machine.work),
            name=name,
            redis_port=self.port,
            include=self.include,
        )
        machine.settings.write_bytes(msgspec.json.encode(settings))
        command = program or (sys.executable, "-m", f"cluster.machine.{machine.role}")
        with machine.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, str(machine.settings)],
                cwd=ROOT,
                env={**os.environ, MACHINE_VARIABLE: str(machine.path)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        machine.leader = Leader(pid=process.pid, birth=birth_of(process.pid) or "")
        return process

    def lose(self, process: subprocess.Popen[bytes], machine: MachineFolder) -> None:
        """The machine goes as when its power fails."""
        process.send_signal(signal.SIGKILL)
        process.wait()
        end({machine.path: machine.leader}, 0.0)

    def said(self, name: str) -> str:
        """All that a machine has said."""
        try:
            return self.cluster.machine(name).log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def progress(self) -> Progress | None:
        data = self.store.get(PROGRESS_KEY)
        return None if data is None else msgspec.json.decode(data, type=Progress)

    def ended(self) -> Ended | None:
        data = self.store.get(ENDED_KEY)
        return None if data is None else msgspec.json.decode(data, type=Ended)

    def result(self, machine: str = "head", run_id: int = 1) -> dict[str, Any]:
        """What the run came to, as the store has it."""
        data = self.store.get(f"runs/{run_id}/run.json")
        assert data is not None, self.said(machine)
        result: dict[str, Any] = json.loads(data)["result"]
        return result

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Until it holds; with what the machines said when it never does."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline_s:
                told = {m.name: self.said(m.name)[-3000:] for m in self.cluster.machines()}
                raise AssertionError(f"never came: {what}\n" + "\n".join(map(str, told.items())))
            time.sleep(0.05)

    def __enter__(self) -> Machines:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        end({m.path: m.leader for m in self.cluster.machines()}, 0.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
