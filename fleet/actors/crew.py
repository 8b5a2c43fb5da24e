"""The actors that evaluate one run: asked for, heard, replaced, and given up."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from errors import EsError, MessageError, ServiceUnavailable, VersionMismatch
from fleet.actors.evaluation_actor import EvaluationActor
from fleet.actors.hiring import Hiring
from fleet.actors.local_ray import first_line
from fleet.actors.wire import place_of, unpacked
from fleet.evaluation.channel import Frame, Kind, refused
from fleet.provision import Workers
from search.messages import MAX_ERROR_CHARS, Task, encode

GIVEN_UP_S = 5.0
"""How long an actor may go on with a generation that nobody wants any more."""

_TEND_EVERY_S = 1.0
_ANOTHER_TRY_S = 60.0
_LEAVE_S = 2.0
_NEVER_S = float("inf")


class Call:
    """A task that an actor has in hand, or that waits there behind another."""

    __slots__ = ("due_s", "reference", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.reference: Any = None
        self.due_s = _NEVER_S


class Actor:
    """One of ours, as the head sees it.

    Attributes:
        handle: Ray's.
        place: the host that it is on, empty until it has said so.
        is_ready: it has built its environment.
        refusal: why it will not serve, if it will not; ``until_s``: it is replaced then.
        calls: what it was given, the oldest in hand.
        silent_from_s: since when it owes us a word.
    """

    def __init__(self, handle: Any, now_s: float) -> None:
        self.handle = handle
        self.place = ""
        self.is_ready = False
        self.refusal: EsError | None = None
        self.until_s = _NEVER_S
        self.calls: list[Call] = []
        self.silent_from_s = now_s

    @property
    def serves(self) -> bool:
        return self.is_ready and self.refusal is None


class Answer(NamedTuple):
    """What became of a task: records in ``frame``, or ``why`` there are none.

    ``has_begun``: the actor died, and may have been at it.
    """

    task: Task
    frame: Frame | None
    why: str = ""
    has_begun: bool = False


class _Event(NamedTuple):
    actor: Actor
    what: Call | str
    outcome: Future[Any]


class Crew:
    """Actors with one processor each, in the Ray cluster that this process is connected to.

    Args:
        declaration: the run's experiment, encoded.
        workers: how many; ``auto`` is one for every processor that the cluster has and others do
            not use, while nodes come and go.
        include: folder of the user's own modules, as the actors' machines know it; or empty.
        noise_dir: folder of the noise table there; or empty, for the usual one.
        silence_s: an actor that says nothing for so long is ended.
        notice: where a line for people goes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        declaration: bytes,
        *,
        workers: Workers,
        include: str,
        noise_dir: str,
        silence_s: float,
        notice: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin_with = declaration, include, noise_dir
        self._silence_s = silence_s
        self._notice = notice
        self._clock = clock
        self._hiring = Hiring(workers)
        self._class = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(EvaluationActor)
        self._actors: list[Actor] = []
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._given_up: list[Answer] = []
        self._was_ready = False
        self._said: set[str] = set()
        self._tended_s = -_NEVER_S

    @property
    def num_ready(self) -> int:
        return sum(actor.serves for actor in self._actors)

    @property
    def num_hosts(self) -> int:
        """On which those that serve are."""
        return len({actor.place for actor in self._actors if actor.serves})

    @property
    def num_expected(self) -> int:
        """Those that serve, and those that might soon."""
        return sum(actor.refusal is None for actor in self._actors)

    def tend(self) -> None:
        """Once a second: as many actors as there should be, and none that keeps still.

        Raises:
            EsError: nobody can evaluate this run, and why.
        """
        now_s = self._clock()
        if now_s - self._tended_s < _TEND_EVERY_S:
            return
        self._tended_s = now_s
        for actor in [*self._actors]:
            if why := self._too_long(actor, now_s):
                self._end(actor, why)
            elif actor.until_s <= now_s:
                self._dismiss(actor)
        pending = [actor for actor in self._actors if not actor.place]
        placed = len(self._actors) - len(pending)
        aside = sum(actor.refusal is not None for actor in self._actors)
        for _ in range(self._hiring.wanted(placed, len(pending), aside, now_s)):
            self._hire()
        for actor in pending[: self._hiring.unplaceable(len(pending), now_s)]:
            self._dismiss(actor)
        self._raise_if_hopeless()

    def free(self, most_calls: int) -> Actor | None:
        """Who has least to do, and fewer than ``most_calls`` tasks."""
        fit = (actor for actor in self._actors if actor.serves and len(actor.calls) < most_calls)
        return min(fit, key=lambda actor: len(actor.calls), default=None)

    def give(self, actor: Actor, task: Task, generation: Any) -> None:
        """Have ``actor`` run ``task``; ``generation`` refers to the generation's bytes."""
        call = Call(task)
        if not actor.calls:
            actor.silent_from_s = self._clock()
        actor.calls.append(call)
        # Within a list, so that Ray passes the reference on and does not fetch what it stands for.
        call.reference = actor.handle.evaluate.remote(encode(task), [generation])
        self._listen(actor, call, call.reference)

    def answers(self, timeout_s: float) -> list[Answer]:
        """What has become of tasks, waiting at most ``timeout_s`` for the first.

        In Python, and not in ``ray.wait``: there a signal would come out as another than it was.
        """
        found, self._given_up = self._given_up, []
        deadline_s = self._clock() + timeout_s
        while True:
            wait_s = 0.0 if found else max(0.0, deadline_s - self._clock())
            try:
                event = self._events.get(timeout=wait_s) if wait_s else self._events.get_nowait()
            except Empty:
                return found
            found += self._heard(event)

    def forget(self, digest: str) -> None:
        """Nobody wants this generation any more: who is at it much longer, is replaced."""
        due_s = self._clock() + GIVEN_UP_S
        for actor in self._actors:
            for call in actor.calls:
                if call.task.digest == digest:
                    call.due_s = min(call.due_s, due_s)

    def why_still(self) -> str:
        """Why nothing moves, in a sentence."""
        if self.num_ready:
            return ""
        placed = sum(bool(actor.place) and actor.refusal is None for actor in self._actors)
        if placed:
            return f"{placed} Ray actors build their environment"
        refusals = [f"{a.place}: {a.refusal}" for a in self._actors if a.refusal is not None]
        if refusals:
            return f"no Ray actor fits, {refusals[0]}"
        if self._actors:
            return f"{len(self._actors)} actors wait for a free processor in the Ray cluster"
        return "the Ray cluster has no free processor"

    def close(self) -> None:
        """End every actor: politely who has nothing to do, so that environments are closed."""
        actors, self._actors = self._actors, []
        with suppress(Exception):  # what Ray raises where it is gone itself is of any kind
            leaving = [a.handle.leave.remote() for a in actors if a.serves and not a.calls]
            if leaving:
                ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_S)
        for actor in actors:
            _kill(actor)

    def _hire(self) -> None:
        actor = Actor(self._class.remote(), self._clock())
        self._actors.append(actor)
        self._listen(actor, "hello", actor.handle.hello.remote())
        self._listen(actor, "begin", actor.handle.begin.remote(*self._begin_with))

    def _listen(self, actor: Actor, what: Call | str, reference: Any) -> None:
        events = self._events
        outcome: Future[Any] = reference.future()
        outcome.add_done_callback(lambda done: events.put(_Event(actor, what, done)))

    def _heard(self, event: _Event) -> list[Answer]:
        actor, what, outcome = event
        if actor not in self._actors:
            return []  # it was ended, and what it had in hand given up
        actor.silent_from_s = self._clock()
        try:
            frame, is_worn = unpacked(outcome.result())
        except ConnectionError:
            raise  # it is not the actor that is gone
        except (RayError, MessageError, OSError, RuntimeError, ValueError) as error:
            return self._lost(actor, _reason(error))
        if frame.kind is Kind.REFUSAL:
            return self._set_aside(actor, refused(frame))
        if isinstance(what, Call):
            if what not in actor.calls:
                return []  # given back when the actor was set aside
            actor.calls.remove(what)
            answer = Answer(what.task, frame)
            return [answer, *self._replaced(actor)] if is_worn else [answer]
        try:
            self._greet(actor, what, frame)
        except MessageError as error:
            return self._lost(actor, str(error))
        return []

    def _greet(self, actor: Actor, what: str, frame: Frame) -> None:
        if what == "hello":
            actor.place = place_of(frame).host
            self._hiring.placed(self._clock())
        else:
            actor.is_ready = self._was_ready = True
            self._hiring.succeeded()

    def _set_aside(self, actor: Actor, error: EsError) -> list[Answer]:
        """Others may fit. It keeps its processor, where another of ours would do no better."""
        given_back = [Answer(call.task, None, str(error)) for call in actor.calls]
        actor.calls.clear()
        actor.refusal = error
        if not isinstance(error, VersionMismatch):
            actor.until_s = self._clock() + _ANOTHER_TRY_S
        self._say(f"Ray actor on {actor.place} left aside: {error}")
        self._raise_if_hopeless()
        return given_back

    def _replaced(self, actor: Actor) -> list[Answer]:
        """It makes way for a fresh one; what waited there has not begun."""
        self._dismiss(actor)
        self._tended_s = -_NEVER_S
        return [Answer(call.task, None, "its actor was replaced") for call in actor.calls]

    def _lost(self, actor: Actor, why: str) -> list[Answer]:
        self._dismiss(actor)
        if not actor.is_ready:
            self._hiring.failed(why, self._clock())
        self._tended_s = -_NEVER_S  # it is replaced at once
        return [
            Answer(call.task, None, why, has_begun=i == 0) for i, call in enumerate(actor.calls)
        ]

    def _end(self, actor: Actor, why: str) -> None:
        self._given_up += self._lost(actor, why)

    def _dismiss(self, actor: Actor) -> None:
        self._actors.remove(actor)
        _kill(actor)

    def _too_long(self, actor: Actor, now_s: float) -> str:
        """Why the actor is to be ended; empty while all is well."""
        if actor.refusal is not None or not actor.place:
            return ""
        if any(call.due_s <= now_s for call in actor.calls):
            return "its generation had been closed"
        owes = bool(actor.calls) or not actor.is_ready
        if owes and now_s - actor.silent_from_s > self._silence_s:
            self._say(f"Ray actor on {actor.place} ended: silent for {self._silence_s:.0f} s")
            return f"nothing was heard of it for {self._silence_s:.0f} s"
        return ""

    def _raise_if_hopeless(self) -> None:
        if any(actor.place and actor.refusal is None for actor in self._actors):
            return  # it serves, or may yet be able to
        if self._was_ready and any(not actor.place for actor in self._actors):
            return  # there are nodes that can do it, and another may come
        errors = [a.refusal for a in self._actors if a.refusal is not None]
        # A node of another release says nothing of this run; nor does one that has left.
        if errors := [error for error in errors if not isinstance(error, VersionMismatch)]:
            raise errors[-1]
        if self._hiring.is_hopeless and not self._was_ready:
            raise ServiceUnavailable(
                f"Ray cannot start an actor of ours: {self._hiring.why}; install this release and "
                "its requirements on every node"
            )

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._notice(line)


def _kill(actor: Actor) -> None:
    with suppress(Exception):
        ray.kill(actor.handle)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"[:MAX_ERROR_CHARS]
