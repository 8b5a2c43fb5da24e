"""Emptying a Redis of what is ours."""

from __future__ import annotations

from fleet import keys
from fleet.connection import Client


def flush_everything(client: Client) -> int:
    """Delete every key of ours; how many there were."""
    count = 0
    for key in client.scan_iter(keys.EVERYTHING, count=1000):
        count += int(client.delete(key))
    return count
