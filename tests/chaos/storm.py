"""Everything goes wrong, at random, again and again, while a run goes on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from chaos_head import Head
from chaos_machine import Machine
from fault_count import KILLS, RECORDS, WIRES, FaultCount
from heads_redis import HeadsRedis
from mischief import Mischief
from own_processes import Episodes, Mark, kill
from wire import Wire, WireRoom

from fleet.run_report import RunReport

_TICK_S = 0.05
_LOOK_EVERY_S = 0.5
QUIET_PATIENCE_S = 60.0
_MACHINE_KILLS = ("worker", "relay", "supervisor", "local redis", "head's redis")
DIRECT_KINDS = tuple(k for k in KILLS if k not in ("relay", "local redis")) + WIRES + RECORDS
ALL_KINDS = KILLS + WIRES + RECORDS


class Stuck(AssertionError):
    """The run does not get on."""


@dataclass(frozen=True)
class Weather:
    """How bad, and until when.

    Attributes:
        least: faults of each kind; it goes on until there are so many.
        least_total: of all kinds.
        kill_every_s: of a worker, relay, supervisor or Redis.
        head_every_s: of the head.
        wire_every_s: from one fault of a connection to the next.
        mischief_every_s: from one wrong done to the records to the next.
        cut_s: how long a cut or silent connection stays so.
        patience_s: how long the head may have no new answer.
        longest_s: by when all of it has to have happened.
        generations_after: how far the run has to go when all is quiet again.
    """

    least: int
    least_total: int
    kill_every_s: float
    head_every_s: float
    wire_every_s: float
    mischief_every_s: float
    cut_s: float
    patience_s: float
    longest_s: float
    generations_after: int = 2


class _Trouble:
    """Something that is made every so often; what met nobody at work is tried again soon."""

    def __init__(self, make: Callable[[], bool], every_s: float, rng: random.Random) -> None:
        self._make, self._every_s, self._rng = make, every_s, rng
        self._due_s = time.monotonic() + rng.uniform(0.2, 0.6) * every_s

    def make_if_due(self) -> None:
        if time.monotonic() >= self._due_s:
            wait_s = self._every_s * self._rng.uniform(0.5, 1.5) if self._make() else 0.1
            self._due_s = time.monotonic() + wait_s


class Storm:
    """One run with its head, its Redis and its machines, and all that befalls them.

    Args:
        folder: for the run, the logs, and who is in an episode.
        weather: how bad it is.
        seed: of everything that is left to chance here.
        words: of the run.
        num_machines: with two workers each.
        is_relayed: whether they have relays.
        environment: of the head.
    """

    def __init__(
        self,
        folder: Path,
        weather: Weather,
        *words: str,
        seed: int = 0,
        num_machines: int = 2,
        is_relayed: bool = True,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._rng = random.Random(seed)
        self.faults = FaultCount(ALL_KINDS if is_relayed else DIRECT_KINDS)
        self._weather = weather
        self.patience_s = weather.patience_s
        self.mark = Mark()
        self._episodes = Episodes(folder / "episodes")
        self._stack = ExitStack()
        self._redis = HeadsRedis()
        self._stack.callback(self._redis.stop)
        self._room = self._stack.enter_context(WireRoom())
        target = ("127.0.0.1", self._redis.port)
        self._wires = [
            self._room.add(Wire(target, random.Random(self._rng.random()), self.faults.add))
            for _ in range(num_machines + 1)
        ]
        self._machines = [
            Machine(
                wire.url,
                folder / f"machine-{number}.log",
                self.mark,
                is_relayed=is_relayed,
                rng=random.Random(self._rng.random()),
            )
            for number, wire in enumerate(self._wires[1:])
        ]
        options = f"env_options={{'folder': '{self._episodes.folder}'}}"
        where = (f"redis_url={self._wires[0].url}", "pool=redis", "workers=0")
        self.head = Head(
            folder / "runs", self.mark, *words, options, *where, environment=environment
        )
        self._seen: tuple[int, ...] = ()
        self._seen_s = self._look_s = time.monotonic()
        self._report: RunReport | None = None

    def __enter__(self) -> Storm:
        return self

    def __exit__(self, *_: object) -> None:
        self.mark.end_all()
        self.head.end()
        for machine in self._machines:
            machine.stop()
        self._stack.close()

    def rage(self) -> None:
        """Break things until enough of each kind has been broken, and have the run get on."""
        weather = self._weather
        if self.head.process is None:
            self.head.start("num_generations=100000")
        self._until(lambda: self.head.told > 0)
        deadline_s = time.monotonic() + weather.longest_s
        with Mischief(
            self._redis.url,
            random.Random(self._rng.random()),
            self.faults.add,
            self._episodes.are_under_way,
            weather.mischief_every_s,
            self._redis.tend,
        ):
            self._break_things(deadline_s)

    def _break_things(self, deadline_s: float) -> None:
        weather = self._weather
        troubles = [
            _Trouble(self._kill, weather.kill_every_s, self._rng),
            _Trouble(self._kill_head, weather.head_every_s, self._rng),
            _Trouble(self._break_wire, weather.wire_every_s, self._rng),
        ]
        while self.is_raging:
            if time.monotonic() > deadline_s:
                raise Stuck(f"too few faults in {weather.longest_s:g} s\n{self.faults.table()}")
            self._tend()
            for trouble in troubles:
                trouble.make_if_due()
            time.sleep(_TICK_S)

    @property
    def is_raging(self) -> bool:
        """Whether there have not been enough faults yet."""
        weather = self._weather
        too_few = self.faults.missing(weather.least)
        return bool(too_few) or self.faults.total < weather.least_total

    def has_nothing_to_do(self, for_s: float) -> bool:
        """All is quiet, and yet nobody works for so long, with answers missing; not so where it was
        only slow, and gets on again.
        """
        self._heal()
        now_s = self._seen_s = quiet_s = time.monotonic()
        before, patience_s = self._seen, self.patience_s
        self.patience_s = QUIET_PATIENCE_S
        while now_s - quiet_s < for_s and self._seen == before:
            self._tend()
            now_s = time.monotonic()
            if self._episodes.are_under_way():
                quiet_s = now_s
            time.sleep(_TICK_S)
        self._seen_s, self.patience_s = now_s, patience_s
        report = self._report
        return self._seen == before and report is not None and report.done < report.total

    def calm(self) -> int:
        """All is quiet: the run goes on and ends; how many generations it has had."""
        self._heal()
        # Its end is decided now: a run cannot say in advance how many faults it will have met.
        self._until(self.head.kill)
        generations = self.head.told + self._weather.generations_after
        self.head.start(f"num_generations={generations}")
        self._until(self.head.tend)
        return generations

    def _heal(self) -> None:
        for wire in self._wires:
            self._room.tell(wire.heal)

    def stop(self) -> list[int]:
        """Ask the machines to leave; their exit codes."""
        return [machine.stop() for machine in self._machines]

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._tend()
            time.sleep(_TICK_S)

    def _tend(self) -> None:
        """What a service manager does, and a look whether the run gets on."""
        self._redis.tend()
        self.head.tend()
        for machine in self._machines:
            machine.tend()
        self._look()

    def _look(self) -> None:
        """Whether the run gets on: the head has more answers than a while ago."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_EVERY_S
        self._report = self._redis.report()
        if (report := self._report) is not None:
            seen = report.generation, report.done, report.pid if report.rollouts else 0
            if seen != self._seen:
                self._seen, self._seen_s = seen, now_s
        if now_s - self._seen_s > self.patience_s:
            raise Stuck(
                f"no answer for {self.patience_s:g} s\n{self._report}\n"
                f"{self.faults.table()}\n{self.head.output[-2000:]}"
            )

    def _rarest(self, kinds: tuple[str, ...]) -> list[str]:
        """``kinds`` of ours in random order, those that have happened least first."""
        ours = [kind for kind in kinds if kind in self.faults.kinds]
        return sorted(ours, key=lambda kind: (self.faults[kind], self._rng.random()))

    def _kill(self) -> bool:
        families = [machine.family() for machine in self._machines]
        self._rng.shuffle(families)
        for kind in self._rarest(_MACHINE_KILLS):
            if kind == "head's redis":
                is_done = self._episodes.are_under_way() and self._redis.kill(
                    self._rng.uniform(0.0, 1.0)
                )
            else:
                is_done = any(self._kill_one(kind, family) for family in families)
            if is_done:
                self.faults.add(kind)
                return True
        return False

    def _kill_one(self, kind: str, family: dict[str, list[psutil.Process]]) -> bool:
        """One of ``kind`` on a machine where somebody works; the one who works, if a worker."""
        at_work = [p for p in family["worker"] if self._episodes.are_under_way([p])]
        victims = at_work if kind == "worker" else family[kind]
        return bool(at_work and victims) and kill(self._rng.choice(victims))

    def _kill_head(self) -> bool:
        """Once it has been at work: on a slow machine it may need long to come back."""
        report, process = self._report, self.head.process
        if report is None or process is None or report.pid != process.pid or not report.rollouts:
            return False
        if not self._episodes.are_under_way() or not self.head.kill():
            return False
        self.faults.add("head")
        return True

    def _break_wire(self) -> bool:
        """The fault is counted by the wire, when it meets bytes on their way."""
        busy = [
            (wire, machine)
            for wire, machine in zip(self._wires, [None, *self._machines], strict=True)
            if wire.is_busy
            and self._episodes.are_under_way(machine.family()["worker"] if machine else None)
        ]
        if not busy:
            return False
        wire, _ = self._rng.choice(busy)
        rng, cut_s = self._rng, self._weather.cut_s
        kind = self._rarest(WIRES)[0]
        if kind == "cut":
            self._room.tell(wire.cut, cut_s)
        elif kind == "silent":
            self._room.tell(wire.silence, cut_s)
        elif kind == "delayed":
            self._room.tell(wire.delay, cut_s / 2, rng.uniform(0.05, 0.4))
        elif kind == "throttled":
            self._room.tell(wire.throttle, cut_s / 2, rng.uniform(1e3, 2e4))
        else:
            self._room.tell(wire.tear, 1.0)
        return True
