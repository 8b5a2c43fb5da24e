"""What the head makes of its actors' words when they come in an order that is hard to bring about.

Handles here are Ray's in name only: a test says what is heard of them, and when. Ray reads the
environment when it is imported, so that nothing here imports it before the session's own Ray has.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from errors import EsError, ResourceExhausted
from fleet.actors.wire import Place, packed
from fleet.evaluation.channel import Kind, refusal
from search.messages import MESSAGE_VERSION, Task

KILLED = ResourceExhausted("child killed 3 times")


class Handle:
    """An actor's; each call is a promise that the test keeps."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Future[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return Method(self.calls, name)

    def answer(self, name: str, frame: Any) -> None:
        """The oldest call of that name which has no answer yet."""
        promise = next(f for n, f in self.calls if n == name and not f.done())
        promise.set_result(frame)


class Method:
    def __init__(self, calls: list[tuple[str, Future[Any]]], name: str) -> None:
        self._calls, self._name = calls, name

    def remote(self, *_given: Any) -> Reference:
        promise: Future[Any] = Future()
        self._calls.append((self._name, promise))
        return Reference(promise)


class Reference:
    def __init__(self, promise: Future[Any]) -> None:
        self._promise = promise

    def future(self) -> Future[Any]:
        return self._promise


class Scene:
    """A crew, its handles, a clock, and a cluster of so many processors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: Any) -> None:
        self.now_s, self.processors, self.free = 0.0, 2.0, 2.0
        self.handles: list[Handle] = []
        import ray

        from fleet.actors.crew import Crew

        monkeypatch.setattr(ray, "kill", lambda handle: None)
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": self.processors})
        monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": self.free})
        self.crew = Crew(
            b"",
            workers=workers,
            include="",
            noise_dir="",
            silence_s=1e9,
            notice=lambda line: None,
            clock=lambda: self.now_s,
        )
        self.crew._class = self  # whose `remote` makes handles

    def remote(self) -> Handle:
        """In place of Ray's actor class."""
        self.handles.append(Handle())
        return self.handles[-1]

    def hire(self) -> None:
        """All that there should be now, and all of them ready."""
        self.now_s += 5
        before = len(self.handles)
        self.crew.tend()
        for handle in self.handles[before:]:
            place = msgspec.msgpack.encode(Place("host", "node", 1))
            handle.answer("hello", packed(Kind.READY, place))
            handle.answer("begin", packed(Kind.READY))
        self.crew.answers(0)
        self.free = 0.0

    def give(self, number: int) -> Any:
        actor = self.crew.free(2)
        assert actor is not None
        self.crew.give(actor, _task(number), None)
        return actor


def _task(number: int) -> Task:
    return Task(MESSAGE_VERSION, "0" * 32, 0, "0" * 32, number, number + 1, 0, number)


SceneOf = Callable[[Any], Scene]


@pytest.fixture
def scene_of(monkeypatch: pytest.MonkeyPatch, local_ray: None) -> SceneOf:
    return lambda workers: Scene(monkeypatch, workers)


def test_what_an_actor_answers_after_its_refusal_was_given_back_before(scene_of: SceneOf) -> None:
    scene = scene_of(2)
    scene.hire()
    actor = scene.give(1)
    scene.crew.give(actor, _task(2), None)
    actor.handle.answer("evaluate", packed(Kind.REFUSAL, refusal(KILLED)))
    assert [answer.task.first for answer in scene.crew.answers(0)] == [1, 2]
    actor.handle.answer("evaluate", packed(Kind.RECORDS, b"late"))
    assert scene.crew.answers(0) == []


def test_a_refusal_that_is_over_does_not_end_a_run_whose_nodes_leave(scene_of: SceneOf) -> None:
    scene = scene_of("auto")
    scene.hire()
    scene.give(1).handle.answer("evaluate", packed(Kind.REFUSAL, refusal(KILLED)))
    scene.crew.answers(0)
    scene.now_s += 61
    scene.crew.tend()  # replaced
    scene.free = 1.0
    scene.hire()
    assert scene.crew.num_ready == 2
    from ray.exceptions import RayActorError

    scene.processors = 0.0
    for actor in [scene.give(2), scene.give(3)]:
        next(f for n, f in actor.handle.calls if n == "evaluate" and not f.done()).set_exception(
            RayActorError()
        )
    scene.crew.answers(0)
    scene.now_s += 60
    scene.crew.tend()
    assert scene.crew.why_still() == "the Ray cluster has no free processor"


def test_actors_that_all_refuse_end_the_run_with_the_reason(scene_of: SceneOf) -> None:
    scene = scene_of(2)
    scene.hire()
    for actor in [scene.give(1), scene.give(2)]:
        actor.handle.answer("evaluate", packed(Kind.REFUSAL, refusal(KILLED)))
    with pytest.raises(EsError, match="child killed 3 times"):
        scene.crew.answers(0)
