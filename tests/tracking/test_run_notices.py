"""Those who are away are told, by a real server on loopback; a run is never hurt by it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from http_listener import Answer, Listener, drop, status

from errors import RunAborted
from tracking.cost import Cost
from tracking.interruption import Interrupted
from tracking.run_notices import Limits, RunNotices
from tracking.store import open_run
from tracking.webhook import parse_webhook, post

ROOT = Path(__file__).resolve().parents[2]
METRICS = {"fitness/current": 1.5, "time/elapsed_s": 61.0, "work/env_steps_total": 900.0}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's proxy would be asked for loopback."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


def notices(url: str | None, told: list[str], **options: Any) -> RunNotices:
    limits = options.pop("limits", Limits())
    options.setdefault("deliver", partial(post, timeout_s=1.0, pauses_s=(0.0,)))
    return RunNotices(
        parse_webhook(url, "notify") if url is not None else None,
        limits,
        run=12,
        uid="f" * 32,
        env="Sphere-v0",
        host="ada",
        tell=told.append,
        **options,
    )


def test_reaching_target_and_limits_is_told_once_each() -> None:
    told: list[str] = []
    limits = Limits(target_fitness=1.0, max_wall_s=61.0, max_env_steps=901)
    with Listener() as listener:
        with notices(listener.url(), told, limits=limits) as recorder:
            recorder.generation(0, METRICS | {"fitness/current": 0.9, "time/elapsed_s": 60.9})
            recorder.generation(1, METRICS)
            recorder.generation(2, METRICS | {"work/env_steps_total": 1000.0})
            recorder.completed({"ended": "901 simulator steps used", "fitness_current": 1.25})
        heard = sorted((body["event"], body["text"]) for _, body in listener.heard)
    head = "Sphere-v0, run 12 on ada: "
    assert heard == [
        (
            "budget_reached",
            f"{head}max_env_steps=901 reached, 3 generations, fitness 1.5, 0:01:01",
        ),
        ("budget_reached", f"{head}max_wall_s=61 reached, 2 generations, fitness 1.5, 0:01:01"),
        (
            "completed",
            f"{head}completed: 901 simulator steps used, 3 generations, fitness 1.2, 0:01:01",
        ),
        (
            "target_reached",
            f"{head}target fitness 1 reached, 2 generations, fitness 1.5, 0:01:01",
        ),
    ]
    assert told == []


def test_a_notice_says_which_run_and_how_it_stands() -> None:
    with Listener() as listener:
        cost = Cost(time_s=0.0, usd=1.5, usd_per_hour=3.0)
        with notices(listener.url(), [], cost=lambda: cost) as recorder:
            recorder.generation(4, METRICS)
            recorder.completed({"ended": "all generations told", "fitness_current": None})
        path, body = listener.heard[0]
    stamp = body.pop("time")
    assert time.strptime(stamp, "%Y-%m-%dT%H:%M:%S+00:00")
    assert path == "/services/T0KEN"
    assert body == {
        "event": "completed",
        "text": "Sphere-v0, run 12 on ada: completed: all generations told, 5 generations, "
        "fitness 1.5, 0:01:01, 1.50 USD",
        "run": 12,
        "uid": "f" * 32,
        "env": "Sphere-v0",
        "host": "ada",
        "generations": 5,
        "fitness": 1.5,
        "elapsed_s": 61.0,
        "env_steps": 900,
        "usd": 1.5,
    }


@pytest.mark.parametrize(
    ("error", "cost", "event", "words"),
    [
        (RunAborted("all of it\nfailed"), None, "failed", "failed: all of it failed"),
        (ZeroDivisionError("division by zero"), None, "failed", "ZeroDivisionError: division"),
        (Interrupted(signal.SIGTERM), None, "stopped", "stopped by SIGTERM"),
        (KeyboardInterrupt(), None, "stopped", ": stopped, "),
        (
            Interrupted(signal.SIGTERM),
            Cost(time_s=0.0, usd=5.01, usd_per_hour=1.0, budget_usd=5.0),
            "budget_reached",
            "budget of 5 USD reached, stopped",
        ),
    ],
)
def test_how_a_run_ends_otherwise_is_told_too(
    error: BaseException, cost: Cost | None, event: str, words: str
) -> None:
    with Listener() as listener:
        with (
            pytest.raises(type(error)),
            notices(listener.url(), [], cost=lambda: cost),
        ):
            raise error
        _, body = listener.heard[0]
    assert body["event"] == event
    assert words in body["text"]
    assert ("error" in body) == (event == "failed")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "it answered 404"),
        (status(500), "it answered 500"),
        (status(302, Location="/elsewhere"), "it answered 302, with another address"),
        (drop, "RemoteDisconnected"),
    ],
)
def test_an_address_that_fails_is_one_line_however_often(answer: Answer, reason: str) -> None:
    told: list[str] = []
    with Listener(answer) as listener:
        limits = Limits(target_fitness=1.0, max_wall_s=1.0)
        with notices(listener.url(), told, limits=limits) as recorder:
            recorder.generation(0, METRICS)
            listener.wait_for(2)
            for _ in range(100):
                recorder.progress(1, 0, 1, None)
            recorder.completed({"ended": "1 s used"})
    assert len(told) == 1
    assert reason in told[0]
    assert told[0].startswith("notify: http://127.0.0.1:")
    assert "T0KEN" not in told[0]


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_an_address_that_never_answers_holds_a_run_up_no_longer_than_agreed(way: str) -> None:
    told: list[str] = []
    with Listener() as listener:
        listener.say(getattr(listener, way))
        started_s = time.monotonic()
        with notices(listener.url(), told, patience_s=0.5, deliver=post) as recorder:
            recorder.generation(0, METRICS)
            recorder.completed({"ended": "all generations told"})
        took_s = time.monotonic() - started_s
    assert took_s < 4.0
    assert len(told) == 1
    assert "could not be told within 0.5 s" in told[0]


def test_without_an_address_nobody_is_told_and_nothing_is_started() -> None:
    told: list[str] = []
    with notices(None, told, limits=Limits(target_fitness=1.0)) as recorder:
        recorder.generation(0, METRICS)
        recorder.completed({"ended": "target"})
        assert recorder._posting == []
    assert told == []


def train(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "es/experiment.py", "with", *words, "pool=serial"),
            *(f"runs_dir={tmp_path / 'runs'}", f"noise_dir={tmp_path}"),
        ],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=190,
    )


def kept_in(directory: Path) -> str:
    return "".join(
        path.read_bytes().decode("latin-1") for path in directory.rglob("*") if path.is_file()
    )


@pytest.mark.timeout(400)
def test_a_real_run_tells_what_it_can_keeps_no_secret_and_when_resumed_asks_again(
    tmp_path: Path,
) -> None:
    with Listener(status(204), status(404)) as listener:
        done = train(tmp_path, "sphere", "target_fitness=-0.5", f"notify={listener.url()}")
        assert done.returncode == 0, done.stderr
        bodies = listener.wait_for(2)
        assert sorted(body["event"] for body in bodies) == ["completed", "target_reached"]
        assert done.stdout.count("could not be told of ") == 1
        assert " (it answered 404)\n" in done.stdout
        run = open_run(1, tmp_path / "runs")
        assert run.result is not None
        assert {body["uid"] for body in bodies} == {run.result["run_uid"]}
        assert run.config["notify"] == listener.url("/...")
        assert "T0KEN" not in kept_in(run.path)
        assert "T0KEN" not in done.stdout + done.stderr
        again = train(tmp_path, "resume=1", "num_generations=9", "target_fitness=-0.01")
        assert again.returncode == 0, again.stderr
        assert "its address is not kept with the run; give it again" in again.stdout
        assert len(listener.heard) == 2


@pytest.mark.timeout(400)
def test_an_address_that_is_none_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    done = train(tmp_path, "sphere", "notify=hooks.example.com/T0KEN")
    assert done.returncode == 2
    assert done.stderr.startswith("error: notify is no address to post to")
    assert not (tmp_path / "runs").exists()
