"""A mistake is one clear line and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_process import WORLDS, TrainingProcess, train

TINY = ("sphere", "seed=1", "num_generations=2", "pool=serial")
OWN = (f"include={WORLDS}", "network=linear", "pop_size=4", "num_generations=2", "pool=serial")


def refused(runs_dir: Path, *words: str) -> tuple[int, str]:
    """Exit code and last line of a command that must fail; its output held no traceback."""
    with TrainingProcess(runs_dir, *words) as running:
        code = running.finish()
        assert code != 0, running.output
        assert "Traceback" not in running.output
        last = running.output.splitlines()[-1]
        assert last.startswith("error: ")
        return code, last


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("sphere", "pop_sze=3"), "pop_size", 2),
        (("landr",), "lander", 2),
        ((*TINY, "pop_size=7"), "pop_size", 2),
        ((*TINY, "pop_size=0"), "pop_size", 2),
        ((*TINY, "sigma=0"), "sigma", 2),
        ((*TINY, "lr=-1"), "lr", 2),
        ((*TINY, "env_name=LunarLanderContinous-v3"), "LunarLanderContinuous-v3", 2),
        ((*TINY, "env_name=ALE/Pong-v5"), "pip install", 2),
        ((*OWN, "env_name=odd_worlds:Odd-v0"), "observation space", 2),
        ((*TINY, "env_name=odd_worlds:Slow-v0"), "include", 2),
        ((*TINY, "load_from=99"), "99", 2),
        ((*TINY, "resume=99"), "99", 2),
        ((*TINY, "shaping=best"), "centered_ranks", 2),
        ((*TINY, "optimizer=adm"), "adam", 2),
        ((*TINY, "network=forward"), "feed_forward", 2),
        ((*TINY, "tool=CMAES"), "Nevergrad has no such optimiser", 2),
        ((*TINY, "tool=CMA", "overlap=1"), "asynchronous=True", 2),
        ((*TINY, "asynchronous=True"), "tool=openai_es", 2),
        ((*TINY, "recommend=best", "normalize_observations=True"), "leave recommend out", 2),
        ((*TINY, "pool=ray", "ray_address=ray://127.0.0.1:1"), "127.0.0.1:1", 4),
        ((*TINY, "pool=ray", "ray_dashboard=True"), 'pip install "ray[default]==', 5),
        ((*TINY, "pool=dask"), "redis or serial or ray", 2),
        ((*TINY, "noise_table_size=10"), "25000000", 2),
        ((*TINY, "include=/no/such/folder"), "is no folder", 2),
        ((*OWN, "env_name=broken_import:Any-v0"), "no_such_package", 2),
        ((*OWN, "env_name=odd_worlds:Absent-v0"), "registers no environment", 2),
        (("sphere", "redis_url=redis://127.0.0.1:1/0"), "no Redis", 4),
        (("sphere", "redis_url=http://127.0.0.1"), "redis://", 2),
        ((*TINY, "noise_dir=/proc/none"), "noise", 2),
        ((*OWN, "env_name=odd_worlds:Hopeless-v0"), "the floor is missing", 3),
        ((*OWN, "env_name=odd_worlds:Unborn-v0"), "no world today", 3),
        ((*OWN, "env_name=odd_worlds:NotANumber-v0"), "nan", 3),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_line(
    tmp_path: Path, words: tuple[str, ...], said: str, code: int
) -> None:
    exit_code, line = refused(tmp_path / "r", *words)
    assert said.lower() in line.lower()
    assert exit_code == code


def test_theta_of_another_policy_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "r", *TINY)
    code, line = refused(
        tmp_path / "r", *TINY, "load_from=1", "network=feed_forward", "hidden_sizes=[3]"
    )
    assert code == 2
    assert "load_from=1" in line


def test_a_resume_that_contradicts_the_run_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "r", *TINY)
    code, line = refused(tmp_path / "r", "resume=1", "sigma=0.9")
    assert code == 2
    assert "sigma" in line


def test_a_damaged_journal_is_refused_and_a_torn_one_is_mended(tmp_path: Path) -> None:
    train(tmp_path / "r", *TINY)
    log = tmp_path / "r" / "1" / "journal" / "log"
    whole = log.read_bytes()
    log.write_bytes(whole[:200] + b"\0" * 8 + whole[208:])
    code, line = refused(tmp_path / "r", "resume=1")
    assert code == 3
    assert "damaged" in line
    log.write_bytes(whole[:-3])
    for snapshot in sorted(log.parent.glob("snapshot-*"))[1:]:
        snapshot.unlink()
    with TrainingProcess(tmp_path / "r", "resume=1") as running:
        assert running.finish() == 0, running.output
        assert "torn write" in running.output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_memory_too_small_for_the_noise_is_refused_and_left_empty(
    tmp_path: Path, small_disk: Path
) -> None:
    code, line = refused(tmp_path / "r", *TINY, f"noise_dir={small_disk}")
    assert code == 5
    assert "needs 100 MB" in line
    assert not list(small_disk.iterdir())


def test_a_full_disk_ends_the_run_and_more_space_lets_it_go_on(small_disk: Path) -> None:
    fill = small_disk / "fill"
    fill.write_bytes(bytes(3_800_000))
    words = ("sphere", "seed=7", "num_generations=2000", "num_serializations=0", "pool=serial")
    code, line = refused(small_disk / "r", *words)
    assert code == 5
    assert "free some space" in line
    fill.unlink()
    with TrainingProcess(small_disk / "r", "resume=1", "max_env_steps=2000") as running:
        assert running.finish() == 0, running.output


def test_a_read_only_disk_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, line = refused(small_disk / "r", *TINY)
    assert code == 2
    assert "not writable" in line


def test_a_run_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, line = refused(tmp_path / "file" / "r", *TINY)
    assert code == 2
    assert "runs_dir" in line


def test_a_second_head_is_refused(tmp_path: Path) -> None:
    slow = (f"include={WORLDS}", "network=linear", "env_name=odd_worlds:Slow-v0", "pool=serial")
    with TrainingProcess(tmp_path / "r", *slow, "num_generations=500") as running:
        running.wait_for("generation")
        code, line = refused(tmp_path / "r", "resume=1")
        assert code == 3
        assert "another head" in line
