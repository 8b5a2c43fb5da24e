"""The processes of a machine that is a part of this one, and how all of them are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import processes
from cluster.local.processes import MACHINE_VARIABLE, Leader, birth_of

DEADLINE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]

# A leader that heeds SIGTERM as it was told, with a child in its group and one in a session of its
# own, both deaf.
LEADER = """
import os, signal, sys, time
def child(own_session):
    if os.fork() == 0:
        if own_session:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(f"child-{own_session}", "w").write(str(os.getpid()))
        time.sleep(600)
        os._exit(0)
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child(False)
child(True)
print("up", flush=True)
time.sleep(600)
"""


def wait_for(is_so: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"no {what} in {DEADLINE_S:g} s"
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "clusters" / "oak-12345678" / "machines" / "worker-0"
    folder.mkdir(parents=True)
    yield folder
    processes.end({folder: None}, patience_s=0.0)


def start(folder: Path, how: str = "heeding") -> Leader:
    leader = processes.start(
        [sys.executable, "-c", LEADER, how],
        folder=folder,
        log=folder / "log",
        environment={**os.environ, MACHINE_VARIABLE: str(folder)},
    )
    wait_for(lambda: all(child(folder, own) for own in (False, True)), "two children")
    return leader


def child(folder: Path, own_session: bool) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((folder / f"child-{own_session}").read_text())
    return 0


def test_a_machine_is_a_session_and_a_group_of_its_own_that_says_things_into_its_log(
    machine: Path,
) -> None:
    leader = start(machine)
    assert os.getsid(leader.pid) == os.getpgid(leader.pid) == leader.pid != os.getpgid(0)
    wait_for(lambda: (machine / "log").read_text() == "up\n", "line in the log")
    assert leader.is_alive
    assert processes.machines_at_work(machine.parents[2]) == {machine: 3}


@pytest.mark.parametrize("how", ["heeding", "deaf"])
def test_ending_a_machine_ends_all_its_processes_whatever_session_they_went_to(
    machine: Path, how: str
) -> None:
    leader = start(machine, how)
    children = [child(machine, own) for own in (False, True)]
    assert processes.end({machine: leader}, patience_s=0.2) == []
    assert not leader.is_alive
    assert [birth_of(pid) for pid in [leader.pid, *children]] == [None] * 3
    assert processes.machines_at_work(machine.parents[2]) == {}


def test_children_of_a_leader_that_was_killed_are_found_and_ended(machine: Path) -> None:
    leader = start(machine)
    os.kill(leader.pid, signal.SIGKILL)
    wait_for(lambda: not leader.is_alive, "end of the leader")
    assert processes.machines_at_work(machine.parents[2]) == {machine: 2}
    assert processes.end({machine: None}, patience_s=0.0) == []
    assert processes.machines_at_work(machine.parents[2]) == {}


def test_another_process_that_got_the_number_is_neither_the_leader_nor_ended(
    machine: Path,
) -> None:
    other = start(machine.with_name("worker-0"))
    earlier = Leader(pid=other.pid, birth="an earlier boot:1")
    assert not earlier.is_alive
    elsewhere = machine.with_name("worker-1")
    assert processes.end({elsewhere: earlier}, patience_s=0.0) == []
    assert other.is_alive


def test_who_ends_a_machine_from_within_it_is_spared(machine: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from cluster.local import processes\n"
        "folder = Path(os.environ['WALKING_ES_MACHINE'])\n"
        "if os.fork() == 0:\n    import time; time.sleep(600)\n"
        "leader = processes.Leader(pid=os.getpid(), birth=processes.birth_of(os.getpid()))\n"
        "print(processes.end({folder: leader}, patience_s=0.0), flush=True)\n"
    )
    leader = processes.start(
        [sys.executable, "-c", program],
        folder=machine,
        log=machine / "log",
        environment={**os.environ, MACHINE_VARIABLE: str(machine), "PYTHONPATH": str(ROOT)},
    )
    wait_for(lambda: not leader.is_alive, "end of the process")
    assert (machine / "log").read_text() == "[]\n"
    assert processes.machines_at_work(machine.parents[2]) == {}
