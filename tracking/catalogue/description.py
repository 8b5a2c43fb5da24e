"""Everything about one run, in words."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracking import checkpoints
from tracking.catalogue.summary import ListedRun, size_of
from tracking.catalogue.tables import clock
from tracking.cost import read_cost
from tracking.figures import counted, duration_text, number_text, size_text

_MOST_KEPT = 12
_MOST_NOTICES = 5

Facts = list[tuple[str, str]]


def describe(run: ListedRun, defaults: Mapping[str, Any]) -> Facts:
    """Facts about ``run``, by name, those left out that there are not.

    Args:
        run: any, a damaged one too.
        defaults: what settings are where nobody gave them.
    """
    summary = run.summary
    cost = read_cost(run.directory)
    facts = [
        ("run", f"{summary.run_id}, {_status(run)}"),
        ("tags", ", ".join(summary.tags)),
        ("what", " on ".join(filter(None, (summary.config_name, summary.env)))),
        ("began", _began(run)),
        ("fitness", _fitness(run)),
        ("work", _work(run)),
        ("cost", "" if cost is None else f"{cost.usd:.2f} USD"),
        ("code", _code(run.entry)),
        ("kept", _kept(run.directory / checkpoints.FOLDER)),
        ("folder", f"{run.directory}, {_sizes(run)}"),
        ("uid", summary.uid),
        ("settings", _settings(run.config, defaults)),
        ("notices", _notices(run.directory / "notices.jsonl")),
        ("next", _next(run)),
    ]
    return [(name, value) for name, value in facts if value]


def _status(run: ListedRun) -> str:
    result = run.entry.get("result")
    ended = result.get("ended") if isinstance(result, dict) else None
    meanings = {
        "killed": "its head went without a word",
        "damaged": "its config.json or run.json cannot be read",
    }
    why = meanings.get(run.status) or ended or _error(run.entry)
    return f"{run.status}: {why}" if why else run.status


def _error(entry: Mapping[str, Any]) -> str:
    trace = entry.get("fail_trace")
    lines = [str(line).strip() for line in trace] if isinstance(trace, list) else []
    return next((line.splitlines()[-1] for line in reversed(lines) if line), "")


def _began(run: ListedRun) -> str:
    summary = run.summary
    if summary.started_s is None:
        return ""
    words = [f"{clock(summary.started_s)} UTC"]
    latest = run.latest
    if latest is not None and "time/elapsed_s" in latest.metrics:
        words.append(f"at work for {duration_text(latest.metrics['time/elapsed_s'])}")
    host = run.entry.get("host")
    if isinstance(host, dict) and host.get("hostname"):
        words.append(f"on {host['hostname']}")
    resumed = run.entry.get("resumed")
    if isinstance(resumed, list) and resumed:
        words.append(f"resumed {len(resumed)} times" if len(resumed) > 1 else "resumed once")
    return ", ".join(words)


def _fitness(run: ListedRun) -> str:
    summary, result = run.summary, run.entry.get("result")
    if summary.current is None and summary.best is None:
        return ""
    episodes = result.get("fitness_current_episodes") if isinstance(result, dict) else None
    over = f" over {counted(episodes, 'episode')}" if isinstance(episodes, int) and episodes else ""
    return f"{number_text(summary.current)}{over}; best candidate {number_text(summary.best)}"


def _work(run: ListedRun) -> str:
    summary = run.summary
    if run.latest is None:
        return "no generation yet"
    metrics = run.latest.metrics
    of = "" if summary.num_generations is None else f" of {summary.num_generations}"
    words = [f"{summary.generations}{of} generations"]
    for name, what in (
        ("work/rollouts_total", "rollouts"),
        ("work/env_steps_total", "steps"),
        ("failures/failed_total", "failed"),
        ("work/reissued_total", "reissued"),
    ):
        if name in metrics:
            words.append(f"{metrics[name]:.0f} {what}")
    return ", ".join(words)


def _code(entry: Mapping[str, Any]) -> str:
    try:
        repository = entry["experiment"]["repositories"][0]
        commit = str(repository["commit"])[:10]
    except (KeyError, IndexError, TypeError):
        return ""
    return f"{commit}, and changes that were not committed" if repository.get("dirty") else commit


def _kept(folder: Path) -> str:
    numbers = checkpoints.numbers(folder)
    if not numbers:
        return "no parameters"
    best = checkpoints.read_best(folder)
    shown = [str(number) for number in numbers]
    if len(shown) > _MOST_KEPT:
        shown = [*shown[: _MOST_KEPT // 2], "...", *shown[-_MOST_KEPT // 2 :]]
    is_there = best is not None and best.number in numbers
    note = f"; best {best.number}" if best is not None and is_there else ""
    return f"parameters of generations {', '.join(shown)}{note}"


def _sizes(run: ListedRun) -> str:
    parts = []
    for name in ("journal", "checkpoints", "tensorboard"):
        size = size_of(run.directory / name)
        if size:
            parts.append(f"{name} {size_text(size)}")
    inner = f" ({', '.join(parts)})" if parts else ""
    return f"{size_text(run.summary.size_bytes)}{inner}"


def _settings(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Those that are not what they are anyway, a line each."""
    return "\n".join(
        f"{name}={_plainly(value)}"
        for name, value in sorted(config.items())
        if name not in defaults or defaults[name] != value
    )


def _plainly(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _notices(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    told = []
    for line in lines[-_MOST_NOTICES:]:
        try:
            notice = json.loads(line)
            stamp = time.strftime("%H:%M:%S", time.gmtime(float(notice["time"])))
            told.append(f"{stamp} {notice['line']}")
        except (ValueError, KeyError, TypeError):
            continue
    return "\n".join(told)


def _next(run: ListedRun) -> str:
    number, runs_dir = run.directory.name, run.directory.parent
    is_usual = runs_dir == Path("runs")
    if run.status in ("interrupted", "killed", "failed"):
        elsewhere = "" if is_usual else f" runs_dir={shlex.quote(str(runs_dir))}"
        return f"go on: python {_script(run.entry)} with resume={number}{elsewhere}"
    if run.status in ("running", "completed"):
        elsewhere = "" if is_usual else f" --runs_dir={shlex.quote(str(runs_dir))}"
        return f"watch it: python env/render.py {number}{elsewhere}"
    return ""


def _script(entry: Mapping[str, Any]) -> str:
    experiment = entry.get("experiment")
    name = experiment.get("name") if isinstance(experiment, dict) else "es"
    return "nevergrad_es/experiment.py" if name == "nevergrad_es" else "es/experiment.py"
