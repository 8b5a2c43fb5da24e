"""What somebody who is not watching wants to hear: a run has reached something, ended, or failed.

Each notice is a short JSON, posted to a `Webhook` in a thread of its own. Telling must never hurt
a run: one that fails is said once, and the run goes on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

import msgspec

from errors import EsError, ServiceUnavailable
from tracking.cost import Cost
from tracking.figures import duration_text, number_text
from tracking.interruption import Interrupted
from tracking.webhook import Webhook, post

Event = Literal["target_reached", "budget_reached", "completed", "failed", "stopped"]

PATIENCE_S = 10.0
"""How long the end of a run waits for its notices to be delivered."""


class RunNotice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is posted.

    Attributes:
        event: what happened.
        text: the same in a line, as chats show it.
        run, uid, env, host: which run, and on which machine its head is.
        time: ISO 8601, UTC.
        generations: complete.
        fitness: of theta: in the closing test once that is done, else last validated.
        elapsed_s, env_steps: in the run so far.
        error: of a run that failed.
        usd: what its cluster has cost, if it is on one that is paid for.
    """

    event: Event
    text: str
    run: int
    uid: str
    env: str
    host: str
    time: str
    generations: int = 0
    fitness: float | None = None
    elapsed_s: float | None = None
    env_steps: int | None = None
    error: str | None = None
    usd: float | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run ends before its generations are used up; each may be None."""

    target_fitness: float | None = None
    max_wall_s: float | None = None
    max_env_steps: int | None = None


class RunNotices:
    """Fulfils ``search.protocol.Recorder`` for those who are away; a context manager.

    Within, an error is a notice of ``failed``, and an `Interrupted` one of ``stopped``. At the end
    it waits up to ``patience_s`` until everything is delivered.

    Args:
        webhook: None: nobody is told.
        limits: the run's.
        run, uid, env, host: see `RunNotice`.
        tell: gets a line about notices that could not be delivered, in the caller's thread.
        cost: what the machines cost; None: nothing is paid for.
        patience_s: see above.
        deliver: see `tracking.webhook.post`.
    """

    def __init__(
        self,
        webhook: Webhook | None,
        limits: Limits,
        *,
        run: int,
        uid: str,
        env: str,
        host: str,
        tell: Callable[[str], None],
        cost: Callable[[], Cost | None] = lambda: None,
        patience_s: float = PATIENCE_S,
        deliver: Callable[[Webhook, bytes], None] = post,
    ) -> None:
        self._webhook = webhook
        self._limits = limits
        self._run, self._uid, self._env, self._host = run, uid, env, host
        self._tell = tell
        self._cost = cost
        self._patience_s = patience_s
        self._post = deliver
        self._generations = 0
        self._metrics: dict[str, float] = {}
        self._reached: set[str] = set()
        self._posting: list[threading.Thread] = []
        self._troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._has_complained = False

    def __enter__(self) -> RunNotices:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._stopped(error)
        elif isinstance(error, Exception):
            said = str(error) if isinstance(error, EsError) else f"{kind.__name__}: {error}"  # type: ignore[union-attr]
            line = " ".join(said.split())
            self._send("failed", f"failed: {line}", error=line)
        self._wait()

    def progress(self, number: int, done: int, total: int, status: object) -> None:
        """Say if somebody could not be told."""
        self._complain()

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Look whether generation ``number`` has reached what the run was to reach."""
        self._generations = number + 1
        self._metrics.update(metrics)
        limits = self._limits
        current = metrics.get("fitness/current")
        if limits.target_fitness is not None and current is not None:
            is_there = current >= limits.target_fitness
            self._reach(is_there, "target_reached", f"target fitness {limits.target_fitness:g}")
        if limits.max_wall_s is not None:
            is_there = metrics.get("time/elapsed_s", 0.0) >= limits.max_wall_s
            self._reach(is_there, "budget_reached", f"max_wall_s={limits.max_wall_s:g}")
        if limits.max_env_steps is not None:
            is_there = metrics.get("work/env_steps_total", 0.0) >= limits.max_env_steps
            self._reach(is_there, "budget_reached", f"max_env_steps={limits.max_env_steps}")

    def times(self, times: object) -> None:
        """Nobody wants to hear it."""

    def checkpoint(
        self, number: int, arrays: Mapping[str, Any], *, is_best: bool, is_last: bool
    ) -> None:
        """Nobody wants to hear it."""

    def notice(self, line: str) -> None:
        """Those who watch are told; those who are away are not."""

    def completed(self, result: Mapping[str, Any]) -> None:
        """The run has come to its end with ``result``; see `training.session.result_of`."""
        current = result.get("fitness_current")
        if current is not None:
            self._metrics["fitness/current"] = current
        self._generations = result.get("generations", self._generations)
        self._send("completed", f"completed: {result.get('ended')}")

    def _reach(self, is_there: bool, event: Event, what: str) -> None:
        if is_there and what not in self._reached:
            self._reached.add(what)
            self._send(event, f"{what} reached")

    def _stopped(self, error: KeyboardInterrupt) -> None:
        cost = self._cost()
        if cost is not None and cost.is_used_up:
            self._send("budget_reached", f"budget of {cost.budget_usd:g} USD reached, stopped")
            return
        by = str(error) if isinstance(error, Interrupted) else "stopped"
        self._send("stopped", by)

    def _send(self, event: Event, what: str, *, error: str | None = None) -> None:
        if self._webhook is None:
            return
        fitness = self._metrics.get("fitness/current", self._metrics.get("fitness/mean"))
        elapsed_s = self._metrics.get("time/elapsed_s")
        steps = self._metrics.get("work/env_steps_total")
        cost = self._cost()
        words = [what, f"{self._generations} generations"]
        words += [f"fitness {number_text(fitness)}"] if fitness is not None else []
        words += [duration_text(elapsed_s)] if elapsed_s is not None else []
        words += [f"{cost.usd:.2f} USD"] if cost is not None else []
        notice = RunNotice(
            event=event,
            text=f"{self._env}, run {self._run} on {self._host}: {', '.join(words)}",
            run=self._run,
            uid=self._uid,
            env=self._env,
            host=self._host,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            generations=self._generations,
            fitness=fitness,
            elapsed_s=None if elapsed_s is None else round(elapsed_s, 3),
            env_steps=None if steps is None else int(steps),
            error=error,
            usd=None if cost is None else cost.usd,
        )
        # A daemon: an address that never answers must not keep the run from ending.
        thread = threading.Thread(
            target=self._attempt, args=(self._webhook, notice), name="notify", daemon=True
        )
        self._posting.append(thread)
        thread.start()

    def _attempt(self, webhook: Webhook, notice: RunNotice) -> None:
        try:
            self._post(webhook, msgspec.json.encode(notice))
        except ServiceUnavailable as error:
            self._troubles.put(f"of {notice.event} ({error})")
        except Exception as error:  # a defect of ours: the run must not be hurt by it
            self._troubles.put(f"of {notice.event} ({type(error).__name__})")

    def _wait(self) -> None:
        until_s = time.monotonic() + self._patience_s
        for thread in self._posting:
            thread.join(max(0.0, until_s - time.monotonic()))
        if any(thread.is_alive() for thread in self._posting):
            self._troubles.put(f"within {self._patience_s:g} s")
        self._complain()

    def _complain(self) -> None:
        """Once: what fails now will mostly fail again."""
        while not self._troubles.empty():
            trouble = self._troubles.get()
            if not self._has_complained:
                self._has_complained = True
                self._tell(f"notify: {self._webhook} could not be told {trouble}")
