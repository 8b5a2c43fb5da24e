"""A run's place in a store: resumable to the bit whenever an upload is cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.machine.run_files import (
    HEAVY_BYTES,
    RunUploader,
    download_run,
    resumable_runs,
    stored_runs,
)
from cluster.store import Entry, FolderStore
from errors import MessageError, ServiceUnavailable
from es.openai_es import OpenAIES
from search.candidates import write_candidate
from search.journal import Journal
from search.loop import Loop
from search.messages import (
    MESSAGE_VERSION,
    Generation,
    RecordBatch,
    RolloutRecord,
    SeedRule,
    digest,
    encode,
)
from search.noise import DEFAULT_LENGTH, DEFAULT_SEED, NoiseTable, open_table
from search.protocol import PoolStatus
from search.run_state import RunState
from search.settings import LoopSettings
from training.session import theta_sha256

SETTINGS = LoopSettings(
    run_uid="ab" * 16,
    seeds=SeedRule(7),
    num_generations=4,
    num_validation=1,
    num_final=1,
    overlap=1,
    snapshot_every_s=0.0,
)
PIECE_BYTES = 700


@pytest.fixture(scope="module")
def noise() -> Iterator[NoiseTable]:
    with open_table(DEFAULT_SEED, DEFAULT_LENGTH) as table:
        yield table


class AnswersAtOnce:
    """A pool whose fitness is a formula; a generation takes several answers.

    Args:
        noise: the run's.
        between: called between two answers.
    """

    def __init__(self, noise: NoiseTable, between: Callable[[], object]) -> None:
        self._noise = noise
        self._between = between
        self._waiting: list[tuple[Generation, int]] = []

    def open(self, generation: Generation, known: Sequence[int] = ()) -> None:
        self._waiting += [(generation, r) for r in range(generation.num_rollouts) if r not in known]

    def results(self, timeout_s: float) -> Sequence[RecordBatch]:
        self._between()
        taken, self._waiting = self._waiting[:4], self._waiting[4:]
        return [self._batch(generation, rollout) for generation, rollout in taken]

    def _batch(self, generation: Generation, rollout: int) -> RecordBatch:
        theta = np.zeros_like(generation.candidates.theta)
        write_candidate(
            generation.candidates, min(rollout, generation.num_candidates), self._noise, theta
        )
        fitness = -float(np.sum((theta.astype(np.float64) - 1) ** 2))
        record = RolloutRecord(rollout, 0, "ok", fitness=fitness, length=3)
        name = digest(encode(generation))
        words = MESSAGE_VERSION, generation.run_uid, generation.number, name, "scripted"
        return RecordBatch(*words, (record,), evaluation_s=0.5)

    def close(self, number: int) -> None:
        self._waiting = [item for item in self._waiting if item[0].number != number]

    def status(self) -> PoolStatus:
        return PoolStatus(num_workers=1)

    def shutdown(self) -> None:
        self._waiting.clear()


class Silence:
    """A recorder that remembers nothing."""

    def progress(self, number: int, done: int, total: int, status: Any) -> None: ...

    def generation(self, number: int, metrics: Mapping[str, float]) -> None: ...

    def times(self, times: object) -> None:
        pass

    def checkpoint(self, number: int, arrays: Any, *, is_best: bool, is_last: bool) -> None: ...

    def notice(self, line: str) -> None:
        raise AssertionError(line)


class Killed(BaseException):
    """The head dies here."""


class DeadlyStore(FolderStore):
    """Dies before its n-th change (from 0), and stays dead."""

    def __init__(self, folder: Path, lives: int) -> None:
        super().__init__(folder)
        self.lives = lives

    def put(self, key: str, data: bytes) -> None:
        self._live()
        super().put(key, data)

    def delete(self, prefix: str) -> None:
        self._live()
        super().delete(prefix)

    def _live(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed


def train(
    directory: Path, noise: NoiseTable, uploader: RunUploader | None = None, *, resume: bool = False
) -> str:
    if not resume:
        directory.mkdir(parents=True)
        for name in ("run.json", "config.json"):
            (directory / name).write_text("{}")
    with Journal(directory / "journal") as journal:
        theta = np.zeros(4, dtype=np.float32)
        state = RunState(
            OpenAIES(theta, noise, run_seed=7, pop_size=6, sigma=0.1, lr=0.1), SETTINGS, None
        )
        if resume:
            state.resume(journal)
        pool = AnswersAtOnce(noise, lambda: uploader.upload() if uploader is not None else None)
        outcome = Loop(state, pool, journal, Silence()).run()
    if uploader is not None:
        uploader.upload(everything=True)
    return theta_sha256(outcome.theta)


def uploader_of(store: FolderStore, directory: Path) -> RunUploader:
    return RunUploader(store, directory, piece_bytes=PIECE_BYTES)


def test_a_run_killed_at_any_point_of_any_upload_goes_on_from_the_store(
    tmp_path: Path, noise: NoiseTable
) -> None:
    whole = train(tmp_path / "whole", noise)
    patient = DeadlyStore(tmp_path / "patient", 10**9)
    assert train(tmp_path / "all" / "1", noise, uploader_of(patient, tmp_path / "all/1")) == whole
    changes = 10**9 - patient.lives
    assert changes > 25
    num_resumed = 0
    for lives in range(changes):
        place = tmp_path / str(lives)
        store = DeadlyStore(place / "store", lives)
        with pytest.raises(Killed):
            train(place / "1", noise, uploader_of(store, place / "1"))
        if resumable_runs(store) != [1]:
            assert lives <= 4, "what came before the first snapshot"
            continue
        num_resumed += 1
        # The next head may die as well, as late as this one, and another goes on.
        directory = place / "again" / "1"
        download_run(store, 1, directory)
        store.lives = lives
        try:
            again = train(directory, noise, uploader_of(store, directory), resume=True)
        except Killed:
            directory = place / "at last" / "1"
            download_run(store, 1, directory)
            again = train(directory, noise, resume=True)
        assert again == whole, lives
    assert num_resumed >= changes - 5


def test_only_what_has_changed_is_carried(tmp_path: Path, noise: NoiseTable) -> None:
    store = DeadlyStore(tmp_path / "store", 10**9)
    directory = tmp_path / "1"
    uploader = uploader_of(store, directory)
    train(directory, noise, uploader)
    before = store.lives
    assert uploader.upload() == 0
    assert store.lives == before
    (directory / "metrics.jsonl").write_text("{}\n")
    assert uploader.upload() == 1
    assert store.lives == before - 1


def test_a_downloaded_run_is_the_run(tmp_path: Path, noise: NoiseTable) -> None:
    store = FolderStore(tmp_path / "store")
    directory = tmp_path / "7"
    train(directory, noise)
    (directory / "checkpoints").mkdir()
    (directory / "checkpoints" / "best.json").write_text("{}")
    (directory / "checkpoints" / ".aside").write_text("not whole")
    uploader_of(store, directory).upload(everything=True)
    assert stored_runs(store) == resumable_runs(store) == [7]
    download_run(store, 7, tmp_path / "home" / "3")
    files = {
        path.relative_to(directory): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in ("lock", ".aside")
    }
    home = tmp_path / "home" / "3"
    assert files == {
        path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()
    }
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["3"]


def test_what_the_run_no_longer_has_goes_from_the_store(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    directory = tmp_path / "1"
    directory.mkdir()
    for name in ("metrics.json", "metrics.jsonl"):
        (directory / name).write_text("first")
    uploader = uploader_of(store, directory)
    uploader.upload()
    (directory / "metrics.json").unlink()
    uploader.upload()
    uploader.upload()
    assert [entry.key for entry in store.entries()] == ["runs/1/metrics.jsonl"]


def test_files_that_grow_large_are_carried_once_a_minute(tmp_path: Path) -> None:
    now_s = 1000.0
    store = FolderStore(tmp_path / "store")
    directory = tmp_path / "1"
    directory.mkdir()
    uploader = RunUploader(store, directory, clock=lambda: now_s)
    path = directory / "metrics.jsonl"
    path.write_bytes(b"a" * HEAVY_BYTES)
    assert uploader.upload() == 1
    path.write_bytes(b"b" * (HEAVY_BYTES + 1))
    assert uploader.upload() == 0
    assert uploader.upload(everything=True) == 1
    path.write_bytes(b"c" * (HEAVY_BYTES + 2))
    now_s += 59
    assert uploader.upload() == 0
    now_s += 2
    assert uploader.upload() == 1


def test_a_longer_log_of_another_head_is_cut_from_its_end(
    tmp_path: Path, noise: NoiseTable
) -> None:
    store = FolderStore(tmp_path / "store")
    directory = tmp_path / "1"
    whole = train(directory, noise)
    log = directory / "journal" / "log"
    good = log.read_bytes()
    log.write_bytes(good + b"ESJF torn" * 400)  # read in the middle of a write
    uploader_of(store, directory).upload()
    longest = max(entry.key for entry in store.entries("runs/1/journal/log."))
    log.write_bytes(good)
    uploader_of(store, directory).upload()
    assert max(entry.key for entry in store.entries("runs/1/journal/log.")) < longest
    download_run(store, 1, tmp_path / "again" / "1")
    assert (tmp_path / "again" / "1" / "journal" / "log").read_bytes() == good
    assert train(tmp_path / "again" / "1", noise, resume=True) == whole


@pytest.mark.parametrize("key", ["runs/1/../../evil", "runs/x/run.json", "runs/1//etc/evil"])
def test_a_store_cannot_write_where_it_likes(tmp_path: Path, key: str) -> None:
    class Hostile(FolderStore):
        def entries(self, prefix: str = "") -> Iterator[Entry]:
            yield Entry(key, 1)

    with pytest.raises(MessageError, match="no file of a run"):
        download_run(Hostile(tmp_path / "store"), 1, tmp_path / "home" / "1")
    assert not (tmp_path / "home" / "1").exists()


def test_a_store_that_does_not_hold_still_is_said_so(tmp_path: Path) -> None:
    class Fleeting(FolderStore):
        def entries(self, prefix: str = "") -> Iterator[Entry]:
            yield Entry("runs/1/journal/snapshot-000000001", 1)

    with pytest.raises(ServiceUnavailable, match="try again"):
        download_run(Fleeting(tmp_path / "store"), 1, tmp_path / "home" / "1")
