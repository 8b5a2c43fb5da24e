"""Sacred's file store under ``runs/``, made to be resumed, watched and killed.

Sacred's own `FileStorageObserver` refuses a used id, writes its files in place (a reader, or the
next start after a kill, finds half of one), reads ``metrics.json`` back each time and copies every
artifact.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from errors import ConfigError, RunError
from tracking.identity import new_uid, uid_of
from tracking.run_numbers import new_directory
from tracking.sacred_import import FileStorageObserver, plain

_log = logging.getLogger(__name__)

MetricPoints = dict[str, list[Any]]
"""``steps``, ``values`` and ``timestamps`` (ISO 8601, UTC), of equal length."""

# A run that ends is always written; in between, a rewrite waits until a tenth of the points is
# new, so that all rewrites of a long run together cost about ten times the last one.
_REWRITE_SHARE = 0.1


class RunDirectoryObserver(FileStorageObserver):
    """Keeps a run in ``runs_dir/<id>``; with ``resume``, goes on with one that is there already.

    Args:
        runs_dir: the store; made if it does not exist.
        resume: id of the run to go on with.
        hold: called with the run's directory before anything of an earlier session is touched; it
            may refuse (`errors.RunLocked`) and then nothing is.

    Raises:
        ConfigError: on start, where the directory cannot be made or written.
        RunError: on start, where the run to resume is damaged.
    """

    def __init__(
        self,
        runs_dir: Path,
        resume: int | None = None,
        hold: Callable[[Path], object] | None = None,
    ) -> None:
        # Before any other observer, so that the run's id is the directory's.
        super().__init__(runs_dir, copy_sources=False, priority=100)
        self.path: Path | None = None
        self._entry: dict[str, Any] = {}
        self._resume = resume
        self._hold = hold
        self._lock = threading.RLock()
        self._metrics: dict[str, MetricPoints] = {}
        self._num_points = self._num_written = 0
        self._complained = False

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: int | None,
    ) -> int:
        """Make or reopen the directory; the run's integer id."""
        try:
            directory, earlier = self._directory()
            if self._hold is not None:
                self._hold(directory)
            self.path, self.dir = directory, str(directory)
            self._describe(ex_info, command, host_info, start_time, config, meta_info, earlier)
        except OSError as error:
            self._entry = {}
            raise ConfigError(
                f"runs_dir {self.basedir} is not writable ({error.strerror or error}): "
                "give a folder that is with runs_dir=FOLDER"
            ) from None
        return int(directory.name)

    @property
    def uid(self) -> str:
        """The run's, which no other run has; see `tracking.identity`."""
        return str(self._entry["uid"])

    def _directory(self) -> tuple[Path, dict[str, Any] | None]:
        runs_dir = Path(self.basedir)
        if self._resume is not None:
            directory = runs_dir / str(self._resume)
            try:
                return directory, json.loads((directory / "run.json").read_text())
            except ValueError:
                raise RunError(
                    f"{directory / 'run.json'} is damaged: the run cannot be resumed as it is; "
                    f"start a new one from it with load_from={self._resume}"
                ) from None
        return new_directory(runs_dir), None

    def _describe(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        earlier: dict[str, Any] | None,
    ) -> None:
        self._entry = {
            "uid": new_uid() if earlier is None else uid_of(earlier),
            "experiment": dict(ex_info),
            "command": command,
            "host": dict(host_info),
            "start_time": start_time.isoformat(),
            "meta": meta_info,
            "status": "RUNNING",
            "resources": [],
            "artifacts": [],
            "heartbeat": None,
            "resumed": [],
        }
        if earlier is not None:
            kept = {name: earlier[name] for name in _KEPT_ON_RESUME if name in earlier}
            self._entry.update(kept)
            self._entry["meta"] = _with_first_names(meta_info, earlier)
            before = _read_config(self._open_path)
            self._entry["resumed"] = [
                *earlier.get("resumed", []),
                {"time": start_time.isoformat(), "changed": _changes(before, plain(config))},
            ]
        self.run_entry, self.config, self.info = self._entry, config, {}
        self.save_json(self._entry, "run.json")
        self.save_json(config, "config.json")

    @property
    def _open_path(self) -> Path:
        if self.path is None:
            raise LookupError("the run has not started")
        return self.path

    def save_json(self, obj: object, filename: str) -> None:
        """Write ``obj`` to ``filename`` in the run's directory, all or nothing."""
        text = json.dumps(plain(obj), sort_keys=True, indent=2)
        self._replace(filename, text)

    def _replace(self, filename: str, text: str) -> None:
        path = self._open_path / filename
        with self._lock:  # the heartbeat's thread writes too
            beside = path.with_name(f".{filename}.new")
            beside.write_text(text)
            beside.replace(path)

    def save_cout(self) -> None:
        """Nothing is captured, so there is nothing to save."""

    def heartbeat_event(
        self, info: dict[str, Any], captured_out: str, beat_time: datetime, result: object
    ) -> None:
        """Note that the run lives. A full disk costs heartbeats, not the observer."""
        self.info = info
        self._entry["heartbeat"] = beat_time.isoformat()
        self._entry["result"] = result
        with self._patience():
            self.save_json(self._entry, "run.json")
            if info:
                self.save_json(info, "info.json")

    def log_metrics(self, metrics_by_name: Mapping[str, Mapping[str, Any]], info: object) -> None:
        """Take new points into ``metrics.json``, which is rewritten when enough are new."""
        with self._lock:
            for name, new in metrics_by_name.items():
                points = self._metrics.setdefault(name, _no_points())
                points["steps"] += new["steps"]
                points["values"] += new["values"]
                points["timestamps"] += [time.isoformat() for time in new["timestamps"]]
                self._num_points += len(new["steps"])
            due = self._num_points - self._num_written > _REWRITE_SHARE * self._num_written
        if due:
            with self._patience():
                self._write_metrics()

    def replace_metrics(self, metrics: dict[str, MetricPoints]) -> None:
        """Forget every point there was, and keep these."""
        with self._lock:
            self._metrics = metrics
            self._num_points = sum(len(points["steps"]) for points in metrics.values())
        self._write_metrics()

    def _write_metrics(self) -> None:
        with self._lock:
            self._replace("metrics.json", json.dumps(self._metrics))
            self._num_written = self._num_points

    def artifact_event(
        self, name: str, filename: str, metadata: object = None, content_type: object = None
    ) -> None:
        """Note an artifact; copy it only if it lies outside of the run's directory."""
        with self._patience(), self._lock:
            path, directory = Path(filename).resolve(), self._open_path.resolve()
            if path.is_relative_to(directory):
                name = path.relative_to(directory).as_posix()
            else:
                shutil.copyfile(path, directory / name)
            if name not in self._entry["artifacts"]:
                self._entry["artifacts"].append(name)
            self.save_json(self._entry, "run.json")

    def forget_artifact(self, filename: Path) -> None:
        """Drop a file of the run's directory that no longer exists from the list of artifacts."""
        with self._lock:
            name = filename.resolve().relative_to(self._open_path.resolve()).as_posix()
            if name in self._entry["artifacts"]:
                self._entry["artifacts"].remove(name)

    def completed_event(self, stop_time: datetime, result: object) -> None:
        """The run has come to its end."""
        self._end("COMPLETED", stop_time, result=result)

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """The run was told to stop."""
        self._end(status, interrupt_time)

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """The run failed, or was refused before it began: then there is nothing to note."""
        self._end("FAILED", fail_time, fail_trace=fail_trace)

    def _end(self, status: str, stop_time: datetime, **facts: object) -> None:
        if not self._entry:
            return
        self._entry.update(status=status, stop_time=stop_time.isoformat(), **facts)
        self.save_json(self._entry, "run.json")
        self._write_metrics()

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Let an `OSError` pass with one warning: Sacred would drop the observer for good."""
        try:
            yield
        except OSError as error:
            if not self._complained:
                self._complained = True
                _log.warning(
                    "run directory %s cannot be written (%s); the run goes on",
                    self.dir,
                    error.strerror or error,
                )


def run_directory(run: Any) -> Path:
    """Where a running Sacred ``Run`` keeps its files.

    Raises:
        LookupError: no `RunDirectoryObserver` watches it.
    """
    path = directory_observer(run).path
    assert path is not None
    return path


def directory_observer(run: Any) -> RunDirectoryObserver:
    """Who keeps a running Sacred ``Run`` in files.

    Raises:
        LookupError: no `RunDirectoryObserver` watches it.
    """
    for observer in run.observers:
        if isinstance(observer, RunDirectoryObserver) and observer.path is not None:
            return observer
    raise LookupError("the run has no RunDirectoryObserver, or has not started")


_KEPT_ON_RESUME = ("start_time", "artifacts", "resources")


def _with_first_names(meta: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """``meta`` of this session with the named configs that the run began with: still its own."""
    names = (earlier.get("meta") or {}).get("named_configs")
    return {**meta, "named_configs": names} if names else meta


def _read_config(directory: Path) -> dict[str, Any]:
    try:
        config = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _no_points() -> MetricPoints:
    return {"steps": [], "values": [], "timestamps": []}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """``{key: [before, now]}`` for every setting that differs."""
    return {
        key: [before.get(key), now.get(key)]
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    }


def timestamp(time_s: float) -> str:
    """Sacred's notation (UTC without a zone) of a Unix time."""
    return datetime.fromtimestamp(time_s, UTC).replace(tzinfo=None).isoformat()
