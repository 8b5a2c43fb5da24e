"""What a relay has handed down and not seen the answer of: enough to give it back."""

from __future__ import annotations

from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord, Task


class HandedDown:
    """Rollouts below a relay, each with the attempt and the copy handed out last. Pure."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, str], dict[int, tuple[int, int]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._copies.values()))

    def add(self, task: Task) -> None:
        """These rollouts are below now."""
        copies = self._copies.setdefault((task.number, task.digest), {})
        for rollout in range(task.first, task.stop):
            copies[rollout] = task.attempt, task.copy

    def answer(self, batch: RecordBatch) -> None:
        """Take off what ``batch`` answers; only an ``ok`` speaks for every copy."""
        copies = self._copies.get((batch.number, batch.digest), {})
        for record in batch.records:
            if record.status == "ok" or copies.get(record.rollout, (0, -1))[1] == record.copy:
                copies.pop(record.rollout, None)

    def forget(self, number: int) -> None:
        """Nobody wants answers of this generation any more."""
        for name in [name for name in self._copies if name[0] == number]:
            del self._copies[name]

    def give_back(self, run_uid: str, sender: str) -> list[RecordBatch]:
        """All of them, as records that say so; they are below no more."""
        batches = []
        for (number, digest), copies in self._copies.items():
            records = tuple(
                RolloutRecord(rollout, attempt, "returned", copy)
                for rollout, (attempt, copy) in sorted(copies.items())
            )
            if records:
                batches.append(
                    RecordBatch(MESSAGE_VERSION, run_uid, number, digest, sender, records)
                )
        self._copies.clear()
        return batches


def given_back(task: Task, sender: str) -> RecordBatch:
    """A batch that says that nobody has begun ``task``."""
    records = tuple(
        RolloutRecord(rollout, task.attempt, "returned", task.copy)
        for rollout in range(task.first, task.stop)
    )
    return RecordBatch(MESSAGE_VERSION, task.run_uid, task.number, task.digest, sender, records)
