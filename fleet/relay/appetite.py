"""How much work a relay wants, and how it cuts what it has: pure functions of what it sees."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from search.messages import Task

_WINDOW_S = 1.0
_LEAST_SPAN_S = 0.1
_LONGEST_WAY_S = 1.0
_SMOOTHING = 0.1


class Pace:
    """How long rollouts last behind a relay, how many are answered a second, how large tasks are.

    Attributes:
        rollout_s: a worker's time in one, of late; infinite before the first answer.
        task_size: rollouts in one task, of late.
        way_s: how long tasks are on their way once they have been asked for.
    """

    def __init__(self) -> None:
        self.rollout_s = float("inf")
        self.task_size = 1.0
        self.way_s = 0.0
        self._answers: deque[tuple[float, int]] = deque()
        self._num_answers = 0

    def answered(self, num_rollouts: int, evaluation_s: float, now_s: float) -> None:
        """A worker took ``evaluation_s`` for so many rollouts."""
        self._answers.append((now_s, num_rollouts))
        self._num_answers += num_rollouts
        self._forget(now_s)
        if num_rollouts and evaluation_s > 0:
            one_s = evaluation_s / num_rollouts
            if self.rollout_s == float("inf"):
                self.rollout_s = one_s
            self.rollout_s += _SMOOTHING * (one_s - self.rollout_s)

    def handed_down(self, task: Task) -> None:
        """Learn from the size of a task."""
        self.task_size += _SMOOTHING * (task.stop - task.first - self.task_size)

    def carried(self, seconds: float) -> None:
        """Tasks were so long on their way."""
        self.way_s += _SMOOTHING * (min(seconds, _LONGEST_WAY_S) - self.way_s)

    def lead(self, lead_s: float, now_s: float, num_workers: int) -> int:
        """Rollouts that are done within ``lead_s`` and while they are on their way: else a relay
        whose way is long would starve its workers, see that they do little, and ask for less. None
        where one takes longer than ``lead_s``.

        Never more than so many workers could do: what comes after a pause comes in a heap.
        """
        self._forget(now_s)
        if self.rollout_s >= lead_s or not self._answers:
            return 0
        span_s = max(_LEAST_SPAN_S, now_s - self._answers[0][0])
        most_per_s = max(1, num_workers) / max(self.rollout_s, 1e-6)
        return int((lead_s + self.way_s) * min(most_per_s, self._num_answers / span_s))

    def _forget(self, now_s: float) -> None:
        while self._answers and now_s - self._answers[0][0] > _WINDOW_S:
            self._num_answers -= self._answers.popleft()[1]


def num_hungry(blocked: int, crew: int, in_hand: int, *, has_relays: bool) -> int:
    """Workers that could begin a rollout at once.

    Args:
        blocked: clients that wait for a task, which is the truth where they are workers; a relay
            that waits may stand for many.
        crew: workers of the run, those behind relays too.
        in_hand: rollouts that they have not answered yet.
        has_relays: whether some of the clients are relays.
    """
    if blocked <= 0 or not has_relays:
        return max(0, blocked)
    return max(blocked, crew - in_hand)


def num_wanted(hungry: int, queued: float, lead: int) -> int:
    """Rollouts that should be asked for.

    Args:
        hungry: workers that have none.
        queued: rollouts that wait for a worker.
        lead: rollouts to have at hand; asked for when less than half of them are.
    """
    if hungry > queued:
        return int(hungry - queued) + lead
    return int(lead - queued) if 2 * queued < lead else 0


def split(tasks: Sequence[Task], num_pieces: int) -> list[Task]:
    """The same rollouts in the same order, the longest ranges cut until there are ``num_pieces``
    or none has more than one rollout. Attempt and copy stay.
    """
    parts = [1] * len(tasks)
    sizes = [task.stop - task.first for task in tasks]
    for _ in range(max(0, min(num_pieces, sum(sizes)) - len(tasks))):
        longest = max(
            range(len(tasks)), key=lambda i: sizes[i] / parts[i] if parts[i] < sizes[i] else 0
        )
        parts[longest] += 1
    return [
        msgspec.structs.replace(
            task, first=task.first + size * k // n, stop=task.first + size * (k + 1) // n
        )
        for task, size, n in zip(tasks, sizes, parts, strict=True)
        for k in range(n)
    ]
