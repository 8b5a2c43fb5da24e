"""``status`` and ``status --watch``: the picture once, or every second until Ctrl-C.

On a terminal a watch has a screen of its own, which it gives back at the end. Redis may go and
come back: what was last seen stays, and it is said since when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import msgspec
import redis
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from errors import ServiceUnavailable
from fleet.connection import Client
from fleet.figures import age_text, harmless
from fleet.status.overview import Overview, overview_of, remembered
from fleet.status.overview_lines import document, lines
from fleet.status.overview_screen import Screen
from fleet.status.readings import read
from fleet.status.reason import Reason
from fleet.status.reasons import reasons

PERIOD_S = 1.0
_PATIENCE_S = 2.0
_NEWS_S = 10.0


class Link(msgspec.Struct, frozen=True):
    """The connection to Redis; seconds on the monotonic clock.

    Attributes:
        asked_s: when an answer was last asked for, where it has not come yet.
        lost_s, error: since when it is out of reach, and why.
        back_s, gap_s: when it came back, and after how long.
    """

    asked_s: float | None = None
    lost_s: float | None = None
    error: str = ""
    back_s: float | None = None
    gap_s: float = 0.0

    def asked(self, now_s: float) -> Link:
        return msgspec.structs.replace(self, asked_s=now_s)

    def answered(self, now_s: float) -> Link:
        if self.lost_s is None:
            return msgspec.structs.replace(self, asked_s=None)
        return Link(back_s=now_s, gap_s=now_s - self.lost_s)

    def failed(self, now_s: float, error: Exception) -> Link:
        since_s = now_s if self.lost_s is None else self.lost_s
        reason = harmless(str(error), 200).rstrip(".") or type(error).__name__
        return Link(lost_s=since_s, error=reason)

    def news(self, now_s: float) -> tuple[str, bool] | None:
        """What there is to say of it, and whether it is bad."""
        if self.lost_s is not None:
            gone = f"Redis is out of reach for {age_text(now_s - self.lost_s)} ({self.error})"
            return f"{gone}: asking again every second; below is what was last seen", True
        if self.asked_s is not None and now_s - self.asked_s > _PATIENCE_S:
            return f"Redis has not answered for {age_text(now_s - self.asked_s)}", True
        if self.back_s is not None and now_s - self.back_s < _NEWS_S:
            return f"Redis is back after {age_text(self.gap_s)}", False
        return None


class Watch:
    """Looks at a Redis and shows what is there.

    Args:
        client: of the Redis.
        url: as it may be shown.
        stream: a terminal gets the screen, anything else lines.
        as_json: one JSON object a look instead of either.
        clock: monotonic seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        stream: TextIO,
        *,
        as_json: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._url = url
        self._stream = stream
        self._as_json = as_json
        self._clock = clock
        self._sleep = sleep
        self._console = Console(file=stream, highlight=False)
        is_screen = self._console.is_terminal and not self._console.is_dumb_terminal
        self._screen = Screen(self._console, url) if is_screen and not as_json else None
        self._seen: tuple[Overview, Sequence[Reason]] | None = None
        self._link = Link()

    def once(self) -> None:
        """Show what is there now.

        Raises:
            ServiceUnavailable: this user may not look.
            redis.RedisError: the server is out of reach.
        """
        overview, why = self._look()
        if self._screen is None:
            self._print(overview, why)
        else:  # a line stays for the prompt
            self._console.print(self._screen.draw(overview, why, spare=2), soft_wrap=True)

    def until_interrupted(self) -> None:
        """Show what is there every second, until KeyboardInterrupt or until nobody can see it."""
        with self._shown() as show:
            while self._screen is None or self._stream.isatty():
                started_s = self._clock()
                self._link = self._link.asked(started_s)
                try:
                    self._seen = self._look()
                    self._link = self._link.answered(self._clock())
                except (redis.RedisError, ServiceUnavailable, OSError) as error:
                    self._link = self._link.failed(self._clock(), error)
                show()
                self._sleep(max(0.05, PERIOD_S - (self._clock() - started_s)))

    def _look(self) -> tuple[Overview, Sequence[Reason]]:
        before = self._seen[0] if self._seen is not None else None
        overview = overview_of(read(self._client, remembered(before)), before)
        return overview, reasons(overview)

    @contextmanager
    def _shown(self) -> Iterator[Callable[[], object]]:
        """A screen of its own, redrawn also while Redis does not answer; or lines."""
        if self._screen is None:
            yield self._print_all
            return
        with Live(
            get_renderable=self._picture, console=self._console, screen=True, refresh_per_second=1
        ) as live:
            yield live.refresh

    def _picture(self) -> Group | Text:
        news = self._link.news(self._clock())
        link = None if news is None else Text(news[0], "bold red" if news[1] else "green")
        if self._seen is None or self._screen is None:
            return link or Text(f"asking Redis {self._url} ...")
        return self._screen.draw(*self._seen, link=link)

    def _print_all(self) -> None:
        """What is there; where Redis is out of reach, nothing but that."""
        news = self._link.news(self._clock())
        if news is not None and not self._as_json:
            self._write(f"link {'lost' if news[1] else 'back'} {news[0]}")
        if self._seen is not None and self._link.lost_s is None:
            self._print(*self._seen)

    def _print(self, overview: Overview, why: Sequence[Reason]) -> None:
        if self._as_json:
            self._write(document(overview, why, self._url))
        else:
            for line in lines(overview, why, self._url):
                self._write(line)
        self._stream.flush()

    def _write(self, line: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
