"""100,000 random and mutated messages: each decoder gives what it should or refuses, no more."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from env.spec import EnvSpec
from errors import EsError
from fleet.head.head_token import HeadToken, decode_token, encode_token
from fleet.heartbeat import Claim, Heartbeat, RelayBeat, WorkerBeat, decode_beat, encode_beat
from fleet.open_numbers import format_numbers, parse_numbers
from fleet.run_report import RunReport, decode_report, encode_report
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from search.messages import (
    MAX_BATCH_BYTES,
    MESSAGE_VERSION,
    Experiment,
    Generation,
    Genomes,
    GuardSpec,
    NoiseSpec,
    Perturbations,
    RecordBatch,
    RolloutRecord,
    SeedRule,
    Task,
    decode,
    encode,
)

UID = "0123456789abcdef" * 2
MESSAGES_EACH = 12_500
STATISTICS = ObservationStatistics.observed(np.random.default_rng(1).normal(size=(9, 2)))
THETA = np.arange(3, dtype=np.float32)


class Kind(NamedTuple):
    """A decoder, and honest messages to begin with."""

    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    honest: tuple[Any, ...]


def message(kind: Any, *honest: Any) -> Kind:
    return Kind(kind.__name__, lambda data: decode(data, kind), encode, honest)


def generation_of(candidates: Perturbations | Genomes, **fields: Any) -> Generation:
    return Generation(MESSAGE_VERSION, UID, 4, candidates, 2, 3, SeedRule(1), **fields)


KINDS = (
    message(
        Task,
        Task(MESSAGE_VERSION, UID, 4, UID, 2, 5, 1),
        Task(MESSAGE_VERSION, UID, 0, UID, 0, 1, 0, 7),
    ),
    message(
        RecordBatch,
        RecordBatch(
            MESSAGE_VERSION,
            UID,
            4,
            UID,
            "host-12-0",
            (
                RolloutRecord(2, 0, "ok", 5, 1.5, 9, statistics=STATISTICS, terms={"effort": -1.0}),
                RolloutRecord(3, 1, "failed", 6, error="fell", host_failure=True),
                RolloutRecord(4, 1, "returned", 6, distance_m=2.0),
            ),
            evaluation_s=0.5,
        ),
    ),
    message(
        Generation,
        generation_of(Perturbations.of(THETA, 0.1, np.array([7, 11], dtype=np.int64))),
        generation_of(Genomes.of(THETA, np.ones((2, 3), dtype=np.float32)), statistics=STATISTICS),
    ),
    message(
        Experiment,
        Experiment(
            MESSAGE_VERSION,
            UID,
            "1",
            "code",
            "arithmetic",
            EnvSpec("Sphere-v0", options={"size": 3, "kind": "b", "share": 0.5}),
            PolicySpec(),
            NoiseSpec(0, 100, "0" * 16),
            GuardSpec(),
        ),
    ),
    Kind(
        "Heartbeat",
        decode_beat,
        encode_beat,
        (
            Heartbeat(
                "host-1",
                "host",
                "c0de",
                (WorkerBeat("host-1-0", True, UID, 5, 9, claim=Claim(UID, 2, 5)),),
            ),
            Heartbeat("host-2-relay", "host", "c0de", (), RelayBeat("redis://h:1/0", UID, 3)),
        ),
    ),
    Kind(
        "RunReport",
        decode_report,
        encode_report,
        (RunReport("12", "lander", "host", 99, open_numbers=(4, 5), first_error="fell"),),
    ),
    Kind(
        "open numbers",
        parse_numbers,
        lambda numbers: format_numbers(numbers).encode(),
        ([4, 5, 6], [0], [12345678901]),
    ),
    Kind(
        "HeadToken", decode_token, encode_token, (HeadToken(1_700_000_000_000_000, "h", 9, "ab"),)
    ),
)
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**53 + 1,
    2**64 - 1,
    -(2**63),
    float("nan"),
    float("inf"),
    "",
    "x" * 600,
    "\ud7ff\x00\x1b[2J",
    b"",
    b"\xff" * 13,
    [],
    {},
    [[[[[]]]]],
    {"version": 1},
    msgspec.msgpack.Ext(-1, b"\xff" * 12),
    msgspec.msgpack.Ext(5, b"x"),
)


def attacks(kind: Kind, draw: random.Random) -> Iterator[bytes]:
    """Endless bytes that are nearly messages, and some that are not at all."""
    ways = (flipped, cut, inserted, spliced, mistyped, mistyped, rekeyed, noise)
    honest = [kind.write(one) for one in kind.honest]
    while True:
        yield draw.choice(ways)(draw.choice(honest), draw)


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def inserted(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.choice((1, 1, 3, 9))) + data[at:]


def spliced(data: bytes, draw: random.Random) -> bytes:
    start, stop = sorted((draw.randrange(len(data)), draw.randrange(len(data))))
    at = draw.randrange(len(data))
    return data[:at] + data[start:stop] + data[at:]


def noise(data: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(2 * len(data)))


def mistyped(data: bytes, draw: random.Random) -> bytes:
    """The same tree with another value somewhere."""
    root = [as_tree(data)]
    place, key = draw.choice(places(root))
    place[key] = draw.choice(STRANGE)
    return msgspec.msgpack.encode(root[0])


def rekeyed(data: bytes, draw: random.Random) -> bytes:
    """The same tree with a field of another name, one twice over, or one missing."""
    tree = as_tree(data)
    maps = [place for place, _ in places([tree]) if isinstance(place, dict) and place]
    if maps:
        place = draw.choice(maps)
        value = place.pop(draw.choice(list(place)))
        if draw.random() < 0.5:
            place[draw.choice(("version", "kind", "form", "status", "", "x", 7))] = value
    return msgspec.msgpack.encode(tree)


def as_tree(data: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(data)
    except msgspec.DecodeError:  # open numbers are no msgpack
        return data.decode()


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in the tree."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        inner: Any = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in inner:
            found.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def read_or_refuse(kind: Kind, data: bytes) -> bool:
    """Whether ``data`` is taken for a message; it then survives being written and read again."""
    refusal = ""
    try:
        found = kind.read(data)
    except EsError as error:
        refusal = str(error)
        found = None
    if not found:
        assert refusal.isprintable()  # it is shown to people
        assert len(refusal) < 700
        return False
    assert type(found) is type(kind.honest[0])
    # As bytes: what is no number equals nothing, not even itself.
    assert kind.write(kind.read(kind.write(found))) == kind.write(found)
    return True


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_bytes_raise_anything_but_our_own_errors(kind: Kind) -> None:
    draw = random.Random(kind.name)
    attack = attacks(kind, draw)
    taken = sum(read_or_refuse(kind, next(attack)) for _ in range(MESSAGES_EACH))
    assert all(read_or_refuse(kind, kind.write(one)) for one in kind.honest)
    # Some are still messages, most are not: the attacks are neither blunt nor wild.
    assert MESSAGES_EACH / 100 < taken < MESSAGES_EACH * 0.9


def bombs() -> Iterator[bytes]:
    """Bytes that cost a careless decoder far more than they cost to send."""
    size = MAX_BATCH_BYTES - 100
    yield b"\x91" * size  # arrays in arrays
    yield b"\x81\xa0" * (size // 2)  # maps in maps
    yield b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000  # four billion elements, it says
    yield b"\xdf\xff\xff\xff\xff" + b"\xa0\xc0" * 1000
    yield b"\xc6\xff\xff\xff\xff" + b"x" * 1000
    yield b"\xdd" + (size - 5).to_bytes(4, "big") + b"\xc0" * (size - 5)
    yield b"\xdb" + (size - 5).to_bytes(4, "big") + b"-" * (size - 5)
    yield b"9" * size  # one number, were it text
    yield b"," * size
    fields = msgspec.msgpack.decode(encode(KINDS[1].honest[0]))
    yield msgspec.msgpack.encode(fields | {"worker": "a" * (size // 2) + "!"})
    yield msgspec.msgpack.encode(fields | {"records": [fields["records"][1]] * 30_000})
    nested: Any = 0
    for _ in range(500):
        nested = [nested]
    yield msgspec.msgpack.encode(fields | {"records": nested})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_bytes_cost_more_than_their_length_is_worth(kind: Kind) -> None:
    for bomb in bombs():
        started_s = time.process_time()
        read_or_refuse(kind, bomb)
        assert time.process_time() - started_s < 1.0
