"""What a relay has handed down and has not seen an answer to go up: pure bookkeeping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord, Task

_MAX_RECORDS = 5000


class InHand:
    """Rollouts by generation, each with the copies of it and their attempts."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, int, str], dict[int, dict[int, int]]] = {}

    def __len__(self) -> int:
        """Rollouts."""
        return sum(map(len, self._copies.values()))

    def add(self, task: Task) -> None:
        """It is handed down."""
        rollouts = self._copies.setdefault((task.run_uid, task.number, task.digest), {})
        for rollout in range(task.first, task.stop):
            rollouts.setdefault(rollout, {})[task.copy] = task.attempt

    def answer(self, batch: RecordBatch) -> None:
        """Upstream has these records."""
        name = batch.run_uid, batch.number, batch.digest
        rollouts = self._copies.get(name)
        if rollouts is None:
            return
        for record in batch.records:
            copies = rollouts.get(record.rollout)
            if copies is None:
                continue
            copies.pop(record.copy, None)
            # An ok answers for every copy of the rollout, and does not say which it was.
            if record.status == "ok" or not copies:
                del rollouts[record.rollout]
        if not rollouts:
            del self._copies[name]

    def close(self, run_uid: str, number: int) -> None:
        """Nobody wants this generation any more."""
        for name in [name for name in self._copies if name[:2] == (run_uid, number)]:
            del self._copies[name]

    def keep_only(self, *run_uids: str | None) -> None:
        """Forget all other runs."""
        for name in [name for name in self._copies if name[0] not in run_uids]:
            del self._copies[name]

    def given_back(self, worker: str) -> Iterator[RecordBatch]:
        """Records, from ``worker``, that say of all of it that it is given back undone. It stays
        here until they have gone up.
        """
        for (run_uid, number, digest), rollouts in self._copies.items():
            records = [
                RolloutRecord(rollout, attempt, "returned", copy)
                for rollout, copies in rollouts.items()
                for copy, attempt in copies.items()
            ]
            for start in range(0, len(records), _MAX_RECORDS):
                some = tuple(records[start : start + _MAX_RECORDS])
                yield RecordBatch(MESSAGE_VERSION, run_uid, number, digest, worker, some)


def given_back(tasks: Sequence[Task], worker: str) -> list[RecordBatch]:
    """Records that say of these tasks that nobody has begun them."""
    undone = InHand()
    for task in tasks:
        undone.add(task)
    return list(undone.given_back(worker))
