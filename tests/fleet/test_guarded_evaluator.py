"""The serial pool's own child: whatever it does, each rollout gets its answer or one more try."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest
from real_fleet import (
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    own_children,
    said,
    seeds_of,
    wait_for,
)

from env.registry import needs_guard
from env.spec import EnvSpec
from errors import ConfigError, EnvUnavailable, EsError, MessageError, ResourceExhausted
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.serial_pool import SerialPool
from search.evaluator import Evaluator
from search.messages import Experiment, Generation, GuardSpec, Perturbations, RolloutRecord
from search.noise import NoiseTable, open_table
from search.protocol import PoolStatus

DEFECT = "defects:Defect-v0"
BAD_ROLLOUT = 2


class World:
    def __init__(self, folder: Path, noise: NoiseTable) -> None:
        self.folder = folder
        self.noise = noise

    def experiment(self, guard: GuardSpec | None = None, **options: Any) -> Experiment:
        return experiment_of(self.noise.spec, guard, **options)

    def guarded(self, experiment: Experiment) -> closing[GuardedEvaluator]:
        return closing(GuardedEvaluator(experiment, include=INCLUDE, noise_dir=self.folder))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("guarded")
    with open_table(1, 10_000, folder) as noise:
        yield World(folder, noise)


class Outcome(NamedTuple):
    """What came of a generation in the serial pool."""

    answers: dict[int, RolloutRecord]
    status: PoolStatus
    are_right: bool
    pids: set[int]


def outcome_of(
    world: World,
    experiment: Experiment,
    calm: Generation,
    meanwhile: Callable[[GuardedEvaluator], None] = lambda evaluator: None,
) -> Outcome:
    generation = of_run(calm, experiment)
    wanted = expected(experiment, generation, world.noise)
    pids: set[int] = set()

    def look(_answers: Any) -> None:
        assert evaluator.pid is not None
        pids.add(evaluator.pid)
        meanwhile(evaluator)

    with world.guarded(experiment) as evaluator:
        pool = SerialPool(evaluator)
        pool.open(generation)
        (answers,) = collect(pool, generation, meanwhile=look, patience_s=0.0)
    right = {r: said(record) for r, record in answers.items()} == wanted
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not any(session_of(process) in pids for process in psutil.process_iter())
    return Outcome(answers, pool.status(), right, pids)


def session_of(process: psutil.Process) -> int | None:
    """The process that began the session: a child's own children stay in its."""
    try:
        return os.getsid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, psutil.Error):
        return None


def test_rollouts_equal_those_in_process_to_the_bit(world: World) -> None:
    experiment = world.experiment()
    # More generations than the child keeps, and back and forth between them.
    generations = [generation_of(experiment.run_uid, number, pairs=2) for number in range(6)]
    every = [(g, r) for r in range(generations[0].num_rollouts) for g in generations]
    with (
        world.guarded(experiment) as guarded,
        closing(Evaluator(experiment, world.noise, INCLUDE)) as plain,
    ):
        pid = guarded.pid
        for generation, rollout in every:
            assert guarded.evaluate(generation, rollout, 1) == plain.evaluate(
                generation, rollout, 1
            )
        assert guarded.pid == pid


@pytest.mark.parametrize(
    ("defect", "lost", "reissued"),
    [
        ("vanish", 1, 1),
        ("leave", 1, 1),
        ("die_before_it_answers", 1, 1),
        ("answer_the_question_before", 1, 1),
        ("talk_nonsense", 1, 1),
        ("announce_too_much", 1, 1),
        ("leave_a_twin", 1, 1),
        ("hang_up", 1, 1),
        ("stop_reading", 0, 1),
    ],
)
def test_a_child_that_breaks_once_costs_no_result(
    world: World, tmp_path: Path, defect: str, lost: int, reissued: int
) -> None:
    outcome = outcome_with_defect(world, tmp_path, defect)
    assert outcome.are_right
    assert (outcome.status.lost, outcome.status.reissued) == (lost, reissued)
    assert len(outcome.pids) == 2


@pytest.mark.parametrize("defect", ["die_when_it_has_answered", "answer_twice"])
def test_a_child_that_breaks_after_its_answer_costs_the_next_rollout_at_most_one_more_try(
    world: World, tmp_path: Path, defect: str
) -> None:
    outcome = outcome_with_defect(world, tmp_path, defect)
    assert outcome.are_right
    # None where that was seen before the next one was asked for.
    assert outcome.status.lost == outcome.status.reissued <= 1
    assert len(outcome.pids) == 2


def outcome_with_defect(world: World, tmp_path: Path, defect: str) -> Outcome:
    """Of a generation in one of whose rollouts the child breaks, once."""
    calm = generation_of(pairs=2, episodes=1, validation=1)
    experiment = world.experiment(
        GuardSpec(rollout_timeout_s=1.0),
        env=DEFECT,
        kind=defect,
        seeds=seeds_of(calm, [BAD_ROLLOUT]),
        folder=str(tmp_path),
        times=1,
    )
    return outcome_of(world, experiment, calm)


@pytest.mark.parametrize(
    ("defect", "reason"),
    [("leave", "left with exit code 3"), ("talk_nonsense", "no proper answer: a frame of unknown")],
)
def test_a_child_that_breaks_every_time_is_final_after_eight(
    world: World, defect: str, reason: str
) -> None:
    calm = generation_of(pairs=1, episodes=1, validation=1)
    seeds = seeds_of(calm, [calm.num_training])
    outcome = outcome_of(world, world.experiment(env=DEFECT, kind=defect, seeds=seeds), calm)
    answer = outcome.answers[calm.num_training]
    assert (answer.status, answer.host_failure) == ("failed", True)
    assert answer.error.startswith("lost 8 times")
    assert reason in answer.error
    assert outcome.status.lost == 8


def test_a_child_killed_from_outside_costs_no_result(world: World, tmp_path: Path) -> None:
    calm = generation_of(pairs=2)
    experiment = world.experiment(kind="wait", seeds=seeds_of(calm, [3]), folder=str(tmp_path))

    def kill_the_waiting() -> None:
        def waiting() -> list[Path]:
            return list(tmp_path.glob("waiting-*"))

        (path,) = wait_for(waiting, "a rollout to wait")
        (tmp_path / "go").touch()
        os.kill(int(path.name.removeprefix("waiting-")), signal.SIGKILL)

    killer = threading.Thread(target=kill_the_waiting)
    killer.start()
    outcome = outcome_of(world, experiment, calm)
    killer.join()
    assert outcome.are_right
    assert (outcome.status.lost, outcome.status.reissued) == (1, 1)
    assert all(record.attempt == 0 for record in outcome.answers.values())


def test_a_child_killed_while_idle_is_replaced_without_a_word(world: World) -> None:
    calm = generation_of(pairs=2)

    def kill(evaluator: GuardedEvaluator) -> None:
        if evaluator.pid is not None:
            os.kill(evaluator.pid, signal.SIGKILL)
            wait_for(lambda: psutil.Process(evaluator.pid).status() == "zombie", "its death")

    outcome = outcome_of(world, world.experiment(), calm, kill)
    assert outcome.are_right
    assert (outcome.status.lost, outcome.status.reissued) == (0, 0)
    assert len(outcome.pids) == calm.num_rollouts


def test_a_worn_child_is_replaced_and_results_stay_the_same(world: World) -> None:
    calm = generation_of(pairs=2)
    guard = GuardSpec(max_rollouts_per_process=3)
    outcome = outcome_of(world, world.experiment(guard), calm)
    assert outcome.are_right
    assert (outcome.status.lost, outcome.status.reissued) == (0, 0)
    assert len(outcome.pids) == -(-calm.num_rollouts // 3)


def test_an_environment_that_leaks_50_mb_an_episode_stays_within_its_bound(world: World) -> None:
    calm = generation_of(pairs=4)
    peak_mb: dict[int | None, float] = {}

    def look(evaluator: GuardedEvaluator) -> None:
        rss_mb = psutil.Process(evaluator.pid).memory_info().rss / 2**20
        peak_mb[evaluator.pid] = max(rss_mb, peak_mb.get(evaluator.pid, 0.0))

    outcome = outcome_of(world, world.experiment(GuardSpec(max_rss_mb=120), leak_mb=50), calm, look)
    assert outcome.are_right
    assert outcome.status.lost == 0
    # Four episodes bring a child from about 100 MB past its bound; all of them would leak 950.
    assert len(outcome.pids) == -(-calm.num_rollouts // 4)
    assert max(peak_mb.values()) < 400


@pytest.mark.parametrize(
    ("env", "options", "kind", "line"),
    [
        ("OpenSimWalk2D-v0", {"pose": {"pelvis_high": 0.9}}, ConfigError, "no coordinate"),
        ("OpenSimWalk2D-v0", {"model": "broken.osim"}, ConfigError, "no file broken.osim"),
        ("trouble:Absent-v0", {}, EnvUnavailable, "registers no environment"),
        ("defects:Stillborn-v0", {"end": "fail"}, ConfigError, "the knee is inside out"),
        ("defects:Stillborn-v0", {"end": "segfault"}, ConfigError, "ended by SIGSEGV"),
        ("defects:Stillborn-v0", {"end": "leave"}, ConfigError, "left with exit code 3"),
        ("defects:Stillborn-v0", {"end": "vanish"}, ResourceExhausted, "ended by SIGKILL, 3 times"),
    ],
)
def test_an_environment_that_cannot_be_built_is_one_line_and_no_endless_restart(
    world: World, tmp_path: Path, env: str, options: dict[str, Any], kind: type[EsError], line: str
) -> None:
    if "end" in options:
        options = {**options, "folder": str(tmp_path)}
    with pytest.raises(kind, match=line) as raised:
        GuardedEvaluator(
            world.experiment(env=env, **options), include=INCLUDE, noise_dir=world.folder
        )
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)
    assert len(list(tmp_path.iterdir())) <= 3
    assert not own_children()


def test_an_environment_that_can_no_longer_be_built_ends_the_run_in_one_line(
    world: World, tmp_path: Path
) -> None:
    experiment = world.experiment(
        GuardSpec(max_rollouts_per_process=2),
        env="defects:Stillborn-v0",
        end="fail",
        folder=str(tmp_path),
        births=1,
    )
    generation = generation_of(experiment.run_uid)
    with world.guarded(experiment) as evaluator:
        assert [evaluator.evaluate(generation, r, 0).status for r in range(2)] == ["ok", "ok"]
        with pytest.raises(ConfigError, match="the knee is inside out"):
            evaluator.evaluate(generation, 2, 0)
    assert not own_children()


def test_vectors_that_do_not_fit_are_refused_as_in_process(world: World) -> None:
    experiment = world.experiment()
    generation = generation_of(experiment.run_uid)
    candidates = Perturbations(b"\0" * 40, b"\0" * 4, b"\0" * 8)
    wrong = msgspec.structs.replace(generation, candidates=candidates)
    lines = []
    with (
        world.guarded(experiment) as guarded,
        closing(Evaluator(experiment, world.noise, INCLUDE)) as plain,
    ):
        for evaluator in (guarded, plain):
            with pytest.raises(MessageError) as raised:
                evaluator.evaluate(wrong, 0, 0)
            lines.append(str(raised.value))
        assert guarded.evaluate(generation, 0, 0).status == "ok"
    assert lines[0] == lines[1]


def test_a_hanging_rollout_that_is_interrupted_leaves_nothing(world: World) -> None:
    calm = generation_of()
    experiment = world.experiment(kind="hang", seeds=seeds_of(calm, [0]))
    pid = os.getpid()
    interrupt = threading.Timer(1.0, lambda: os.kill(pid, signal.SIGINT))
    with world.guarded(experiment) as evaluator:
        interrupt.start()  # its child is there by now, however long that took
        with pytest.raises(KeyboardInterrupt):
            evaluator.evaluate(of_run(calm, experiment), 0, 0)
        asked_s = time.monotonic()
        evaluator.close()
        evaluator.close()
        assert time.monotonic() - asked_s < 1
    assert not own_children()


def test_environments_that_may_do_harm_are_the_ones_that_are_guarded() -> None:
    guarded = ["OpenSimWalk2D-v0", "OpenSimWalk2D", "trouble:Trouble-v0"]
    plain = ["Sphere-v0", "sphere", "CartPole-v1", "PartiallyObservableCartPole-v0"]
    assert [name for name in guarded + plain if needs_guard(EnvSpec(name))] == guarded
