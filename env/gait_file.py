"""A policy that was found, in a file to keep and pass on: parameters, and what they belong to."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from env.spec import EnvSpec
from errors import ConfigError, ResourceExhausted
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

FORMAT = 1
_MAX_BYTES = 2**28


class Gait(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy in the environment it was found in.

    Attributes:
        format: `FORMAT`.
        about: for people: where it comes from, what it scores.
        env, policy: as the run had them.
        theta: D numbers, each exactly a float32.
        observation_count, observation_mean, observation_m2: moments that observations are
            normalised with, where the policy does.
    """

    format: int = FORMAT
    about: dict[str, str | int | float] = {}
    env: EnvSpec
    policy: PolicySpec
    theta: list[float]
    observation_count: int = 0
    observation_mean: list[float] = []
    observation_m2: list[float] = []

    @classmethod
    def of(
        cls,
        env: EnvSpec,
        policy: PolicySpec,
        theta: NDArray[np.float32],
        statistics: ObservationStatistics | None,
        about: dict[str, str | int | float],
    ) -> Gait:
        """The gait of ``(D,)`` float32 ``theta``."""
        gait = cls(about=about, env=env, policy=policy, theta=theta.tolist())
        if statistics is None:
            return gait
        return msgspec.structs.replace(
            gait,
            observation_count=statistics.count,
            observation_mean=statistics.mean_o.tolist(),
            observation_m2=statistics.m2_o.tolist(),
        )

    @property
    def theta_d(self) -> NDArray[np.float32]:
        """``(D,)`` float32, to the bit as it was written."""
        with np.errstate(over="ignore"):
            return np.array(self.theta, dtype=np.float32)

    @property
    def statistics(self) -> ObservationStatistics | None:
        """Observation moments, or None where nothing is normalised."""
        if not self.observation_mean:
            return None
        mean_o, m2_o = np.array(self.observation_mean), np.array(self.observation_m2)
        return ObservationStatistics.of(self.observation_count, mean_o, m2_o)


def read_gait(path: Path) -> Gait:
    """The gait in ``path``.

    Raises:
        ConfigError: there is no such file, or it holds no gait of this format.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path} is no gait: it has more than {_MAX_BYTES} bytes")
        gait = msgspec.json.decode(path.read_bytes(), type=Gait)
    except OSError as error:
        raise ConfigError(
            f"no gait in {path} ({error.strerror}): name a file such as examples/gaits/walk2d.json"
        ) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(
            f"{path} is no gait ({error}): expected what `python env/evaluate.py RUN "
            "--save FILE` writes"
        ) from None
    if gait.format != FORMAT or not gait.theta or not np.isfinite(gait.theta_d).all():
        raise ConfigError(
            f"{path} is no gait of format {FORMAT} with finite parameters: "
            "write it anew from its run by `python env/evaluate.py RUN --save FILE`"
        )
    return gait


def check_gait_place(path: Path) -> None:
    """Refuse where `write_gait` could not write, before anything is simulated.

    Raises:
        ConfigError: a folder, or a file in a place that cannot be written to.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no file: name one to keep the gait in")
        folder = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:  # a folder on the way that may not be looked into
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): name another file"
        ) from None
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{path} cannot be written, as nothing in {folder}: name another file")


def write_gait(path: Path, gait: Gait) -> None:
    """Keep ``gait`` in ``path``, all or nothing, as JSON that people can read.

    Raises:
        ResourceExhausted: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(gait), indent=1) + b"\n")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceExhausted(f"{path} cannot be written: {error.strerror}") from None
