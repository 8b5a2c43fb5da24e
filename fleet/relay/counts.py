"""What a relay has done since it started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fleet.heartbeat import RelayBeat


@dataclass
class RelayCounts:
    """See `fleet.heartbeat.RelayBeat`.

    Attributes:
        notice: where a line for people goes.
        generations: copied.
        refused: messages that were none, or too long; people hear of the first.
        waiting_since_s: monotonic; the oldest record that has not gone up, if there is one.
        sending_s: what the last sending took.
    """

    notice: Callable[[str], None] = lambda line: None
    tasks: int = 0
    generations: int = 0
    records: int = 0
    batches: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    refused: int = 0
    waiting_since_s: float | None = field(default=None)
    sending_s: float = 0.0

    def refuse(self, why: object) -> None:
        """A message was none of ours."""
        self.refused += 1
        if self.refused == 1:
            self.notice(f"a message was refused, others will be without a word: {why}")

    def beat(self, upstream: str, run_uid: str, now_s: float, last_error: str) -> RelayBeat:
        """As it is told."""
        since_s = self.waiting_since_s
        return RelayBeat(
            upstream[:500],
            run_uid,
            self.tasks,
            self.records,
            self.batches,
            self.bytes_down,
            self.bytes_up,
            round(self.sending_s if since_s is None else now_s - since_s, 4),
            last_error[:500],
        )
