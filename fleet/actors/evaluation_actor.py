"""What runs in a Ray actor: a thin shell round an evaluator.

Environments that may hang or crash run in a child (`GuardedEvaluator`), as with pool=serial. Others
run right here, which saves two messages a rollout; there this process is what wears out. Ray only
carries bytes to and from here; what cannot be done is refused in bytes as well.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import ray

from env.registry import needs_guard
from errors import EsError, MessageError
from fleet.actors.wire import Place, packed, worker_name
from fleet.child_process import leave_no_core
from fleet.compatibility import fitting
from fleet.evaluation.channel import KEPT_GENERATIONS, Kind, refusal
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.figures import harmless
from fleet.machine.wear import Wear
from search.arithmetic import use_one_thread
from search.evaluator import Evaluator
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
    digest,
    encode,
)
from search.noise import open_declared

ROOT = Path(__file__).resolve().parents[2]
"""Where our code is on this machine."""

TURN_S = 5.0
"""A task that has lasted so long is answered with what there is, and its rest given back."""


class EvaluationActor:
    """One environment on one processor."""

    def __init__(self) -> None:
        leave_no_core()
        use_one_thread()
        # The evaluator's child must run the code that runs here, wherever Ray has put that.
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), *inherited]))
        self._worker = worker_name(os.getpid())
        self._evaluator: Evaluator | GuardedEvaluator | None = None
        self._wear: Wear | None = None
        self._num_rollouts = 0
        self._stack = ExitStack()
        self._generations: deque[tuple[str, Generation]] = deque(maxlen=KEPT_GENERATIONS)

    def hello(self) -> bytes:
        """Say where this is: the first thing that is heard of an actor."""
        node = ray.get_runtime_context().get_node_id()
        place = Place(harmless(os.uname().nodename), str(node), os.getpid())
        return packed(Kind.READY, msgspec.msgpack.encode(place))

    def begin(self, experiment: bytes, include: str, noise_dir: str) -> bytes:
        """Build the environment of ``experiment``; ``include`` may count from our code's folder."""
        return _answered(lambda: self._begin(experiment, include, noise_dir))

    def evaluate(self, task: bytes, generation: Sequence[ray.ObjectRef[bytes]]) -> bytes:
        """Run a task's rollouts; ``generation`` is fetched only where it is not known yet."""
        return _answered(lambda: self._evaluate(decode(task, Task), generation))

    def leave(self) -> bytes:
        """Close the environment."""
        self._stack.close()
        return packed(Kind.READY)

    def _begin(self, experiment: bytes, include: str, noise_dir: str) -> bytes:
        self._evaluator = self._built(
            fitting(experiment),
            ROOT / include if include else None,
            Path(noise_dir) if noise_dir else None,
        )
        self._stack.callback(self._evaluator.close)
        return packed(Kind.READY)

    def _built(
        self, experiment: Experiment, include: Path | None, noise_dir: Path | None
    ) -> Evaluator | GuardedEvaluator:
        if needs_guard(experiment.env):
            return GuardedEvaluator(experiment, include=include, noise_dir=noise_dir)
        noise = None
        if experiment.noise is not None:
            noise = self._stack.enter_context(open_declared(experiment.noise, noise_dir))
        self._wear = Wear(experiment.guard)
        return Evaluator(experiment, noise, include)

    def _evaluate(self, task: Task, reference: Sequence[ray.ObjectRef[bytes]]) -> bytes:
        assert self._evaluator is not None  # the head sends no task before it has heard so
        asked_s = time.perf_counter()
        generation = self._generation(task.digest, reference)
        started_s = time.perf_counter()
        records: list[RolloutRecord] = []
        for rollout in range(task.first, task.stop):
            if records and time.perf_counter() - started_s > TURN_S:
                records.append(RolloutRecord(rollout, task.attempt, "returned", task.copy))
                continue
            record = self._evaluator.evaluate(generation, rollout, task.attempt)
            records.append(msgspec.structs.replace(record, copy=task.copy))
        batch = RecordBatch(
            MESSAGE_VERSION,
            task.run_uid,
            task.number,
            task.digest,
            self._worker,
            tuple(records),
            evaluation_s=time.perf_counter() - started_s,
            obtaining_s=started_s - asked_s,
        )
        self._num_rollouts += len(records)
        is_worn = self._wear is not None and self._wear.is_worn(self._num_rollouts)
        return packed(Kind.RECORDS, encode(batch), is_worn=is_worn)

    def _generation(self, name: str, reference: Sequence[ray.ObjectRef[bytes]]) -> Generation:
        for known, generation in self._generations:
            if known == name:
                return generation
        data = ray.get(reference[0])
        if not isinstance(data, bytes) or digest(data) != name:
            raise MessageError(f"what was to be generation {name} is something else")
        fetched = decode(data, Generation)
        self._generations.append((name, fetched))
        return fetched


def _answered(act: Callable[[], bytes]) -> bytes:
    try:
        return act()
    except EsError as error:
        print(error, file=sys.stderr, flush=True)
        return packed(Kind.REFUSAL, refusal(error))
