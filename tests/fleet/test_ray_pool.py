"""Ray actors that evaluate: what dies, hangs or does not fit costs no result."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from real_fleet import (
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    rollouts_with,
    said,
    seeds_of,
    wait_for,
)

from errors import ConfigError, MessageError
from fleet.evaluation.channel import Kind
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.serial_pool import SerialPool
from policy.spec import PolicySpec
from search.evaluator import Evaluator
from search.messages import Experiment, Generation, GuardSpec, Perturbations, RolloutRecord
from search.noise import NoiseTable, open_table
from search.protocol import Pool

BAD_ROLLOUT = 3


class World:
    """A noise table, a Ray of two processors, and what a pool on it has said."""

    def __init__(self, folder: Path, noise: NoiseTable) -> None:
        self.folder = folder
        self.noise = noise
        self.notices: list[str] = []

    def experiment(self, guard: GuardSpec | None = None, **options: Any) -> Experiment:
        return experiment_of(self.noise.spec, guard, **options)

    @contextmanager
    def pool(self, experiment: Experiment, **options: Any) -> Iterator[Pool]:
        from fleet.actors.ray_pool import RayPool  # imports Ray, which takes a while

        options = {"workers": 2, "include": INCLUDE, "noise_dir": self.folder, **options}
        self.notices.clear()
        pool = RayPool(experiment, notice=self.notices.append, **options)
        try:
            yield pool
        finally:
            pool.shutdown()

    def expected(self, experiment: Experiment, generation: Generation) -> dict[int, Any]:
        return expected(experiment, generation, self.noise)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ray")
    with open_table(1, 10_000, folder) as noise:
        yield World(folder, noise)


def actor_of(child: int) -> psutil.Process:
    """The actor whose guarded process this is."""
    actor = psutil.Process(child).parent()
    assert actor is not None
    assert "ray" in actor.cmdline()[0]
    return actor


def told(answers: dict[int, RolloutRecord]) -> dict[int, Any]:
    return {rollout: said(record) for rollout, record in answers.items()}


def at_the_accident(
    folder: Path, act: Callable[[int], None]
) -> Callable[[dict[int, RolloutRecord]], None]:
    """Called again and again, does ``act`` once: to a process that waits in the accident ``wait``.

    Both signs of a pair meet the accident, so two may be waiting.
    """
    done: list[int] = []

    def look(_answers: dict[int, RolloutRecord]) -> None:
        waiting = sorted(folder.glob("waiting-*"))
        if waiting and not done:
            done.append(int(waiting[0].name.removeprefix("waiting-")))
            act(done[0])

    return look


@pytest.mark.parametrize("victim", ["actor", "child"])
def test_what_is_killed_while_its_rollout_runs_is_seen_in_the_counts_and_changes_nothing(
    world: World, tmp_path: Path, victim: str
) -> None:
    calm = generation_of(pairs=3)
    seeds = seeds_of(calm, [BAD_ROLLOUT])
    experiment = world.experiment(kind="wait", seeds=seeds, folder=str(tmp_path))
    generation = of_run(calm, experiment)

    def kill(child: int) -> None:
        pid = actor_of(child).pid if victim == "actor" else child
        (tmp_path / "go").touch()
        os.kill(pid, signal.SIGKILL)

    with world.pool(experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation, meanwhile=at_the_accident(tmp_path, kill))
        status = pool.status()
        assert status.lost >= 1
        assert status.reissued >= 1
        wait_for(lambda: not pool.results(0.05) and pool.status().num_workers == 2, "its successor")
    assert told(answers) == world.expected(experiment, generation)
    assert all(record.attempt == 0 for record in answers.values())


def test_what_an_environment_has_started_ends_with_its_actor(world: World, tmp_path: Path) -> None:
    experiment = experiment_of(world.noise.spec, env="nursery:Nursery-v0", folder=str(tmp_path))
    with world.pool(experiment, workers=1) as pool:
        pool.open(generation_of(experiment.run_uid))

        def starters() -> list[Path]:
            pool.results(0.01)
            return list(tmp_path.glob("started-by-*"))

        (file,) = wait_for(starters, "a process of the environment's own")
        starter = psutil.Process(int(file.name.rpartition("-")[2]))
        family = [starter, *starter.children(recursive=True)]
        assert int(file.read_text()) in {process.pid for process in family}
        actor_of(starter.pid).kill()
        _, alive = psutil.wait_procs(family, timeout=30.0)
        assert not alive


@pytest.mark.parametrize("kind", ["fail", "segfault", "hang"])
def test_a_rollout_that_goes_wrong_gets_the_answer_of_the_guarded_serial_pool(
    world: World, kind: str
) -> None:
    calm = generation_of(pairs=2, validation=1)
    seeds = seeds_of(calm, [1])
    # Two rollouts share the seed, and each hangs twice.
    guard = GuardSpec(rollout_timeout_s=0.5) if kind == "hang" else None
    experiment = world.experiment(guard, kind=kind, seeds=seeds)
    generation = of_run(calm, experiment)
    with world.pool(experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation)
    with closing(
        GuardedEvaluator(experiment, include=INCLUDE, noise_dir=world.folder)
    ) as evaluator:
        serial = SerialPool(evaluator)
        serial.open(generation)
        (wanted,) = collect(serial, generation)

    def shown(records: dict[int, RolloutRecord]) -> dict[int, Any]:
        return {r: (*said(x), x.attempt, x.error, x.host_failure) for r, x in records.items()}

    assert shown(answers) == shown(wanted)
    assert {r for r, x in answers.items() if x.status == "failed"} == rollouts_with(calm, seeds)


def test_an_actor_that_keeps_still_is_ended_and_what_it_had_runs_elsewhere(
    world: World, tmp_path: Path
) -> None:
    calm = generation_of(pairs=3)
    seeds = seeds_of(calm, [BAD_ROLLOUT])
    experiment = world.experiment(kind="wait", seeds=seeds, folder=str(tmp_path))
    generation = of_run(calm, experiment)
    stopped: list[psutil.Process] = []

    def stop(child: int) -> None:
        stopped.append(actor_of(child))
        stopped[0].suspend()
        (tmp_path / "go").touch()

    with world.pool(experiment, silence_s=4.0) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation, meanwhile=at_the_accident(tmp_path, stop))
        wait_for(lambda: not pool.results(0.05) and not stopped[0].is_running(), "its end")
        assert pool.status().lost >= 1
    assert any("silent for 4 s" in line for line in world.notices)
    assert told(answers) == world.expected(experiment, generation)


def test_what_waits_behind_a_slow_rollout_is_tried_by_others_meanwhile(
    world: World, tmp_path: Path
) -> None:
    calm = msgspec.structs.replace(generation_of(pairs=20), max_ep_length=3)
    seeds = seeds_of(calm, [60])  # by then rollouts are known to be short, and wait in twos
    slow = rollouts_with(calm, seeds)
    experiment = world.experiment(kind="wait", seeds=seeds, folder=str(tmp_path), times=1)
    generation = of_run(calm, experiment)
    with world.pool(experiment) as pool:
        pool.open(generation)
        (answers,) = collect(pool, generation)  # while the first to come to it still waits
        assert not (tmp_path / "go").exists()
        (tmp_path / "go").touch()
    assert slow <= set(answers)
    assert told(answers) == world.expected(experiment, generation)


def test_a_generation_closed_early_does_not_keep_its_actors_from_the_next(
    world: World, tmp_path: Path
) -> None:
    first, second = (generation_of(number=number, pairs=2) for number in (0, 1))
    experiment = world.experiment(
        kind="wait", seeds=seeds_of(first, range(8)), folder=str(tmp_path), times=2
    )
    with world.pool(experiment) as pool:
        pool.open(of_run(first, experiment))
        wait_for(
            lambda: not pool.results(0.05) and len(list(tmp_path.glob("waiting-*"))) == 2, "both"
        )
        pool.close(0)
        generation = of_run(second, experiment)
        pool.open(generation)
        (answers,) = collect(pool, generation)
        assert pool.status().lost == 0
    assert told(answers) == world.expected(experiment, generation)


def test_an_environment_that_cannot_be_built_ends_the_run_with_its_one_line(world: World) -> None:
    experiment = world.experiment(no_such_option=1)
    with world.pool(experiment) as pool:
        pool.open(generation_of(experiment.run_uid))
        with pytest.raises(ConfigError, match="no_such_option") as caught:
            wait_for(lambda: pool.results(0.1), "never")
    assert "\n" not in str(caught.value)


def test_actors_with_other_code_are_left_aside_and_why_is_said(world: World) -> None:
    experiment = msgspec.structs.replace(world.experiment(), code_version="0" * 16)
    with world.pool(experiment) as pool:
        pool.open(generation_of(experiment.run_uid))
        wait_for(
            lambda: not pool.results(0.1) and "the head runs code 0000" in pool.status().note,
            "the reason",
        )
        assert pool.status().num_workers == 0
    assert any("left aside: the head runs code 0000" in line for line in world.notices)


def test_a_number_of_actors_of_which_none_could_work_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="workers=0"), world.pool(world.experiment(), workers=0):
        pass


def test_answers_that_are_none_of_ours_are_refused(world: World) -> None:
    from fleet.actors.wire import packed, place_of, unpacked

    for answer in (b"", b"\x05", "text", None, [1], b"\xff\x00", b"\x05" * (5 * 2**20)):
        with pytest.raises(MessageError):
            unpacked(answer)
    for data in (b"", b"\x00", msgspec.msgpack.encode({"host": "h" * 1000, "node": "", "pid": 1})):
        with pytest.raises(MessageError):
            place_of(unpacked(packed(Kind.READY, data)).frame)


def test_an_actor_that_runs_a_harmless_environment_itself_is_replaced_when_it_has_done_enough(
    world: World,
) -> None:
    guard = GuardSpec(max_rollouts_per_process=6)
    experiment = msgspec.structs.replace(
        experiment_of(world.noise.spec, guard, env="CartPole-v1"), policy=PolicySpec("linear", ())
    )
    generation = msgspec.structs.replace(
        generation_of(experiment.run_uid),
        candidates=Perturbations.of(np.zeros(10, np.float32), 0.5, np.arange(4) * 11),
        statistics=None,
        observed_fraction=0.0,
    )
    workers: set[str] = set()
    answers: dict[int, RolloutRecord] = {}

    def is_done() -> bool:
        for batch in pool.results(0.1):
            workers.add(batch.worker)
            answers.update({record.rollout: record for record in batch.records})
        return len(answers) == generation.num_rollouts

    with world.pool(experiment, workers=1) as pool:
        pool.open(generation)
        wait_for(is_done, "all answers")
        assert pool.status().lost == 0
    assert len(workers) == 4  # 19 rollouts, six for each
    with closing(Evaluator(experiment, world.noise)) as evaluator:
        wanted = {r: said(evaluator.evaluate(generation, r, 0)) for r in answers}
    assert told(answers) == wanted


def test_theta_travels_by_reference_and_any_number_of_generations_may_be_open(world: World) -> None:
    experiment = world.experiment()
    generations = [generation_of(experiment.run_uid, number, pairs=1) for number in range(12)]
    with world.pool(experiment, workers="auto") as pool:
        for generation in generations:
            pool.open(generation)
        found = collect(pool, *generations)
    for generation, answers in zip(generations, found, strict=True):
        assert told(answers) == world.expected(experiment, generation)
