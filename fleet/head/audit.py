"""Rollouts that are run twice on different machines and compared, since they are deterministic.

A machine that computes nonsense is found out that way, and so is one that lies; not somebody who
answers under the names of several machines.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

import msgspec

from search.messages import Generation, RolloutRecord

MAX_TRIES = 8
"""Answers to one rollout before the first of them stands, though no two machines agree."""


def chosen(generation: Generation, fraction: float, salt: bytes) -> frozenset[int]:
    """Numbers of the rollouts to audit: a share ``fraction`` of ``generation``'s.

    Args:
        salt: known to the head alone, at most 64 bytes; whoever could foresee the choice would lie
            elsewhere.
    """
    if fraction <= 0:
        return frozenset()
    limit = fraction * 2**64
    place = generation.seeds.run_seed, generation.number
    return frozenset(r for r in range(generation.num_rollouts) if _draw(salt, *place, r) < limit)


def machine_of(worker: str) -> str:
    """The machine of a worker id: all of it but the worker's number there."""
    return worker.rpartition("-")[0] or worker


class Disagreement(NamedTuple):
    """Machines that differ in a rollout: those that agree, if any do, and those they outvote."""

    rollout: int
    believed: tuple[str, ...]
    outvoted: tuple[str, ...]


class Ballot:
    """What machines answer to one rollout: a vote each, and every answer a try."""

    __slots__ = ("_fickle", "_tries", "_votes", "first")

    def __init__(self) -> None:
        self.first: RolloutRecord | None = None
        self._votes: dict[str, bytes] = {}
        self._fickle: set[str] = set()
        self._tries = 0

    @property
    def num_machines(self) -> int:
        """How many have answered."""
        return len(self._votes)

    def has_voted(self, machine: str) -> bool:
        """Whether an answer of ``machine`` is here."""
        return machine in self._votes

    def cast(self, machine: str, record: RolloutRecord) -> RolloutRecord | None:
        """Count an answer; the final one, where there is one by now.

        Two machines that agree to the bit are believed at once.
        """
        said = _said(record)
        self._tries += 1
        if self.first is None:
            self.first = record
        if self._votes.setdefault(machine, said) != said:
            self._fickle.add(machine)
        elif list(self._votes.values()).count(said) > 1:
            return record
        return self.first if self._tries >= MAX_TRIES else None

    def disagreement(self, rollout: int) -> Disagreement | None:
        """Who differs from whom, also from itself; ``None`` where nobody does."""
        votes = list(self._votes.values())
        agreed = next((said for said in votes if votes.count(said) > 1), None)
        believed = [machine for machine, said in self._votes.items() if said == agreed]
        others = {machine for machine in self._votes if machine not in believed} | self._fickle
        if not self._fickle and len(set(votes)) < 2:
            return None
        return Disagreement(rollout, tuple(sorted(believed)), tuple(sorted(others)))


def _said(record: RolloutRecord) -> bytes:
    """All that every machine must say alike; the words of an error may name a path."""
    if record.status != "ok":
        return b"failed"
    return msgspec.msgpack.encode(msgspec.structs.replace(record, attempt=0, copy=0))


def _draw(salt: bytes, *numbers: int) -> int:
    packed = struct.pack(f"<{len(numbers)}Q", *numbers)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8, key=salt).digest(), "little")
