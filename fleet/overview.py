"""What is on a Redis, in lines for people."""

from __future__ import annotations

from typing import Any

from errors import MessageError
from fleet import heartbeat, keys
from fleet.connection import Client
from fleet.open_numbers import parse_numbers
from search.messages import Experiment, decode, is_run_uid

_SILENT_S = 5.0


def flush_everything(client: Client) -> int:
    """Delete every key of ours; how many there were."""
    count = 0
    for key in client.scan_iter(keys.EVERYTHING, count=1000):
        count += int(client.delete(key))
    return count


def describe(client: Client) -> list[str]:
    """Runs, then machines, then a sentence where nothing can move."""
    machines = heartbeat.fresh(client)
    runs = _runs(client)
    lines = [line for run in runs for line in run]
    num_workers = sum(machine.num_workers for machine in machines)
    for machine in machines:
        trouble = f", last error: {machine.troubles[0]}" if machine.troubles else ""
        rollouts = sum(worker.rollouts for worker in machine.workers)
        deaths = sum(worker.deaths for worker in machine.workers)
        rss_mb = sum(worker.rss_mb for worker in machine.workers)
        lines.append(
            f"machine {machine.machine}: {machine.num_workers} workers, {rollouts} "
            f"rollouts, {deaths} deaths, {rss_mb:.0f} MB{trouble}"
        )
    if not runs:
        lines.append("no run: start one with `python es/experiment.py with lander`")
    if not num_workers:
        lines.append("no workers: start some with `python es/worker.py start-workers`")
    return lines


def _runs(client: Client) -> list[list[str]]:
    now_s = heartbeat.redis_time_s(client)
    found: Any = client.zrange(keys.RUNS, 0, -1, withscores=True)
    described = []
    for name, beat_s in found:
        uid = name.decode(errors="replace")
        if is_run_uid(uid):
            described.append(_run(client, uid, now_s - beat_s))
    return described


def _run(client: Client, uid: str, silence_s: float) -> list[str]:
    data: Any = client.get(keys.experiment(uid))
    title = f"run {uid[:8]}"
    if data is not None:
        try:
            experiment = decode(data, Experiment)
            title = f"run {experiment.run_id} ({uid[:8]}) {experiment.env.name}"
        except MessageError as error:
            title += f" ({error})"
    head = "head at work" if silence_s < _SILENT_S else f"head not heard of for {silence_s:.0f} s"
    lines = [f"{title}: {head}"]
    for number in parse_numbers(client.get(keys.open_generations(uid))):
        queued: Any = client.llen(keys.tasks(uid, number))
        again: Any = client.llen(keys.reissues(uid, number))
        lines.append(f"  generation {number}: {queued} tasks wait, and {again} handed out again")
    return lines
