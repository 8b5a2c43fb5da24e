"""When something that keeps dying may start again, and what people are told of it."""

from __future__ import annotations

from collections import deque

WAITS_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
MANY = 5
_WINDOW_S = 120.0


class Restarts:
    """The deaths of one relay, one server or one worker.

    Args:
        what: its name in a sentence.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._deaths_s: deque[float] = deque()
        self._in_vain = 0
        self._how = ""
        self._is_told = False
        self.start_at_s = -float("inf")

    def died(self, now_s: float, how: str, *, in_vain: bool) -> str:
        """It ended without being asked to; what to tell people, who hear of a bout of it once.

        Args:
            now_s: monotonic clock.
            how: the end of a sentence, or a line of its own.
            in_vain: before it was of any use; the next ones then wait longer and longer.
        """
        self._forget(now_s)
        self._deaths_s.append(now_s)
        self._in_vain = self._in_vain + 1 if in_vain else 0
        self._how = how
        self.start_at_s = now_s + self.wait_s
        trouble = self.trouble(now_s)
        is_told, self._is_told = self._is_told, bool(trouble)
        return "" if is_told and trouble else trouble or f"{self._what} died: {how}"

    @property
    def wait_s(self) -> float:
        """From its last death to its next start."""
        return WAITS_S[min(self._in_vain, len(WAITS_S) - 1)]

    def trouble(self, now_s: float) -> str:
        """One line where it dies again and again, else nothing."""
        self._forget(now_s)
        if len(self._deaths_s) < MANY:
            return ""
        span_s = max(1.0, self._deaths_s[-1] - self._deaths_s[0])
        every = f"every {self.wait_s:g} s" if self.wait_s else "at once"
        return (
            f"{self._what} died {len(self._deaths_s)} times in {span_s:.0f} s: {self._how}; "
            f"trying again {every}"
        )

    def _forget(self, now_s: float) -> None:
        while self._deaths_s and now_s - self._deaths_s[0] > _WINDOW_S:
            self._deaths_s.popleft()
