"""The noise table: the same values everywhere, one file, gone with its last user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from errors import ConfigError, EsError, ResourceExhausted, VersionMismatch
from search.messages import NoiseSpec
from search.noise import CHUNK, draw_chunk, open_declared, open_table, required_length

SEED, LENGTH = 7, 3000
OPEN = f"""
import sys
from pathlib import Path
from search.noise import open_table
folder = Path(sys.argv[1])
table = open_table({SEED}, {LENGTH}, folder)
"""
HOLD = OPEN + "print(table.path.stat().st_ino, flush=True); sys.stdin.readline()"
NO_WRITING = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"


def run_python(script: str, folder: Path) -> str:
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the table open until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def inode_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_values_do_not_depend_on_the_length(tmp_path: Path) -> None:
    with (
        open_table(SEED, LENGTH, tmp_path) as short,
        open_table(SEED, CHUNK + 500, tmp_path) as long,
    ):
        assert np.array_equal(short.values, long.values[:LENGTH])
        assert not np.array_equal(long.values[:500], long.values[CHUNK:])


def test_a_chunk_can_be_drawn_alone(tmp_path: Path) -> None:
    alone = np.empty(500, dtype=np.float32)
    draw_chunk(SEED, 1, alone)
    with open_table(SEED, CHUNK + 500, tmp_path) as table:
        assert np.array_equal(table.values[CHUNK:], alone)


def test_the_values_are_the_ones_of_every_release(tmp_path: Path) -> None:
    with open_table(SEED, LENGTH, tmp_path) as table:
        assert table.values[:4].tolist() == GOLDEN_VALUES
        assert table.spec == NoiseSpec(SEED, LENGTH, GOLDEN_CHECKSUM)


def test_the_values_are_standard_normal(tmp_path: Path) -> None:
    with open_table(SEED, CHUNK, tmp_path) as table:
        values = table.values.astype(np.float64)
    assert abs(values.mean()) < 5e-3
    assert abs(values.std() - 1) < 5e-3
    assert abs((values**4).mean() - 3) < 5e-2


def test_other_seeds_draw_other_values(tmp_path: Path) -> None:
    with open_table(1, LENGTH, tmp_path) as one, open_table(2, LENGTH, tmp_path) as two:
        assert abs(np.corrcoef(one.values, two.values)[0, 1]) < 0.1


def test_nobody_can_write_to_the_table(tmp_path: Path) -> None:
    with open_table(SEED, LENGTH, tmp_path) as table:
        with pytest.raises(ValueError, match="read-only"):
            table.values[0] = 1
        assert table.path.stat().st_mode & 0o777 == 0o400


def test_rows_are_views_and_lie_within_the_table(tmp_path: Path) -> None:
    with open_table(SEED, LENGTH, tmp_path) as table:
        assert np.shares_memory(table.row(2990, 10), table.values)
        for index, size in ((2991, 10), (-1, 10), (0, 3001)):
            with pytest.raises(IndexError):
                table.row(index, size)


def test_a_view_outlives_its_table_which_opens_no_more_rows(tmp_path: Path) -> None:
    table = open_table(SEED, LENGTH, tmp_path)
    view = table.row(5, 10)
    expected = view.copy()
    table.close()
    table.close()
    assert names(tmp_path) == []
    assert np.array_equal(view, expected)
    with pytest.raises(IndexError):
        table.row(5, 10)


def test_two_processes_share_one_file_and_the_last_removes_it(tmp_path: Path) -> None:
    table = open_table(SEED, LENGTH, tmp_path)
    with holding(tmp_path) as other:
        assert inode_of(other) == table.path.stat().st_ino
        table.close()
        assert names(tmp_path) == [table.path.name]
        other.communicate("\n")
    assert names(tmp_path) == []


def test_a_process_that_finds_the_table_writes_nothing(tmp_path: Path) -> None:
    with open_table(SEED, LENGTH, tmp_path) as table:
        checksum = run_python(NO_WRITING + OPEN + "print(table.spec.checksum)", tmp_path)
        assert checksum == table.spec.checksum
        assert names(tmp_path) == [table.path.name]


def test_a_process_that_ends_without_closing_leaves_nothing(tmp_path: Path) -> None:
    run_python(OPEN, tmp_path)
    assert names(tmp_path) == []


def test_a_forked_child_that_ends_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    script = OPEN + (
        "import os\nif os.fork() == 0:\n    table.close()\n    os._exit(0)\n"
        "os.wait()\nprint(table.path.exists(), table.values[0])"
    )
    assert run_python(script, tmp_path).startswith("True ")
    assert names(tmp_path) == []


def test_processes_that_start_together_draw_one_table(tmp_path: Path) -> None:
    with holding(tmp_path) as one, holding(tmp_path) as two, holding(tmp_path) as three:
        assert inode_of(one) == inode_of(two) == inode_of(three)
        assert len(names(tmp_path)) == 1


def test_a_table_whose_users_were_all_killed_serves_the_next_run(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        inode = inode_of(process)
        process.kill()
        process.wait()
    with open_table(SEED, LENGTH, tmp_path) as table:
        assert table.path.stat().st_ino == inode
    assert names(tmp_path) == []


def test_what_a_killed_builder_left_is_taken_over(tmp_path: Path) -> None:
    building = tmp_path / f"es-noise-{os.getuid()}-{SEED}-{LENGTH}.building"
    building.write_bytes(b"half a table")
    with open_table(SEED, LENGTH, tmp_path) as table:
        assert table.spec.checksum == GOLDEN_CHECKSUM
        assert names(tmp_path) == [table.path.name]


def test_a_worker_opens_what_the_head_declared(tmp_path: Path) -> None:
    with open_table(SEED, LENGTH, tmp_path) as table:
        with open_declared(table.spec, tmp_path) as same:
            assert same.path == table.path
        spec = table.spec
    with open_declared(spec, tmp_path) as drawn:
        assert drawn.spec == spec


def test_a_worker_that_draws_other_values_refuses(tmp_path: Path) -> None:
    with pytest.raises(VersionMismatch, match="numpy"):
        open_declared(NoiseSpec(SEED, LENGTH, "0" * 16), tmp_path)
    assert names(tmp_path) == []


def test_a_table_that_another_numpy_drew_is_left_aside(tmp_path: Path) -> None:
    other = tmp_path / f"es-noise-{os.getuid()}-{SEED}-{LENGTH}-{'0' * 16}"
    np.zeros(LENGTH, dtype=np.float32).tofile(other)
    other.chmod(0o400)
    with open_table(SEED, LENGTH, tmp_path) as table:
        assert table.spec.checksum == GOLDEN_CHECKSUM


@pytest.mark.parametrize("suffix", ["-" + "0" * 16, ".building"])
@pytest.mark.parametrize("fault", ["symlink", "fifo", "owner", "mode"])
def test_a_file_in_the_way_is_refused_in_one_line(tmp_path: Path, fault: str, suffix: str) -> None:
    path = tmp_path / f"es-noise-{os.getuid()}-{SEED}-{LENGTH}{suffix}"
    if fault == "symlink":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(bytes(4 * LENGTH))
        path.symlink_to(elsewhere)
    elif fault == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(bytes(4 * LENGTH))
        path.chmod(0o666 if fault == "mode" else 0o400)
    if fault == "owner":
        if os.getuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(path, 12345, -1)
    with pytest.raises(ResourceExhausted, match="noise_dir") as refusal:
        open_table(SEED, LENGTH, tmp_path)
    assert "\n" not in str(refusal.value)
    assert path.is_symlink() or path.exists()


def test_a_file_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"es-noise-{os.getuid()}-{SEED}-{LENGTH}-{'0' * 16}"
    path.write_bytes(b"short")
    path.chmod(0o400)
    with pytest.raises(ResourceExhausted, match="5 bytes, expected 12000"):
        open_table(SEED, LENGTH, tmp_path)


def test_a_limit_on_file_size_is_told_in_one_line(tmp_path: Path) -> None:
    script = (
        NO_WRITING + "from errors import ResourceExhausted\ntry:\n"
        f"    from search.noise import open_table; import sys; from pathlib import Path\n"
        f"    open_table({SEED}, {LENGTH}, Path(sys.argv[1]))\n"
        "except ResourceExhausted as error: print(error)"
    )
    assert run_python(script, tmp_path).startswith("shared memory too small: needs 0 MB in")
    assert names(tmp_path) == []


def test_shared_memory_that_is_too_small_is_told_in_one_line(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        with pytest.raises(ResourceExhausted, match=r"needs 4 MB in .*, 1 MB free .*ES_NOISE_DIR"):
            open_table(SEED, 1_000_000, tmp_path)
        assert names(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("seed", "length", "folder"), [(SEED, 0, "."), (-1, LENGTH, "."), (SEED, LENGTH, "missing")]
)
def test_settings_that_cannot_work_are_config_errors(
    tmp_path: Path, seed: int, length: int, folder: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_table(seed, length, tmp_path / folder)
    assert isinstance(refusal.value, EsError)
    assert "\n" not in str(refusal.value)


def test_large_policies_need_a_longer_table() -> None:
    assert required_length(100) == 25_000_000
    assert required_length(10_000_000) == 100_000_000


# Drawn once with numpy 2.3.5 on x86_64. Another numpy may draw otherwise, and then every stored
# run does too: change these only on purpose.
GOLDEN_VALUES = [-0.3994393050670624, -0.22016867995262146, -1.2492594718933105, 1.4451382160186768]
GOLDEN_CHECKSUM = "43ba7e7ade404de7"
