"""A cluster in words."""

from __future__ import annotations

from cluster.commands import tables
from cluster.commands.launching import what_it_does
from cluster.provider import ClusterState


def describe(state: ClusterState, now_s: float) -> list[str]:
    """A cluster in a few lines."""
    owner = f" of {state.owner}" if state.owner else ""
    lines = [f"{state.name}: {state.state} ({state.key}{owner})"]
    if state.spec is not None:
        lines.append(what_it_does(state.spec))
    if state.ended is not None:
        note = f" ({state.ended.note})" if state.ended.note else ""
        lines.append(f"its run ended {clock_and_age(state.ended.time_s, now_s)}: "
                     f"{state.ended.why}{note}")  # fmt: skip
    lines += _progress(state, now_s)
    return lines + describe_cost(state, now_s)


def _progress(state: ClusterState, now_s: float) -> list[str]:
    progress = state.progress
    if progress is None:
        return [] if state.spec is None else ["no word from its head yet"]
    words = [f"run {progress.run_id}" if progress.run_id else "no run yet"]
    if progress.generation is not None:
        words.append(f"generation {progress.generation}")
    if progress.fitness is not None:
        words.append(f"fitness {progress.fitness:.6g}")
    if state.ended is None:
        words.append(f"{progress.num_workers} workers, {tables.age(now_s - progress.time_s)} ago")
    return [", ".join(words), *([progress.note] if progress.note else [])]


def describe_cost(state: ClusterState, now_s: float) -> list[str]:
    """What it costs, and until when."""
    lines = []
    if state.usd or state.usd_per_hour:
        lines.append(f"{state.usd:.2f} USD so far, {state.usd_per_hour:.2f} USD an hour")
    else:
        lines.append("it costs nothing")
    spec = state.spec
    if spec is None or state.state in ("ended", "killed"):
        return lines
    left_h = max(0.0, spec.ends_s - now_s) / 3600
    lines.append(f"it ends itself at the latest in {left_h:.1f} h, {tables.clock(spec.ends_s)}")
    if state.usd_per_hour:
        most = state.usd + state.usd_per_hour * left_h
        most = most if spec.budget_usd is None else min(most, max(spec.budget_usd, state.usd))
        lines.append(f"with as many machines as now it costs at most {most:.2f} USD in all")
    return lines


def clock_and_age(time_s: float, now_s: float) -> str:
    """A time, and how long ago that is."""
    return f"{tables.clock(time_s)}, {tables.age(now_s - time_s)} ago"
