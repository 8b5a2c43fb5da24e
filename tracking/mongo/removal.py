"""A run removed from MongoDB: its document, its metrics, its files."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database

from tracking.mongo.documents import UID
from tracking.mongo.grid import Grid, stored_files

Document = dict[str, Any]


def remove_run(database: Database[Document], uid: str) -> bool:
    """Remove all that there is of run ``uid``; whether there was anything. Cut off in the middle,
    it goes on when it is called again.

    Raises:
        PyMongoError: MongoDB cannot be told.
    """
    runs = database["runs"]
    found = runs.find_one({UID: uid}, {"_id": 1})
    names = list(stored_files(database, uid))
    grid = Grid(database, uid, "")
    for name in names:
        grid.drop(name)
    if found is not None:
        database["metrics"].delete_many({"run_id": found["_id"]})
        # Last: nothing else says whose the metrics are.
        runs.delete_one({UID: uid})
    return found is not None or bool(names)
