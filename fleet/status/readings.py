"""What Redis says of its runs and machines at one moment, in three round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import redis

from errors import MessageError, ServiceUnavailable
from fleet import keys
from fleet.connection import Client
from fleet.head.head_token import MAX_TOKEN_BYTES, HeadToken, decode_token
from fleet.heartbeat import MAX_BEAT_BYTES, Heartbeat, decode_beat
from fleet.machine.worker_broker import CREW_FRESH_S
from fleet.open_numbers import parse_numbers
from fleet.run_report import MAX_REPORT_BYTES, RunReport, decode_report
from search.messages import Experiment, decode, is_run_uid

MAX_RUNS = 64
MAX_MACHINES = 4096
MAX_OPEN = 32
_MAX_EXPERIMENT_BYTES = 2**20
_MAX_NAME_BYTES = 200


class QueueReading(msgspec.Struct, frozen=True):
    """Generation ``number``: tasks that nobody has taken, and copies handed out again."""

    number: int
    tasks: int
    reissues: int


class RunReading(msgspec.Struct, frozen=True):
    """One run of `keys.RUNS`; ``None`` stands for a key that is missing or not ours.

    Attributes:
        silence_s: since its head's last beat.
        head: of the head at work.
        is_declared: whether the declaration and the open generations are there, readable or not.
        records: batches that the head has not read yet.
        crew: workers that have asked for its work in the last `CREW_FRESH_S`.
    """

    uid: str
    silence_s: float
    head: HeadToken | None
    is_declared: bool
    report: RunReport | None
    experiment: Experiment | None
    open_numbers: tuple[int, ...]
    queues: tuple[QueueReading, ...] = ()
    records: int = 0
    crew: int = 0


class MachineReading(msgspec.Struct, frozen=True):
    """One machine or relay of `keys.MACHINES`, and how long ago it last beat."""

    name: str
    silence_s: float
    beat: Heartbeat | None


class Readings(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        now_s: seconds of the epoch on the server's clock.
        server_id, uptime_s: of this life of the server; a restarted one has another id.
        is_relays: whether this is a relay's own Redis, with a relay at work on it.
        vanished: uids asked about that have left no trace, as they do when Redis is emptied.
        garbled: keys that hold something else than they should.
        denied: what the server would not let this user read, in its own words.
    """

    now_s: float
    server_id: str
    uptime_s: float
    is_relays: bool
    runs: tuple[RunReading, ...]
    machines: tuple[MachineReading, ...]
    vanished: tuple[str, ...] = ()
    garbled: tuple[str, ...] = ()
    denied: str = ""


class _Answers:
    """Answers of pipelines, where a refused question must not spoil the others."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.garbled: list[str] = []
        self.denied = ""

    def ask(self, *questions: tuple[Any, ...]) -> list[Any]:
        """The answer to each command; ``None`` where the server refuses or the type is another.

        Raises:
            redis.RedisError: the server is out of reach.
        """
        if not questions:
            return []
        with self._client.pipeline(transaction=False) as pipe:
            for question in questions:
                pipe.execute_command(*question)  # type: ignore[no-untyped-call]
            answers = pipe.execute(raise_on_error=False)
        return [self._checked(*pair) for pair in zip(questions, answers, strict=True)]

    def _checked(self, question: tuple[Any, ...], answer: Any) -> Any:
        if not isinstance(answer, Exception):
            return answer
        if not isinstance(answer, redis.ResponseError):
            raise answer
        if str(answer).startswith("WRONGTYPE"):
            self.garbled.append(f"{question[1]} (another type of value)")
        elif not self.denied:
            self.denied = str(answer)
        return None

    def decoded(self, key: str, data: Any, decoder: Callable[[bytes], Any]) -> Any:
        """``data`` of ``key`` as what it should be, or ``None``."""
        if not data:  # GETRANGE gives nothing where there is no key
            return None
        why = "not one of this release"
        try:
            found = decoder(data)
        except MessageError as error:
            found, why = None, str(error).removesuffix(": discarded")
        if found is None:
            self.garbled.append(f"{key} ({why})")
        return found


def read(client: Client, remembered: Iterable[str] = ()) -> Readings:
    """What is there now.

    Args:
        remembered: uids of runs that were there before.

    Raises:
        ServiceUnavailable: this user may not even ask for the time.
        redis.RedisError: the server is out of reach.
    """
    answers = _Answers(client)
    now, server, lock, runs, machines = answers.ask(
        ("TIME",),
        ("INFO", "server"),
        ("EXISTS", keys.RELAY),
        ("ZREVRANGE", keys.RUNS, 0, MAX_RUNS - 1, "WITHSCORES"),
        ("ZREVRANGE", keys.MACHINES, 0, MAX_MACHINES - 1, "WITHSCORES"),
    )
    if now is None:
        raise ServiceUnavailable(
            f"Redis does not let this user look ({answers.denied}): use the head's password"
        )
    now_s = float(now[0]) + float(now[1]) / 1e6
    stated = _stated(
        answers,
        [(uid, silent_s) for uid, silent_s in _silences(runs, now_s) if is_run_uid(uid)],
        _silences(machines, now_s),
    )
    known = {run.uid for run in stated.runs}
    mentioned = {uid for uid in {*remembered, *_served(stated.machines)} if is_run_uid(uid)}
    readings, vanished = _with_work(
        answers, stated.runs, sorted(mentioned - known)[:MAX_RUNS], now_s
    )
    server = server if isinstance(server, dict) else {}
    return Readings(
        now_s,
        str(server.get("run_id", "")),
        float(server.get("uptime_in_seconds", 0)),
        bool(lock),
        readings,
        stated.machines,
        vanished,
        tuple(answers.garbled),
        answers.denied,
    )


class _Stated(NamedTuple):
    """What heads and machines say of themselves."""

    runs: tuple[RunReading, ...]
    machines: tuple[MachineReading, ...]


def _stated(
    answers: _Answers, runs: Sequence[tuple[str, float]], machines: Sequence[tuple[str, float]]
) -> _Stated:
    """Every run without its queues, and every machine: one round trip."""
    found = iter(
        answers.ask(
            *(question for uid, _ in runs for question in _of_run(uid)),
            *(_some(keys.machine(name), MAX_BEAT_BYTES) for name, _ in machines),
        )
    )
    return _Stated(
        tuple(
            RunReading(
                uid,
                silence_s,
                answers.decoded(keys.head(uid), next(found), decode_token),
                next(found) == 2,
                answers.decoded(keys.report(uid), next(found), decode_report),
                answers.decoded(keys.experiment(uid), next(found), _decode_experiment),
                _numbers(next(found)),
            )
            for uid, silence_s in runs
        ),
        tuple(
            MachineReading(
                name, silence_s, answers.decoded(keys.machine(name), next(found), decode_beat)
            )
            for name, silence_s in machines
        ),
    )


def _with_work(
    answers: _Answers, runs: Sequence[RunReading], missing: Sequence[str], now_s: float
) -> tuple[tuple[RunReading, ...], tuple[str, ...]]:
    """The runs with their queues, and those ``missing`` that nobody has withdrawn."""
    questions = [_of_work(run, now_s) for run in runs]
    found = iter(
        answers.ask(
            *(question for of_run in questions for question in of_run),
            *(("EXISTS", keys.open_generations(uid)) for uid in missing),
        )
    )
    busy = []
    for run in runs:
        records, crew = int(next(found) or 0), int(next(found) or 0)
        queues = tuple(
            QueueReading(number, int(next(found) or 0), int(next(found) or 0))
            for number in run.open_numbers
        )
        busy.append(msgspec.structs.replace(run, queues=queues, records=records, crew=crew))
    return tuple(busy), tuple(uid for uid in missing if next(found) == 0)


def _some(key: str, limit: int) -> tuple[Any, ...]:
    """A question for a string, and for no more of it than would be believed."""
    return ("GETRANGE", key, 0, limit)


def _of_run(uid: str) -> list[tuple[Any, ...]]:
    return [
        _some(keys.head(uid), MAX_TOKEN_BYTES),
        ("EXISTS", keys.experiment(uid), keys.open_generations(uid)),
        _some(keys.report(uid), MAX_REPORT_BYTES),
        _some(keys.experiment(uid), _MAX_EXPERIMENT_BYTES),
        ("GET", keys.open_generations(uid)),
    ]


def _of_work(run: RunReading, now_s: float) -> list[tuple[Any, ...]]:
    lengths = [
        ("LLEN", key(run.uid, number))
        for number in run.open_numbers
        for key in (keys.tasks, keys.reissues)
    ]
    crew = ("ZCOUNT", keys.crew(run.uid), now_s - CREW_FRESH_S, "+inf")
    return [("LLEN", keys.records(run.uid)), crew, *lengths]


def _decode_experiment(data: bytes) -> Experiment:
    return decode(data, Experiment)


def _numbers(data: Any) -> tuple[int, ...]:
    return tuple(parse_numbers(data)[:MAX_OPEN])


def _silences(members: Any, now_s: float) -> list[tuple[str, float]]:
    """Members of a zset of beats, and how long ago each was; a beat to come is one of now."""
    return [
        (name[:_MAX_NAME_BYTES].decode(errors="replace"), max(0.0, now_s - beat_s))
        for name, beat_s in members or ()
    ]


def _served(machines: Iterable[MachineReading]) -> set[str]:
    beats = [machine.beat for machine in machines if machine.beat is not None]
    served = {worker.run_uid for beat in beats for worker in beat.workers}
    return served | {beat.relay.run_uid for beat in beats if beat.relay is not None}
