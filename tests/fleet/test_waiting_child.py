"""Which queues a child waits on, since a generation that it does not wait for costs it a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fleet.machine.departure import Departure
from fleet.machine.run_service import RunService
from fleet.machine.slot import Bulletin, Slot
from fleet.machine.worker_broker import WorkerBroker
from search.messages import MESSAGE_VERSION, Experiment, GuardSpec, Task, encode

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
