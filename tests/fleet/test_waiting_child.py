"""What a child waits for: on which queues, since a generation that it does not wait for costs it a
second; for Redis, for how long; and for a run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from fleet.machine.child import Child
from fleet.machine.departure import Departure, Leave
from fleet.machine.run_service import RunService
from fleet.machine.slot import Bulletin, Slot
from fleet.machine.worker_broker import WorkerBroker
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    GuardSpec,
    RolloutRecord,
    Task,
    encode,
)

UID = "ab" * 16


class ScriptEnded(Exception):
    """The script has no further line."""


class ScriptedBroker(WorkerBroker):
    """Answers each exchange with the next of ``script``, and notes what was waited for."""

    def __init__(self, script: list[tuple[int | None, list[int]]]) -> None:
        self.script = script
        self.waited_for: list[list[int]] = []

    def open_numbers(self, run_uid: str) -> list[int]:
        return []

    def exchange(
        self, run_uid: str, batch: bytes | None, numbers: Sequence[int]
    ) -> tuple[bytes | None, list[int]]:
        self.waited_for.append(list(numbers))
        if not self.script:
            raise ScriptEnded
        number, open_numbers = self.script.pop(0)
        task = Task(MESSAGE_VERSION, UID, number or 0, "0" * 32, 0, 1, 0)
        return (encode(task) if number is not None else None), open_numbers

    def experiment(self, run_uid: str) -> bytes | None:
        return None  # declared a while ago

    def generation(self, run_uid: str, number: int) -> bytes | None:
        return None  # closed in the meantime


class ShutBroker(ScriptedBroker):
    """Redis is gone, at which ``notes`` is told what the guard sees meanwhile."""

    def __init__(self, slot: Slot, notes: list[int | None]) -> None:
        super().__init__([])
        self._slot, self._notes = slot, notes

    def send(self, run_uid: str, batch: bytes) -> None:
        state = self._slot.read()
        assert state is not None
        assert state.doing is not None
        self._notes.append(state.doing.rollout)
        raise ScriptEnded


class SlowEvaluator:
    def evaluate(self, generation: Any, rollout: int, *_given: Any) -> RolloutRecord:
        time.sleep(0.3)
        return RolloutRecord(rollout, 0, "ok", fitness=1.0, length=5)


@pytest.mark.parametrize("most_rollouts", [100, 1])
def test_waiting_for_redis_is_no_rollouts_time(most_rollouts: int) -> None:
    """The guard would take it for a hanging rollout: between two of a task, and at the last one of
    a worn process.
    """
    slot, notes, nothing = Slot.create(), list[int | None](), cast(Any, None)
    guard = GuardSpec(max_rollouts_per_process=most_rollouts)
    experiment = Experiment(MESSAGE_VERSION, UID, "1", "", "", nothing, nothing, nothing, guard)
    service = RunService(
        "w",
        Bulletin(slot),
        ShutBroker(slot, notes),
        experiment,
        cast(Any, SlowEvaluator()),
        may_serve=lambda uid: True,
        departure=Departure(),
    )
    with pytest.raises(ScriptEnded):
        service._evaluate(Task(MESSAGE_VERSION, UID, 0, "0" * 32, 0, 4, 0), nothing, 0.0)
    slot.close()
    assert notes == [None]


class IdleBroker(ScriptedBroker):
    def live_runs(self) -> list[Any]:
        return []


def test_a_worker_that_leaves_where_there_is_no_run_gives_a_relay_time_to_look() -> None:
    slot = Slot.create()
    child = Child(
        cast(Any, None),
        Bulletin(slot),
        "w",
        include=None,
        noise_dir=None,
        run=None,
        burst_after_s=60.0,
        avoid=None,
        departure=Departure(),
    )
    assert child._choose(IdleBroker([])) is None
    child._idle_since_s -= child._burst_after_s
    with pytest.raises(Leave):
        child._choose(IdleBroker([]))
    slot.close()


def test_a_task_of_a_generation_that_opened_meanwhile_makes_the_one_after_it_the_next() -> None:
    broker = ScriptedBroker([(0, []), (1, [0]), (2, [1])])
    slot = Slot.create()
    nothing: Any = None
    experiment = Experiment(
        MESSAGE_VERSION, UID, "1", "", "", nothing, nothing, nothing, GuardSpec()
    )
    service = RunService(
        "w",
        Bulletin(slot),
        broker,
        experiment,
        nothing,
        may_serve=lambda uid: True,
        departure=Departure(),
    )
    with pytest.raises(ScriptEnded):
        service.until_over()
    slot.close()
    for task_number, numbers in zip([0, 1, 2], broker.waited_for[1:], strict=True):
        assert task_number + 1 in numbers
