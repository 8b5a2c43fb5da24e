"""How a child leaves: at once when asked to, but never with a task that nobody knows it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Leave(SystemExit):
    """The child's way out, with its exit code."""


class Departure:
    """What SIGTERM asks for, put off while a task may be on its way from Redis to the slot."""

    def __init__(self) -> None:
        self._is_asked = False
        self._is_held = False

    def ask(self) -> None:
        """Raise `Leave`, now or when it is held up no longer; what a signal's handler calls."""
        self._is_asked = True
        if not self._is_held:
            raise Leave(0)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing in here is interrupted."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            if self._is_asked:
                raise Leave(0)
