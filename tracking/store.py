"""Reading a run back, while it goes or when it is over: one way for every command."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from env.spec import EnvSpec
from errors import ConfigError, EsError, RunError
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from search.timeline import GenerationTimes
from tracking import checkpoints, metric_log, timeline_log
from tracking.identity import check_run_id, is_uid
from tracking.mongo.place import MongoPlace

S = TypeVar("S", EnvSpec, PolicySpec)

Mongo = MongoPlace | Callable[[], MongoPlace | None] | None
"""A MongoDB, or what finds it, asked only when a run is not in the files; ``None``: there is none.
"""

_MOST_NAMED = 20


@dataclass(frozen=True)
class Checkpoint:
    """What the search believed in at one generation.

    Attributes:
        number: the generation.
        theta: ``(D,)`` float32.
        statistics: observation moments that its actors normalised with, or ``None``.
        arrays: everything else by name, the strategy's state among it.
    """

    number: int
    theta: NDArray[np.float32]
    statistics: ObservationStatistics | None
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)


@dataclass(frozen=True)
class StoredRun:
    """A run in a directory. Configuration is read once; the rest as it is now.

    Attributes:
        run_id: the number by which it was asked for, for people.
        path: its directory, in ``runs_dir`` or fetched from MongoDB.
    """

    run_id: int
    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every setting by name, defaults included."""
        return _read_object(self.path / "config.json")

    @property
    def env_spec(self) -> EnvSpec:
        """The environment as configured."""
        names = {"name": "env_name", "options": "env_options"}
        return self._spec(EnvSpec, names)

    @property
    def policy_spec(self) -> PolicySpec:
        """The policy as configured."""
        return self._spec(PolicySpec, {"options": "network_options"})

    @property
    def seed(self) -> int:
        """The run's seed, drawn by Sacred where the user gave none."""
        return int(self.config["seed"])

    @property
    def status(self) -> str:
        """Sacred's: ``RUNNING``, ``COMPLETED``, ``INTERRUPTED`` or ``FAILED``. A run that was
        killed says ``RUNNING`` for ever.
        """
        return str(_read_object(self.path / "run.json").get("status", "RUNNING"))

    @property
    def result(self) -> dict[str, Any] | None:
        """What the run returned; ``None`` unless it came to an end."""
        result = _read_object(self.path / "run.json").get("result")
        return result if isinstance(result, dict) else None

    def metrics(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """``(numbers, values)``, each ``(T,)``, by metric: the generations that have a value."""
        points: dict[str, tuple[list[int], list[float]]] = {}
        for row in metric_log.read(self.path / metric_log.FILE_NAME):
            for name, value in row.metrics.items():
                numbers, values = points.setdefault(name, ([], []))
                numbers.append(row.number)
                values.append(value)
        return {
            name: (np.array(numbers, dtype=np.int64), np.array(values))
            for name, (numbers, values) in points.items()
        }

    def times(self) -> list[GenerationTimes]:
        """Where each generation's time went; of releases that did not keep it, nothing."""
        return timeline_log.read(self.path / timeline_log.FILE_NAME)

    def artifacts(self) -> dict[str, Path]:
        """Checkpoints, videos and whatever else was kept of it, by name within the run."""
        names = _read_object(self.path / "run.json").get("artifacts")
        paths = {str(name): self.path / str(name) for name in names or ()}
        return {name: path for name, path in sorted(paths.items()) if path.is_file()}

    def checkpoints(self) -> list[int]:
        """Generations whose checkpoint was kept, in order."""
        return checkpoints.numbers(self.path / checkpoints.FOLDER)

    def best(self) -> int | None:
        """The generation with the best ``fitness/current`` of which there is a checkpoint."""
        best = checkpoints.read_best(self.path / checkpoints.FOLDER)
        return best.number if best is not None and best.number in self.checkpoints() else None

    def checkpoint(self, number: int | None = None) -> Checkpoint:
        """The checkpoint of generation ``number``, or the newest.

        Raises:
            ConfigError: there is none yet, or not of that generation.
            RunError: its file is damaged.
        """
        while True:
            kept = self.checkpoints()
            if not kept:
                raise ConfigError(self._without_parameters())
            wanted = kept[-1] if number is None else number
            path = self.path / checkpoints.FOLDER / checkpoints.file_name(max(0, wanted))
            try:
                if wanted in kept:
                    return _checkpoint(wanted, checkpoints.read(path), self.path)
            except FileNotFoundError:  # a best one, gone between the look and the reading
                if number is None:
                    continue
            raise ConfigError(
                f"generation {wanted} of run {self.run_id} was not kept; {_kept_near(wanted, kept)}"
            )

    def _without_parameters(self) -> str:
        if self.status == "RUNNING":
            what = "has no checkpoint yet: wait for its first generation to complete"
        else:
            what = f"has no checkpoint: it ended ({self.status}) in its first generation"
        return f"run {self.run_id} in {self.path} {what}"

    def _spec(self, kind: type[S], names: Mapping[str, str]) -> S:
        fields = {
            field.name: self.config[names.get(field.name, field.name)]
            for field in msgspec.structs.fields(kind)
            if names.get(field.name, field.name) in self.config
        }
        try:
            return msgspec.convert(fields, kind)
        except msgspec.ValidationError as error:
            raise RunError(
                f"{self.path / 'config.json'} does not fit {kind.__name__} ({error}): "
                "the run is of another release, or damaged"
            ) from None


def open_run(run_id: str | int, runs_dir: Path, mongo: Mongo = None) -> StoredRun:
    """The run with that id, from its files, else from MongoDB.

    Args:
        run_id: its number in ``runs_dir`` or in MongoDB, or its uid.
        runs_dir: the store; what MongoDB has is kept in its folder ``.fetched`` and brought up to
            date each time.
        mongo: where to look for a run that ``runs_dir`` has not; ``None``: nowhere.

    Raises:
        ConfigError: there is none; names where it looked and the nearest ids.
        RunError: its directory is damaged.
        ServiceUnavailable: MongoDB was needed and cannot be asked.
    """
    return _opened(str(run_id), runs_dir, mongo, is_resumed=False)


def open_run_to_resume(run_id: str | int, runs_dir: Path, mongo: Mongo = None) -> StoredRun:
    """As `open_run`, and within ``runs_dir``: what was in MongoDB alone becomes a run of its own
    there, with the number that it had, if that is free.

    Raises:
        EsError: as `open_run`; `RunLocked` where MongoDB says that it goes on elsewhere.
    """
    return _opened(str(run_id), runs_dir, mongo, is_resumed=True)


def _opened(run_id: str, runs_dir: Path, mongo: Mongo, *, is_resumed: bool) -> StoredRun:
    check_run_id(run_id)
    run = StoredRun(int(run_id), runs_dir / run_id) if run_id.isdecimal() else None
    if run is None or not (run.path / "config.json").is_file():
        run = _run_elsewhere(run_id, runs_dir, mongo, is_resumed=is_resumed)
    if not run.config:
        instead = (
            "; move its folder away to read what MongoDB has of it" if _is_there(mongo) else ""
        )
        raise RunError(f"{run.path / 'config.json'} is damaged: the run cannot be read{instead}")
    return run


def _run_elsewhere(run_id: str, runs_dir: Path, mongo: Mongo, *, is_resumed: bool) -> StoredRun:
    """A run that ``runs_dir`` has not under the number ``run_id``."""
    if is_uid(run_id):
        # pymongo takes a tenth of a second to load: only for those who need it.
        from tracking.fetched_runs import local_run

        here = local_run(run_id, runs_dir)
        if here is not None:
            return StoredRun(int(here.name), here)
    looked = f"no run {run_id} in {runs_dir.absolute()}"
    try:
        place = _found(mongo)
    except EsError as error:
        raise type(error)(f"{looked}{_nearest(run_id, runs_dir, is_all=False)}; {error}") from None
    looked += _nearest(run_id, runs_dir, is_all=place is None)
    if place is None:
        raise ConfigError(looked)
    from tracking.fetched_runs import brought_home, fetched_run

    look = brought_home if is_resumed else fetched_run
    return StoredRun(*look(run_id, runs_dir, place, looked))


def _found(mongo: Mongo) -> MongoPlace | None:
    return mongo if mongo is None or isinstance(mongo, MongoPlace) else mongo()


def _is_there(mongo: Mongo) -> bool:
    try:
        return _found(mongo) is not None
    except EsError:
        return False


def run_ids(runs_dir: Path) -> list[int]:
    """Ids of the runs in ``runs_dir``, in order; none where it does not exist."""
    if not runs_dir.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in runs_dir.iterdir()
        if path.name.isdecimal() and (path / "config.json").is_file()
    )


def _nearest(run_id: str, runs_dir: Path, *, is_all: bool) -> str:
    """What there is instead; ``is_all``: nowhere else was looked."""
    known = run_ids(runs_dir)
    if not known:
        place = "give the folder with runs_dir=FOLDER"
        return f": there are no runs there; {place}" if is_all else ""
    if run_id.isdecimal():
        near = sorted(sorted(known, key=lambda other: abs(other - int(run_id)))[:3])
    else:
        near = [int(name) for name in difflib.get_close_matches(run_id, map(str, known))]
    return f"; the nearest are {', '.join(map(str, near or known[-3:]))}"


def _kept_near(wanted: int, kept: list[int]) -> str:
    """Those that were kept, or where they are too many for a line, the nearest of them."""
    if len(kept) <= _MOST_NAMED:
        return f"kept were {', '.join(map(str, kept))}"
    near = sorted(sorted(kept, key=lambda number: abs(number - wanted))[:3])
    return (
        f"{len(kept)} were kept, from {kept[0]} to {kept[-1]}, the nearest "
        f"{', '.join(map(str, near))}"
    )


def _checkpoint(number: int, arrays: dict[str, NDArray[Any]], path: Path) -> Checkpoint:
    try:
        theta = np.asarray(arrays.pop("theta"), dtype=np.float32)
        statistics = None
        if "count" in arrays:
            moments = (int(arrays.pop("count")), arrays.pop("mean"), arrays.pop("m2"))
            statistics = ObservationStatistics.of(*moments)
    except (KeyError, TypeError, ValueError):
        raise RunError(
            f"checkpoint {number} in {path} does not hold what it should: "
            "damaged; use another generation"
        ) from None
    return Checkpoint(number, theta, statistics, arrays)


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; empty where there is none or it is damaged."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
