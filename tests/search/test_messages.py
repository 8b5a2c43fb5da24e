"""Bytes from other processes become one well-formed message or an error of ours, nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env.spec import EnvSpec
from errors import MessageError, VersionMismatch
from policy.spec import PolicySpec
from search.messages import (
    MAX_ERROR_CHARS,
    MAX_SMALL_BYTES,
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
    digest,
    encode,
    is_run_uid,
)

UID = "0123456789abcdef" * 2
KINDS: tuple[Any, ...] = (Experiment, Generation, Task, RecordBatch)

THETA = np.arange(3, dtype=np.float32)
GENERATION = Generation(
    MESSAGE_VERSION,
    UID,
    4,
    Perturbations.of(THETA, 0.1, np.array([7, 11], dtype=np.int64)),
    num_episodes=2,
    num_validation=3,
    seeds=SeedRule(1),
)
MESSAGES = (
    Experiment(
        MESSAGE_VERSION,
        UID,
        "1",
        "code",
        "arithmetic",
        EnvSpec("Sphere-v0", options={"size": 3}),
        PolicySpec(),
        NoiseSpec(0, 100, "0" * 16),
        GuardSpec(),
    ),
    GENERATION,
    Task(MESSAGE_VERSION, UID, 4, UID, 2, 5, 1),
    RecordBatch(
        MESSAGE_VERSION,
        UID,
        4,
        UID,
        "host-12-0",
        (RolloutRecord(2, 0, "ok", fitness=1.5, length=9), RolloutRecord(3, 1, "failed")),
    ),
)
FUZZ = settings(max_examples=500, deadline=None)

json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    # so that keys and tags are sometimes right
    | st.sampled_from(["version", "kind", "task", "records", UID])
    | st.binary(max_size=16),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def decode_or_refuse(data: bytes) -> None:
    """Decode as each kind; any exception but our own escapes and fails the test."""
    for kind in KINDS:
        try:
            message = decode(data, kind)
        except MessageError:
            continue
        assert decode(encode(message), kind) == message


@FUZZ
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_a_message_error(data: bytes) -> None:
    decode_or_refuse(data)


@FUZZ
@given(
    st.sampled_from(MESSAGES),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    st.integers(0, 10_000),
)
def test_a_mutated_or_cut_message_raises_nothing_but_a_message_error(
    message: Experiment | Generation | Task | RecordBatch,
    changes: list[tuple[int, int]],
    length: int,
) -> None:
    data = bytearray(encode(message))
    for place, value in changes:
        data[place % len(data)] = value
    decode_or_refuse(bytes(data[: length % (len(data) + 1)]))
    decode_or_refuse(bytes(data))


@FUZZ
@given(st.sampled_from(MESSAGES), st.data())
def test_a_message_with_a_field_of_another_kind_raises_nothing_but_a_message_error(
    message: Experiment | Generation | Task | RecordBatch, data: st.DataObject
) -> None:
    fields = msgspec.msgpack.decode(encode(message))
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(json_like)
    decode_or_refuse(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_survives_the_wire_and_is_no_other_kind(
    message: Experiment | Generation | Task | RecordBatch,
) -> None:
    data = encode(message)
    for kind in KINDS:
        if isinstance(message, kind):
            assert decode(data, kind) == message
        else:
            with pytest.raises(MessageError):
                decode(data, kind)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_another_version_is_named_even_where_the_rest_is_unknown(
    message: Experiment | Generation | Task | RecordBatch,
) -> None:
    fields = msgspec.msgpack.decode(encode(message))
    fields["version"] = MESSAGE_VERSION + 1
    fields["a field of the future"] = 1
    kind: Any = type(message)
    with pytest.raises(VersionMismatch, match=f"expected {MESSAGE_VERSION}"):
        decode(msgspec.msgpack.encode(fields), kind)


def test_an_unknown_field_is_refused() -> None:
    fields = msgspec.msgpack.decode(encode(MESSAGES[2]))
    fields["extra"] = 1
    with pytest.raises(MessageError, match="extra"):
        decode(msgspec.msgpack.encode(fields), Task)


def test_a_message_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(MessageError, match="limit"):
        decode(b"\x00" * (MAX_SMALL_BYTES + 1), Task)


@pytest.mark.parametrize(
    ("sigma", "why"),
    [
        (np.ones(len(THETA) + 1), "one for each"),
        (np.ones(0), "one for each"),
        (float("nan"), "finite"),
        (np.full(len(THETA), np.inf), "finite"),
    ],
)
def test_sigmas_that_do_not_fit_theta_cannot_be_sent_or_received(
    sigma: float | np.ndarray, why: str
) -> None:
    candidates = Perturbations.of(THETA, sigma, np.array([7], dtype=np.int64))
    with pytest.raises(ValueError, match=why):
        msgspec.structs.replace(GENERATION, candidates=candidates)
    fields = msgspec.msgpack.decode(encode(GENERATION))
    fields["candidates"]["sigma_bytes"] = candidates.sigma_bytes
    with pytest.raises(MessageError, match=why):
        decode(msgspec.msgpack.encode(fields), Generation)


@pytest.mark.parametrize("fitness", [float("nan"), float("inf"), -float("inf")])
def test_a_record_without_a_finite_fitness_cannot_be_sent_or_received(fitness: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        RolloutRecord(0, 0, "ok", fitness=fitness)
    fields = msgspec.msgpack.decode(encode(MESSAGES[3]))
    fields["records"][0]["fitness"] = fitness
    with pytest.raises(MessageError, match="finite"):
        decode(msgspec.msgpack.encode(fields), RecordBatch)


def test_an_endless_error_text_is_refused() -> None:
    fields = msgspec.msgpack.decode(encode(MESSAGES[3]))
    fields["records"][1]["error"] = "x" * (MAX_ERROR_CHARS + 1)
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(fields), RecordBatch)


@pytest.mark.parametrize(
    "uid", ["", "0" * 31, "0" * 33, UID.upper(), "*" * 32, UID + "\n", "../" + UID]
)
def test_what_is_not_a_run_uid_never_becomes_part_of_a_key(uid: str) -> None:
    assert not is_run_uid(uid)
    fields = msgspec.msgpack.decode(encode(MESSAGES[2]))
    fields["run_uid"] = uid
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(fields), Task)


@pytest.mark.parametrize(("first", "stop"), [(5, 5), (5, 4), (-1, 2), (0, 2**60)])
def test_a_task_without_a_sound_range_is_refused(first: int, stop: int) -> None:
    fields = msgspec.msgpack.decode(encode(MESSAGES[2])) | {"first": first, "stop": stop}
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(fields), Task)


def test_arrays_travel_to_the_bit_and_cannot_be_written() -> None:
    received = decode(encode(GENERATION), Generation).candidates
    assert isinstance(received, Perturbations)
    assert received.theta.tobytes() == THETA.tobytes()
    assert received.noise_indices_n.tolist() == [7, 11]
    assert not received.theta.flags.writeable


def test_rollouts_are_numbered_as_the_glossary_says() -> None:
    assert GENERATION.num_candidates == 4
    assert GENERATION.num_training == 8
    assert GENERATION.num_rollouts == 11


@pytest.mark.parametrize(
    "candidates",
    [
        Perturbations(b"", 0.1, b""),
        Perturbations(b"\0" * 7, 0.1, b""),
        Perturbations(b"\0" * 8, 0.1, b"\0" * 9),
        Perturbations(b"\0" * 8, float("nan"), b"\0" * 8),
        Genomes(b"\0" * 8, b"\0" * 12),
        Genomes(b"", b"\0" * 12),
    ],
)
def test_arrays_of_impossible_sizes_are_refused(candidates: Perturbations | Genomes) -> None:
    fields = msgspec.msgpack.decode(encode(GENERATION))
    fields["candidates"] = msgspec.msgpack.decode(msgspec.msgpack.encode(candidates))
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(fields), Generation)


def test_equal_generations_have_one_name_and_different_ones_two() -> None:
    again = decode(encode(GENERATION), Generation)
    other = msgspec.structs.replace(GENERATION, number=5)
    assert digest(encode(again)) == digest(encode(GENERATION))
    assert digest(encode(other)) != digest(encode(GENERATION))
