"""A run's document in MongoDB, field by field as Sacred's MongoObserver writes it.

So Omniboard, Incense and scripts written for Sacred find a run where they look for it. What is
ours stands in one field, ``walking_es``: the uid by which the run is known, and where its directory
lies.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import bson
from bson import ObjectId

from errors import RunError
from tracking.identity import uid_of

OURS = "walking_es"
UID = f"{OURS}.uid"
FORMAT = "MongoObserver-0.7.0"
MAX_ARTIFACTS = 10_000
"""Listed in the document, which MongoDB bounds at 16 MB; GridFS has all of them."""
MAX_OUTPUT_BYTES = 2**18

Document = dict[str, Any]

_TIMES = ("start_time", "stop_time", "heartbeat")
_AS_THEY_ARE = ("command", "host", "meta", "status", "resources", "result", "fail_trace")
_MAY_GO = ("stop_time", "result", "fail_trace")
_ENDINGS = (".npz", ".mp4", ".gif", ".png", ".html")


@dataclass(frozen=True)
class RunFacts:
    """What a run's directory says of it.

    Attributes:
        uid: see `tracking.identity`.
        directory: the run's.
        entry: ``run.json``.
        config: every setting by name.
        info: what Sacred calls so; mostly empty.
    """

    uid: str
    directory: Path
    entry: Mapping[str, Any]
    config: Mapping[str, Any]
    info: Mapping[str, Any]


def read_facts(directory: Path) -> RunFacts:
    """What ``directory`` says.

    Raises:
        RunError: it is damaged, or no run's.
    """
    entry, config = (_read_object(directory / name) for name in ("run.json", "config.json"))
    for name, found in (("run.json", entry), ("config.json", config)):
        if not found:
            raise RunError(
                f"{directory / name} is missing or damaged: expected what Sacred wrote; restore "
                "it, or leave this run out"
            )
    info = _read_object(directory / "info.json")
    return RunFacts(uid_of(entry), directory, entry, config, info)


def is_artifact(name: str, facts: RunFacts) -> bool:
    """Whether people want the file: Sacred was told of it, or it is a checkpoint or a picture."""
    return name in facts.entry.get("artifacts", ()) or name.endswith(_ENDINGS)


def run_document(
    facts: RunFacts, artifacts: Mapping[str, ObjectId], metrics: Mapping[str, ObjectId]
) -> tuple[Document, Sequence[str]]:
    """Fields of the run's document, and the names of those that it must not have.

    Args:
        facts: of the run.
        artifacts: files in GridFS that are shown, by name.
        metrics: documents of metrics by the metric's name.
    """
    entry = facts.entry
    fields: Document = {name: bson_ready(entry[name]) for name in _AS_THEY_ARE if name in entry}
    fields |= {name: _time(entry[name]) for name in _TIMES if name in entry}
    # MongoObserver keeps sources in GridFS; ours are in the commit that `repositories` names.
    fields["experiment"] = bson_ready({**entry.get("experiment", {}), "sources": []})
    fields["format"] = FORMAT
    fields["config"] = bson_ready(facts.config)
    fields["captured_out"] = _said(facts.directory / "notices.jsonl")
    listed = sorted(artifacts)[-MAX_ARTIFACTS:]
    shown = _shown_names(listed)
    fields["artifacts"] = [{"name": shown[name], "file_id": artifacts[name]} for name in listed]
    points = [{"name": name, "id": str(identity)} for name, identity in metrics.items()]
    fields["info"] = {**bson_ready(facts.info), "metrics": points}
    fields[OURS] = {
        "uid": facts.uid,
        "number": int(facts.directory.name) if facts.directory.name.isdecimal() else None,
        "host": socket.gethostname(),
        "directory": str(facts.directory.absolute()),
        "resumed": bson_ready(entry.get("resumed", [])),
    }
    return fields, [name for name in _MAY_GO if name not in fields]


def _shown_names(names: Sequence[str]) -> dict[str, str]:
    """Without folders, as MongoObserver has them: Omniboard finds no file with a slash in its name.
    Files that would be called alike keep their folders, otherwise written.
    """
    alike = Counter(PurePosixPath(name).name for name in names)
    return {
        name: base if alike[base := PurePosixPath(name).name] == 1 else name.replace("/", "-")
        for name in names
    }


def bson_ready(value: Any) -> Any:
    """``value`` with keys that every MongoDB takes, as Sacred changes them (``.`` to ``,``, a first
    ``$`` to ``@``), and text for what BSON cannot hold.
    """
    if isinstance(value, Mapping):
        return {_key(str(key)): bson_ready(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [bson_ready(below) for below in value]
    try:
        bson.encode({"value": value})
    except (bson.InvalidDocument, OverflowError):
        return str(value)
    return value


def _key(key: str) -> str:
    key = key.replace(".", ",").replace("\0", "")
    return f"@{key[1:]}" if key.startswith("$") else key


def _time(text: object) -> datetime | None:
    """Sacred's times have no zone and are UTC, as MongoDB's are."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _said(path: Path) -> str:
    """What people were told, the last of it: where MongoObserver has what a run printed."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    said = []
    for line in lines:
        try:
            notice = json.loads(line)
            time = datetime.fromtimestamp(float(notice["time"]), UTC)
            said.append(f"{time:%Y-%m-%d %H:%M:%S} {notice['line']}\n")
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            continue
    return "".join(said).encode()[-MAX_OUTPUT_BYTES:].decode(errors="ignore")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
