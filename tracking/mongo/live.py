"""Keeps MongoDB up to date beside a run that goes on: in a thread, never in the run's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pymongo
from pymongo.errors import PyMongoError

from errors import EsError, RunError
from tracking.mongo.connection import Document, check, in_words, open_client
from tracking.mongo.mirror import Mirror, Mirrored
from tracking.mongo.place import MongoPlace

EVERY_S = 2.0
JOURNAL_EVERY_S = 30.0
FINISH_S = 10.0

Notice = Callable[[str], None]

_MOST_PATIENCE_S = 15.0
_STOP_S = 1.0


class LiveMirror:
    """A context manager around a run, within which MongoDB follows the run's directory.

    A server that cannot be reached, or refuses, is one notice; the run goes on, the directory has
    all of it, and MongoDB is told when it is back, which is one notice too. At the end there are
    `FINISH_S` seconds for what is left; ``finished`` says whether they were enough.

    Args:
        place: where MongoDB is.
        directory: the run's; ``run.json`` may be written later.
        notice: told what people should know, from another thread.
        every_s: seconds between two looks.
        finish_s: seconds at the end.
    """

    def __init__(
        self,
        place: MongoPlace,
        directory: Path,
        notice: Notice,
        *,
        every_s: float = EVERY_S,
        finish_s: float = FINISH_S,
    ) -> None:
        self.finished = False
        self._place, self._directory = place, directory
        self._notice = notice
        self._every_s, self._finish_s = every_s, finish_s
        self._end = threading.Event()
        self._is_down = self._was_up = self._has_given_up = False
        self._client: pymongo.MongoClient[Document] | None = None
        self._thread = threading.Thread(target=self._follow, name="mongo-mirror", daemon=True)

    def __enter__(self) -> LiveMirror:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join(self._finish_s)
        client = self._client
        self._has_given_up = True
        if self._thread.is_alive() and client is not None:
            client.close()  # whatever it waits for fails now
            self._thread.join(_STOP_S)

    @contextmanager
    def telling(self, notice: Notice) -> Iterator[None]:
        """Have ``notice`` told within, instead of the one that was given."""
        before, self._notice = self._notice, notice
        try:
            yield
        finally:
            self._notice = before

    def _follow(self) -> None:
        patience_s = self._every_s
        while not self._end.wait(patience_s if self._is_down else 0.0):
            try:
                with open_client(self._place) as self._client:
                    self._follow_server(self._client)
                    return
            except EsError as error:
                self._say_down(error)
            except PyMongoError as error:
                self._say_down(in_words(error, self._place))
            except Exception as error:  # whatever it is, it must not hurt the run
                self._say_down(RunError(f"MongoDB at {self._place}: {_in_short(error)}"))
            patience_s = min(_MOST_PATIENCE_S, 1.5 * patience_s)
        self._last_try()

    def _follow_server(self, client: pymongo.MongoClient[Document]) -> None:
        """Until the end, or an error."""
        mirror = Mirror(check(client, self._place), self._directory)
        journal_s = time.monotonic()
        while not self._end.is_set():
            if self._is_begun():
                is_due = time.monotonic() - journal_s >= JOURNAL_EVERY_S
                journal_s = time.monotonic() if is_due else journal_s
                self._say_up(mirror.carry(with_journal=is_due))
            self._end.wait(self._every_s)
        self._finish(mirror)

    def _last_try(self) -> None:
        if self._has_given_up:
            return
        try:
            with open_client(self._place) as self._client:
                self._finish(Mirror(check(self._client, self._place), self._directory))
        except Exception:  # said already, and said again by whoever asks whether we have finished
            return

    def _finish(self, mirror: Mirror) -> None:
        """The rest; and while there is time, a look at all that is believed to be there: somebody
        else may have told of the run at the same time, and what he had read was older.
        """
        if self._is_begun():
            mirror.carry()
            self.finished = True
            mirror.forget()
            mirror.carry()
        self.finished = True

    def _is_begun(self) -> bool:
        """Sacred's observer writes ``run.json``, then ``config.json``."""
        return (self._directory / "config.json").exists()

    def _say_up(self, mirrored: Mirrored) -> None:
        if self._is_down or not self._was_up:
            number = mirrored.number
            as_number = "" if self._directory.name == str(number) else f", as run {number} there"
            again = "again " if self._is_down and self._was_up else ""
            self._notice(f"MongoDB at {self._place} {again}has this run{as_number}")
        self._is_down, self._was_up = False, True

    def _say_down(self, error: Exception) -> None:
        if not self._is_down and not self._end.is_set():
            self._notice(
                f"{error}; meanwhile the run is recorded in {self._directory} alone, and MongoDB "
                "is told once that is mended"
            )
        self._is_down = True


def _in_short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
