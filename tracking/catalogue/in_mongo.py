"""The runs that MongoDB has, summed up as those in a folder are; whoever recorded them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pymongo.database import Database

from tracking.catalogue.summary import RunSummary, config_name, num_generations
from tracking.fetched_runs import ALIVE
from tracking.mongo.documents import OURS
from tracking.mongo.metric_points import metric_id

Document = dict[str, Any]

_FIELDS = ("config", "status", "start_time", "heartbeat", "result", "meta.named_configs", OURS)
_CURRENT, _BEST = "fitness/current", "fitness/best_overall"
_EVERY = "fitness/mean"
"""Every generation has it."""


class _Last(NamedTuple):
    """The last point of a metric: which generation's, and the value."""

    number: int
    value: float


class RunInMongo(NamedTuple):
    """See `tracking.catalogue.choice.Listed`."""

    config: Mapping[str, Any]
    status: str
    summary: RunSummary


def runs_in_mongo(database: Database[Document], now: datetime | None = None) -> list[RunInMongo]:
    """Every run that the database has, by number.

    Args:
        database: checked; see `tracking.mongo.connection`.
        now: UTC without a zone.

    Raises:
        PyMongoError: MongoDB cannot be asked.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    fields = dict.fromkeys([*_FIELDS, "omniboard.tags"], 1)
    # A number that somebody else's tool gave may be text.
    found = list(database["runs"].find({"_id": {"$type": "number"}}, fields).sort("_id"))
    uids = [uid for document in found if (uid := _uid(document))]
    latest, sizes = _latest(database, uids), _sizes(database)
    return [_run(document, latest, sizes, now) for document in found]


def _run(
    document: Document,
    latest: Mapping[str, Mapping[str, _Last]],
    sizes: Mapping[str, int],
    now: datetime,
) -> RunInMongo:
    uid, config = _uid(document), document.get("config") or {}
    result = document.get("result") or {}
    last = latest.get(uid, {})
    current = result.get("fitness_current") if isinstance(result, Mapping) else None
    if current is None and _CURRENT in last:
        current = last[_CURRENT].value
    started, status = document.get("start_time"), _status(document, now)
    summary = RunSummary(
        run_id=int(document["_id"]),
        status=status,
        uid=uid,
        started_s=started.replace(tzinfo=UTC).timestamp() if started is not None else None,
        config_name=config_name(document),
        env=str(config.get("env_name", "")),
        generations=1 + max((point.number for point in last.values()), default=-1),
        num_generations=num_generations(config),
        current=current,
        best=last[_BEST].value if _BEST in last else None,
        tags=tuple(sorted(map(str, (document.get("omniboard") or {}).get("tags") or ()))),
        size_bytes=sizes.get(uid, 0),
    )
    return RunInMongo(config, status, summary)


def _uid(document: Document) -> str:
    return str((document.get(OURS) or {}).get("uid") or "")


def _status(document: Document, now: datetime) -> str:
    said = str(document.get("status", "")).lower()
    beat = document.get("heartbeat") or document.get("start_time")
    is_silent = beat is None or now - beat > ALIVE
    return "killed" if said == "running" and is_silent else said


def _latest(database: Database[Document], uids: Iterable[str]) -> dict[str, dict[str, _Last]]:
    """The last points of a few metrics, by the run's uid and the metric's name."""
    names = (_EVERY, _CURRENT, _BEST)
    whose = {metric_id(uid, name): (uid, name) for uid in uids for name in names}
    last = {"$slice": -1}
    found = database["metrics"].find({"_id": {"$in": list(whose)}}, {"steps": last, "values": last})
    latest: dict[str, dict[str, _Last]] = {}
    for row in found:
        uid, name = whose[row["_id"]]
        if row.get("steps") and row.get("values"):
            point = _Last(int(row["steps"][0]), float(row["values"][0]))
            latest.setdefault(uid, {})[name] = point
    return latest


def _sizes(database: Database[Document]) -> dict[str, int]:
    """Bytes of all files of a run, by its uid."""
    step = {"$group": {"_id": "$metadata.run_uid", "size": {"$sum": "$length"}}}
    return {str(row["_id"]): int(row["size"]) for row in database["fs.files"].aggregate([step])}
