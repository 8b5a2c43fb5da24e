"""Somebody beside the head who takes real records from its list, and puts them back wrongly."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import msgspec
import redis
from fault_count import RECORDS

from errors import MessageError, ServiceUnavailable
from fleet import keys
from fleet.connection import Client, connect
from fleet.open_numbers import parse_numbers
from search.messages import MAX_BATCH_BYTES, RecordBatch, decode, encode, is_run_uid

_FALSE_FITNESS = 1e6
_LOOK_S = 0.2
_AGAIN_S = 0.1
_AT_MOST = 4
_NO_REDIS = (redis.RedisError, OSError, ServiceUnavailable)


class Mischief:
    """A thread with a client of the head's Redis; a context manager.

    Args:
        url: of that Redis, which may vanish at times.
        rng: what is done to which bytes.
        count: told each kind of wrong that was done.
        is_work_in_flight: nothing is counted while nobody works.
        every_s: seconds from one wrong to the next.
        meanwhile: called while we wait for the last of them, which may need a Redis that is gone.
    """

    def __init__(
        self,
        url: str,
        rng: random.Random,
        count: Callable[[str], None],
        is_work_in_flight: Callable[[], bool],
        every_s: float,
        meanwhile: Callable[[], None],
    ) -> None:
        self._url = url
        self._rng = rng
        self._count = count
        self._is_work_in_flight = is_work_in_flight
        self._every_s = every_s
        self._meanwhile = meanwhile
        self._done = dict.fromkeys(RECORDS, 0)
        self._kept: deque[bytes] = deque(maxlen=200)
        self._defect: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Mischief:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the records alone; what was taken is back by then."""
        self._over.set()
        while self._thread.is_alive():
            self._meanwhile()
            self._thread.join(_AGAIN_S)
        if self._defect is not None:
            raise self._defect

    def _run(self) -> None:
        try:
            while not self._over.wait(self._every_s):
                with suppress(*_NO_REDIS), connect(self._url) as client:
                    self._disturb(client)
        except Exception as defect:
            self._defect = defect

    def _disturb(self, client: Client) -> None:
        runs: Any = client.zrange(keys.RUNS, 0, -1)
        uid = runs[0].decode() if runs else ""
        if not is_run_uid(uid):
            return
        kind = min(RECORDS, key=lambda k: (self._done[k], self._rng.random()))
        numbers = parse_numbers(client.get(keys.open_generations(uid)))
        taken = self._take(client, keys.records(uid), 2 if kind == "reordered" else 1)
        # Among them may be our own nonsense of before.
        self._kept.extend(data for data in taken if _parsed(data) is not None)
        put_back = self._wronged(kind, taken, numbers)
        if put_back:
            self._put_back(keys.records(uid), put_back)
        if put_back != taken and self._is_work_in_flight():
            self._done[kind] += 1
            self._count(kind)

    def _put_back(self, key: str, batches: list[bytes]) -> None:
        """However long it takes: what was taken is not ours to lose."""
        while True:
            try:
                with connect(self._url) as client:
                    client.rpush(key, *batches)
                return
            except _NO_REDIS:
                time.sleep(_AGAIN_S)

    def _take(self, client: Client, key: str, least: int) -> list[bytes]:
        """What comes within a moment. What was taken is always given back."""
        taken: list[bytes] = []
        deadline_s = time.monotonic() + 5 * _LOOK_S
        try:
            while len(taken) < least and time.monotonic() < deadline_s:
                found: Any = client.blpop([key], timeout=_LOOK_S)
                if found is not None:
                    taken.append(found[1])
            if taken:
                rest: Any = client.lpop(key, _AT_MOST - len(taken))
                taken += rest or []
        except redis.RedisError:
            pass
        return taken

    def _wronged(self, kind: str, taken: list[bytes], open_numbers: list[int]) -> list[bytes]:
        if kind == "duplicated":
            return [*taken, *taken]
        if kind == "reordered":
            return taken[::-1]
        if kind == "stale":
            return [*self._stale(open_numbers), *taken]
        return [*self._malformed(), *taken]

    def _stale(self, open_numbers: list[int]) -> list[bytes]:
        """Records that would be answers, were they of an open generation."""
        wrong = []
        for batch in filter(None, map(_parsed, self._kept)):
            digest = f"{self._rng.getrandbits(128):032x}"
            wrong.append(_falsified(msgspec.structs.replace(batch, digest=digest)))
            # What is closed may be opened again by a head that was killed before it had noted the
            # end; not so what is two before an open one, with an overlap of one at most.
            if open_numbers and batch.number <= max(open_numbers) - 2:
                wrong.append(_falsified(batch))
                # The number of an open generation, and the digest of a closed one.
                wrong += [
                    _falsified(msgspec.structs.replace(batch, number=n)) for n in open_numbers
                ]
        self._rng.shuffle(wrong)
        return wrong[:10]

    def _malformed(self) -> list[bytes]:
        rng = self._rng
        wrong = [rng.randbytes(rng.randrange(0, 300)) for _ in range(3)]
        wrong += [b"\x91" * 100_000, b"\xc1", b"", b"\xdd\xff\xff\xff\xff"]
        if rng.random() < 0.3:
            wrong.append(rng.randbytes(64) * ((MAX_BATCH_BYTES + 64) // 64))
        for data in rng.sample(list(self._kept), min(5, len(self._kept))):
            wrong += [self._mutated(data), data[: rng.randrange(len(data))], data + data]
        # A flipped bit may make another valid answer, and that is not what is tried here.
        return [data for data in wrong if _parsed(data) is None]

    def _mutated(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._rng.randrange(1, 6)):
            changed[self._rng.randrange(len(changed))] = self._rng.randrange(256)
        return bytes(changed)


def _parsed(data: bytes) -> RecordBatch | None:
    try:
        return decode(data, RecordBatch)
    except MessageError:
        return None


def _falsified(batch: RecordBatch) -> bytes:
    """Nothing that may be believed: theta would show it."""
    records = tuple(
        msgspec.structs.replace(record, fitness=_FALSE_FITNESS) for record in batch.records
    )
    return encode(msgspec.structs.replace(batch, records=records))
