"""What is in the journal comes back; what is torn is cut; what is damaged is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from errors import JournalDamaged, ResourceExhausted, RunError, RunLocked
from search.journal import Answered, Closed, Entry, Journal, Opened, Snapshot, StoredArray
from search.messages import MESSAGE_VERSION, RecordBatch, RolloutRecord
from search.totals import Totals

UID = "0123456789abcdef" * 2


def entries(count: int) -> list[Entry]:
    """Opened, answered and closed, for ``count`` generations."""
    made: list[Entry] = []
    for number in range(count):
        record = RolloutRecord(0, 0, "ok", fitness=float(number), length=3)
        batch = RecordBatch(MESSAGE_VERSION, UID, number, "0" * 32, "w-1", (record,))
        fitness = np.array([[float(number), np.nan]]).tobytes()
        closed = Closed(number, fitness, 2, None, {"fitness/mean": float(number)}, Totals())
        made += [Opened(number, "0" * 32), Answered(batch), closed]
    return made


def snapshot(told: int, offset: int) -> Snapshot:
    theta = np.arange(3, dtype=np.float32)
    arrays = {"theta": StoredArray.of(theta)}
    return Snapshot(UID, told, offset, {"step": told}, arrays, [b"message"], None, Totals())


def write(folder: Path, count: int = 3) -> list[int]:
    """A journal of ``count`` generations; the offset after each entry."""
    with Journal(folder) as journal:
        offsets = []
        for entry in entries(count):
            journal.append(entry)
            offsets.append(journal.offset)
    return offsets


def test_what_was_written_comes_back_in_order(tmp_path: Path) -> None:
    write(tmp_path)
    with Journal(tmp_path) as journal:
        assert list(journal.entries()) == entries(3)


def test_entries_from_an_offset_are_those_after_it(tmp_path: Path) -> None:
    offsets = write(tmp_path)
    with Journal(tmp_path) as journal:
        assert list(journal.entries(offsets[2])) == entries(3)[3:]


def test_fitness_keeps_its_shape_and_its_failures(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with Journal(tmp_path) as journal:
        closed = list(journal.entries())[-1]
        assert isinstance(closed, Closed)
        np.testing.assert_array_equal(closed.fitness_ce, [[0.0, np.nan]])


@pytest.mark.parametrize("lost_bytes", [1, 5, 11, 12, 13, 40])
def test_a_torn_last_write_is_cut_and_the_rest_stays(tmp_path: Path, lost_bytes: int) -> None:
    offsets = write(tmp_path)
    log = tmp_path / "log"
    log.write_bytes(log.read_bytes()[:-lost_bytes])
    notices: list[str] = []
    with Journal(tmp_path, notices.append) as journal:
        assert list(journal.entries()) == entries(3)[:-1]
        journal.append(entries(3)[-1])
    assert len(notices) == 1
    assert "torn" in notices[0]
    with Journal(tmp_path) as journal:
        assert list(journal.entries()) == entries(3)
        assert journal.offset == offsets[-1]


def test_zeroes_that_a_crash_left_at_the_end_are_cut(tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / "log").open("ab") as log:
        log.write(bytes(4096))
    with Journal(tmp_path) as journal:
        assert list(journal.entries()) == entries(3)


@pytest.mark.parametrize("place", [0, 4, 5, 20])
def test_damage_before_the_end_is_refused_with_its_place(tmp_path: Path, place: int) -> None:
    offsets = write(tmp_path)
    log = tmp_path / "log"
    data = bytearray(log.read_bytes())
    data[offsets[3] + place] ^= 0xFF
    log.write_bytes(bytes(data))
    with pytest.raises(JournalDamaged, match=f"damaged at byte {offsets[3]}"):
        Journal(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"something else altogether")
    with pytest.raises(JournalDamaged, match="not a journal"):
        Journal(tmp_path)


def test_one_that_cannot_be_opened_keeps_nothing_locked(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"no journal, but long enough to be one")
    for _ in range(2):
        with pytest.raises(JournalDamaged):
            Journal(tmp_path)


def test_a_second_head_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(RunLocked, match="another head"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_a_killed_head_holds_nothing(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from search.journal import Journal
journal = Journal(Path({str(tmp_path)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    Journal(tmp_path).close()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="runs_dir"):
        Journal(tmp_path / "file" / "journal")


def test_a_full_disk_leaves_a_journal_that_can_be_read_and_gone_on_with(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
from pathlib import Path
from errors import ResourceExhausted
from search.journal import Journal
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_journal import entries
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
journal = Journal(Path({str(tmp_path)!r}))
written = 0
try:
    for entry in entries(100):
        journal.append(entry)
        written += 1
except ResourceExhausted as error:
    assert "free some space" in str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    journal.append(*entries(100)[written:])
    sys.exit(written)
"""
    written = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert 3 < written < 100
    with Journal(tmp_path) as journal:
        assert list(journal.entries()) == entries(100)
    assert ResourceExhausted.exit_code == 5


def test_the_newest_whole_snapshot_is_taken_and_two_are_kept(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for told in (1, 5, 9):
            journal.write_snapshot(snapshot(told, journal.offset))
        names = sorted(path.name for path in tmp_path.glob("snapshot-*"))
        assert names == ["snapshot-000000005", "snapshot-000000009"]
        found = journal.latest_snapshot()
        assert found == snapshot(9, journal.offset)
        np.testing.assert_array_equal(found.arrays["theta"].array(), [0, 1, 2])


def test_a_damaged_snapshot_gives_way_to_the_one_before(tmp_path: Path) -> None:
    notices: list[str] = []
    with Journal(tmp_path, notices.append) as journal:
        journal.write_snapshot(snapshot(1, journal.offset))
        journal.write_snapshot(snapshot(2, journal.offset))
        newest = tmp_path / "snapshot-000000002"
        newest.write_bytes(newest.read_bytes()[:-1])
        assert journal.latest_snapshot().told == 1
        assert "damaged" in notices[0]


def test_no_whole_snapshot_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        with pytest.raises(JournalDamaged, match="before it had saved anything; start it anew"):
            journal.latest_snapshot()
        journal.write_snapshot(snapshot(1, journal.offset))
        (tmp_path / "snapshot-000000001").write_bytes(b"torn")
        with pytest.raises(JournalDamaged, match="load_from"):
            journal.latest_snapshot()


def test_a_snapshot_that_is_ahead_of_the_log_is_passed_over(tmp_path: Path) -> None:
    """Power was lost: the disk has the snapshot, and not the last of what it follows from."""
    with Journal(tmp_path) as journal:
        journal.append(*entries(1))
        journal.write_snapshot(snapshot(1, whole := journal.offset))
        journal.append(*entries(1))
        journal.write_snapshot(snapshot(2, journal.offset))
    log = tmp_path / "log"
    log.write_bytes(log.read_bytes()[:whole])
    with Journal(tmp_path) as journal:
        assert journal.latest_snapshot().told == 1
