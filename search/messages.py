"""What travels between head, Redis and workers: frozen, typed, versioned, never pickled.

Every message is a msgpack map that decodes into exactly one struct or raises `MessageError`.
Arrays travel as little-endian bytes beside what is needed to shape them, and are checked when
they are looked at. The bytes of a `Generation` are its identity: their digest names it in tasks
and records, so that work of another generation, run or version can never be mistaken for its own.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from env.spec import EnvSpec
from errors import MessageError, VersionMismatch
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

MESSAGE_VERSION = 4
MAX_GENERATION_BYTES = 512 * 2**20
MAX_SMALL_BYTES = 16 * 2**20
MAX_BATCH_BYTES = 4 * 2**20
MAX_ERROR_CHARS = 500

RunUid = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
WorkerId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,80}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Status = Literal["ok", "failed", "lost", "returned"]

_RUN_UID = re.compile(r"[0-9a-f]{32}")


def is_run_uid(text: str) -> bool:
    """Whether ``text`` may be used in a key or a path as a run's uid."""
    return _RUN_UID.fullmatch(text) is not None


class NoiseSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shared noise table: ``length`` float32 drawn from ``seed``; ``checksum`` of its bytes."""

    seed: Count
    length: Count
    checksum: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


class GuardSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a worker's process is replaced or killed."""

    rollout_timeout_s: float = 600.0
    max_rollouts_per_process: Count = 100_000
    max_rss_mb: float = 1000.0


class Experiment(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="experiment", tag_field="kind"
):
    """What stays the same for a whole run: declared once, read by each worker once.

    Attributes:
        version: `MESSAGE_VERSION` of the sender.
        code_version: digest of the source that evaluates; workers with another refuse.
        arithmetic: fingerprint of the head's floating point; see `search.arithmetic`.
        noise: the noise table, or ``None`` where the strategy draws none.
        mixed_hardware: let workers with another ``arithmetic`` join.
    """

    version: int
    run_uid: RunUid
    run_id: str
    code_version: str
    arithmetic: str
    env: EnvSpec
    policy: PolicySpec
    noise: NoiseSpec | None
    guard: GuardSpec
    mixed_hardware: bool = False


class Perturbations(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="perturbations", tag_field="form"
):
    """Mirrored pairs around theta.

    Candidate 2i is theta + sigma*epsilon_i and 2i+1 is theta - sigma*epsilon_i, where epsilon_i is
    the noise table's row that starts at ``noise_indices[i]``, and sigma one number or one for each
    parameter.
    """

    theta_bytes: bytes
    sigma_bytes: bytes
    noise_index_bytes: bytes

    @classmethod
    def of(
        cls,
        theta: NDArray[np.float32],
        sigma: float | NDArray[np.float32],
        noise_indices_n: NDArray[np.int64],
    ) -> Perturbations:
        """From ``(D,)`` float32, a number or ``(D,)`` float32, and ``(N,)`` int64."""
        return cls(
            theta.astype("<f4").tobytes(),
            np.asarray(sigma).astype("<f4").tobytes(),
            noise_indices_n.astype("<i8").tobytes(),
        )

    @property
    def theta(self) -> NDArray[np.float32]:
        """``(D,)`` float32, read-only."""
        return np.frombuffer(self.theta_bytes, dtype="<f4")

    @property
    def sigma(self) -> NDArray[np.float32]:
        """``(1,)`` or ``(D,)`` float32, read-only."""
        return np.frombuffer(self.sigma_bytes, dtype="<f4")

    @property
    def noise_indices_n(self) -> NDArray[np.int64]:
        """``(N,)`` int64, read-only."""
        return np.frombuffer(self.noise_index_bytes, dtype="<i8")

    @property
    def num_candidates(self) -> int:
        return 2 * (len(self.noise_index_bytes) // 8)


class Genomes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="genomes", tag_field="form"
):
    """Candidates written out: a ``(C, D)`` float32 matrix, and theta itself."""

    theta_bytes: bytes
    matrix_bytes: bytes

    @classmethod
    def of(cls, theta: NDArray[np.float32], matrix_cd: NDArray[np.float32]) -> Genomes:
        """From ``(D,)`` and ``(C, D)`` float32."""
        return cls(theta.astype("<f4").tobytes(), matrix_cd.astype("<f4").tobytes())

    @property
    def theta(self) -> NDArray[np.float32]:
        """``(D,)`` float32, read-only."""
        return np.frombuffer(self.theta_bytes, dtype="<f4")

    @property
    def matrix_cd(self) -> NDArray[np.float32]:
        """``(C, D)`` float32, read-only."""
        return np.frombuffer(self.matrix_bytes, dtype="<f4").reshape(-1, len(self.theta))

    @property
    def num_candidates(self) -> int:
        return len(self.matrix_bytes) // len(self.theta_bytes)


class SeedRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a rollout's seed follows from its number; see `search.seeds`.

    ``env_seed``: -1, a seed for each pair; ``None``, one for the generation; an integer >= 0, that.
    """

    run_seed: Count
    env_seed: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = -1


class Generation(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="generation", tag_field="kind"
):
    """One generation to evaluate. Rollout ``c*E + e`` is episode e of candidate c; rollouts from
    ``C*E`` on are validation episodes of theta itself.

    Attributes:
        statistics: observation moments that the actors normalise with, or ``None``.
        observed_fraction: share of the training rollouts that also send observation moments.
        max_ep_length: episode cap in simulator steps, or ``None`` for the environment's own.
        final: the closing test of a run: no candidates, and the final-test seeds.
        score_options: options of the environment's reset in validation and final-test episodes.
    """

    version: int
    run_uid: RunUid
    number: Count
    candidates: Perturbations | Genomes
    num_episodes: Annotated[int, Meta(ge=1, le=10**6)]
    num_validation: Annotated[int, Meta(ge=0, le=10**6)]
    seeds: SeedRule
    statistics: ObservationStatistics | None = None
    observed_fraction: float = 0.0
    max_ep_length: Annotated[int, Meta(ge=1)] | None = None
    final: bool = False
    score_options: dict[str, str | float | int | bool | None] = {}

    def __post_init__(self) -> None:
        theta_bytes = len(self.candidates.theta_bytes)
        if theta_bytes == 0 or theta_bytes % 4:
            raise ValueError("theta must be a non-empty float32 vector")
        if isinstance(self.candidates, Genomes):
            if len(self.candidates.matrix_bytes) % theta_bytes:
                raise ValueError("genome matrix does not divide into rows of theta's length")
        elif len(self.candidates.noise_index_bytes) % 8:
            raise ValueError("noise indices must be int64")
        elif len(self.candidates.sigma_bytes) not in (4, theta_bytes):
            raise ValueError("sigma must be one float32, or one for each parameter")
        elif not np.isfinite(self.candidates.sigma).all():
            raise ValueError("sigma must be finite")

    @property
    def num_candidates(self) -> int:
        """C."""
        return self.candidates.num_candidates

    @property
    def num_training(self) -> int:
        """C*E, the number of the first validation rollout."""
        return self.num_candidates * self.num_episodes

    @property
    def num_rollouts(self) -> int:
        """C*E + V."""
        return self.num_training + self.num_validation


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="task", tag_field="kind"):
    """Rollouts ``first`` to ``stop - 1`` of the generation that ``digest`` names.

    ``copy`` tells this handing out from every other of the same generation.
    """

    version: int
    run_uid: RunUid
    number: Count
    digest: Digest
    first: Count
    stop: Count
    attempt: Annotated[int, Meta(ge=0, le=1000)]
    copy: Count = 0

    def __post_init__(self) -> None:
        if self.stop <= self.first:
            raise ValueError("a task holds at least one rollout")


class RolloutRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of one attempt at one rollout.

    ``lost`` is a rollout whose process died of something else than the simulator, ``returned`` one
    that is given back undone by somebody who could say so: it does not count as a loss.
    ``fitness`` is finite where ``status`` is ``ok`` and 0 elsewhere, where nobody reads it;
    ``length`` counts simulator steps; ``host_failure`` marks a failure that another machine might
    not have had (a timeout, losses made final); ``statistics`` comes with observed rollouts only;
    ``terms`` are the sums of the reward's named terms, where the environment names them, and
    ``distance_m`` is how far forward it ended, where it says.
    """

    rollout: Count
    attempt: Annotated[int, Meta(ge=0, le=1000)]
    status: Status
    copy: Count = 0
    fitness: float = 0.0
    length: Count = 0
    error: Annotated[str, Meta(max_length=MAX_ERROR_CHARS)] = ""
    host_failure: bool = False
    statistics: ObservationStatistics | None = None
    terms: dict[str, float] = {}
    distance_m: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.fitness):
            raise ValueError("fitness must be finite; a rollout without one has failed")


class RecordBatch(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="records", tag_field="kind"
):
    """Records of one task, with what they share said once.

    ``evaluation_s`` is the time the worker spent in the rollouts, ``obtaining_s`` the time it
    waited for the task and its generation before.
    """

    version: int
    run_uid: RunUid
    number: Count
    digest: Digest
    worker: WorkerId
    records: Annotated[tuple[RolloutRecord, ...], Meta(max_length=100_000)]
    evaluation_s: float = 0.0
    obtaining_s: float = 0.0


Message = TypeVar("Message", Experiment, Generation, Task, RecordBatch)

_encoder = msgspec.msgpack.Encoder()
_size_limits: dict[type[Any], int] = {
    Experiment: MAX_SMALL_BYTES,
    Generation: MAX_GENERATION_BYTES,
    Task: 1000,
    RecordBatch: MAX_BATCH_BYTES,
}
_decoders = {kind: msgspec.msgpack.Decoder(kind) for kind in _size_limits}


def encode(message: Experiment | Generation | Task | RecordBatch) -> bytes:
    """The message's bytes: equal messages give equal bytes."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[Message]) -> Message:
    """The message of ``kind`` that ``data`` holds.

    Raises:
        VersionMismatch: it is of another message version.
        MessageError: it is anything else than one well-formed message of that kind.
    """
    if len(data) > _size_limits[kind]:
        raise MessageError(
            f"{kind.__name__} of {len(data)} bytes; the limit is {_size_limits[kind]}: discarded"
        )
    try:
        message = _decoders[kind].decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        _refuse_other_version(data, kind)
        raise MessageError(f"not a {kind.__name__}: {_shown(error)}: discarded") from None
    if message.version != MESSAGE_VERSION:
        _refuse_other_version(data, kind)
    return message  # type: ignore[no-any-return]


def _shown(error: Exception) -> str:
    """What is wrong, on one line: a decoder quotes the sender, who may have chosen any bytes."""
    text = str(error)[:MAX_ERROR_CHARS]
    return "".join(character if character.isprintable() else "?" for character in text)


class _Versioned(msgspec.Struct):
    version: int


def _refuse_other_version(data: bytes, kind: type[Any]) -> None:
    try:
        version = msgspec.msgpack.decode(data, type=_Versioned).version
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return
    if version != MESSAGE_VERSION:
        raise VersionMismatch(
            f"{kind.__name__} of message version {version}, expected {MESSAGE_VERSION}: "
            "run the same release on the head and on every worker"
        )


def digest(data: bytes) -> str:
    """The name of an encoded generation: 128 bits of BLAKE2b, in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
