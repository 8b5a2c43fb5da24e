"""What a cluster is to be: written at launch, read by its machines and whoever manages it."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from errors import ConfigError

SPEC_VERSION = 1
SPEC_KEY = "spec.json"
"""Where a cluster's store has its spec."""
MOST_HOURS = 8784
"""A year: a cluster that runs for longer is a slip, and its end may be no date at all."""

_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}[a-z0-9]")
_UID = re.compile(r"[0-9a-f]{32}")


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cluster, whatever provides its machines. No secret is in it.

    Attributes:
        name: what people call it: lower-case letters, digits and hyphens, 3 to 32 of them.
        uid: 128 random bits, hexadecimal: no two clusters share it, whoever launched them.
        owner: who launched it; clusters of others are neither shown nor touched unless asked for.
        size: machines that evaluate; the head's is not one of them.
        workers_per_machine: worker processes on each; None: one a core.
        experiment: whose command the head runs.
        config: the words after ``with``: ``("walk", "lr=0.02")``; for ``evaluate`` its arguments.
        worker_command: run instead of ``es/worker.py workers`` and its options, if given.
        source: sha256 of the archive with our code, hexadecimal.
        include: sha256 of the archive with the user's own folder, if there is one.
        requirements: sha256 of the user's own requirements file, if there is one.
        created_s: when it was launched, seconds since 1970.
        max_hours: when every machine ends itself, counted from ``created_s``.
        budget_usd: what it may cost in all; None: no more than ``max_hours`` allow.
        keep: whether the machines stay when the run has ended (until ``max_hours``).
    """

    name: str
    uid: str
    owner: str
    size: int
    config: tuple[str, ...]
    source: str
    created_s: float
    experiment: Literal["es", "nevergrad", "evaluate"] = "es"
    workers_per_machine: int | None = None
    worker_command: str | None = None
    include: str | None = None
    requirements: str | None = None
    max_hours: float = 24.0
    budget_usd: float | None = None
    keep: bool = False
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"cluster name {self.name!r}: expected 3 to 32 lower-case letters, digits and "
                "hyphens, a letter first"
            )
        if not _UID.fullmatch(self.uid):
            raise ConfigError(f"cluster uid {self.uid!r}: expected 32 hexadecimal digits")
        if self.size < 0:
            raise ConfigError(f"size={self.size}: expected the number of worker machines")
        if not 0 < self.max_hours <= MOST_HOURS:
            raise ConfigError(
                f"max_hours={self.max_hours}: expected hours above 0, at most {MOST_HOURS} (a year)"
            )
        if self.budget_usd is not None and not 0 < self.budget_usd < math.inf:
            raise ConfigError(
                f"budget_usd={self.budget_usd}: expected dollars above 0; leave it out for none"
            )
        if self.version != SPEC_VERSION:
            raise ConfigError(
                f"cluster {self.name} was launched by another release (spec {self.version}, here "
                f"{SPEC_VERSION}): manage it with that one"
            )

    @property
    def key(self) -> str:
        """What its things are named after: the name for people, enough of the uid for the rest."""
        return f"{self.name}-{self.uid[:8]}"

    @property
    def ends_s(self) -> float:
        """When every machine ends itself, seconds since 1970."""
        return self.created_s + self.max_hours * 3600


def read_spec(data: bytes) -> ClusterSpec:
    """The spec in a store's ``spec.json``.

    Raises:
        ConfigError: it is none, or another release's.
    """
    try:
        return msgspec.json.decode(data, type=ClusterSpec)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{SPEC_KEY} is no cluster's spec ({error})") from None
