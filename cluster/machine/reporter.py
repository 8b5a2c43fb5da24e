"""The head's thread that speaks with the store: the run goes there, and how it stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from cluster.machine.machine_program import say
from cluster.machine.platform import Platform
from cluster.machine.run_files import RunUploader
from cluster.machine.run_progress import newest_run, progress_of
from cluster.store import HEAD_KEY, PROGRESS_KEY, HeadAddress, Progress
from errors import EsError
from tracking.cost import Cost, write_cost

UPLOAD_EVERY_S = 30.0
PROGRESS_EVERY_S = 10.0
_LEAST_S = 2.0
_TICK_S = 0.5
_AGAIN_S = 5.0
_COUNTING = "what the cluster costs cannot be told"
_KEEPING = "the run cannot be kept in the store"


class Reporter:
    """Has the store know the run, from `start` to `finish`, whatever the store does meanwhile.

    A run goes there within seconds of each new generation, and twice a minute. Make another for
    another session of the experiment; see `RunUploader`.

    Args:
        platform: who provides this machine.
        runs_dir: where runs are kept on it.
        address: this head's.
        budget_usd: at which the cluster ends; None: it has no budget.

    Attributes:
        usd: what the cluster has cost, as last heard; None: nothing is paid for.
        is_superseded: another head has taken over, and the store is its own from then on.
    """

    def __init__(
        self,
        platform: Platform,
        runs_dir: Path,
        address: HeadAddress,
        budget_usd: float | None = None,
    ) -> None:
        self._platform = platform
        self._runs_dir = runs_dir
        self._address = address
        self._budget_usd = budget_usd
        self._uploader: tuple[Path, RunUploader] | None = None
        self._finishing = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._seen: tuple[Path | None, int] = (None, 0)
        self._troubles: dict[str, str] = {}
        self._given_up = False
        self.usd: float | None = None
        self.is_superseded = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, patience_s: float) -> bool:
        """Carry everything there for the last time; whether that could be done by then. If not, it
        is given up.
        """
        self._finishing.set()
        is_done = self._done.wait(patience_s)
        self._given_up = True
        return is_done

    def _run(self) -> None:
        uploaded_s = reported_s = tried_s = counted_s = float("-inf")
        while not self._finishing.wait(_TICK_S):
            now_s = time.monotonic()
            # Each by itself: a run must be kept whether or not anybody knows what it costs.
            if now_s - counted_s >= PROGRESS_EVERY_S:
                self._attempt(self._count, _COUNTING)
                counted_s = now_s
            if now_s - reported_s >= PROGRESS_EVERY_S:
                self._attempt(self._report, "how the run stands cannot be told")
                reported_s = now_s
            wait_s = _AGAIN_S if self._troubles else _LEAST_S
            is_due = self._is_news() or now_s - uploaded_s >= UPLOAD_EVERY_S
            if is_due and now_s - tried_s >= wait_s and not self.is_superseded:
                tried_s = now_s
                if self._attempt(self._upload, _KEEPING):
                    uploaded_s = now_s
        self._finish()

    def _finish(self) -> None:
        if not self.is_superseded:
            self._attempt(self._count, _COUNTING)
        while not self.is_superseded and not self._given_up:
            if self._attempt(lambda: self._upload(everything=True), _KEEPING):
                self._attempt(self._report, "how the run ended cannot be told")
                break
            time.sleep(_TICK_S)
        self._done.set()

    def _attempt(self, act: Callable[[], None], otherwise: str) -> bool:
        """Do it; if that fails, say so once and go on."""
        try:
            act()
        except Exception as error:  # also a defect of ours: the run must not be lost for it
            said = str(error) if isinstance(error, EsError) else f"{type(error).__name__}: {error}"
            if self._troubles.get(otherwise) != said:
                self._troubles[otherwise] = said
                say(f"{otherwise} at present: {said}; trying again")
            return False
        self._troubles.pop(otherwise, None)
        return True

    def _is_news(self) -> bool:
        """Whether a generation has been written down since the last look."""
        directory = newest_run(self._runs_dir)
        try:
            size = (directory / "metrics.jsonl").stat().st_size if directory is not None else 0
        except FileNotFoundError:
            size = 0
        return (directory, size) != self._seen

    def _upload(self, *, everything: bool = False) -> None:
        directory = newest_run(self._runs_dir)
        if directory is None:
            return
        if self._uploader is None or self._uploader[0] != directory:
            self._uploader = directory, RunUploader(self._platform.store, directory)
        try:
            size = (directory / "metrics.jsonl").stat().st_size
        except FileNotFoundError:
            size = 0
        self._uploader[1].upload(everything=everything)
        self._seen = directory, size

    def _count(self) -> None:
        usd = self._platform.usd_so_far()
        try:
            self._write_cost(usd)
        finally:
            # Last: whoever ends the run for it wants the run to know why. But in any case: a budget
            # holds on a full disk too.
            self.usd = usd

    def _write_cost(self, usd: float | None) -> None:
        directory = newest_run(self._runs_dir)
        if usd is not None and directory is not None:
            cost = Cost(
                time_s=time.time(),
                usd=usd,
                usd_per_hour=self._platform.usd_per_hour(),
                budget_usd=self._budget_usd,
            )
            write_cost(directory, cost)

    def _report(self) -> None:
        data = self._platform.store.get(HEAD_KEY)
        if data is not None:
            there = msgspec.json.decode(data, type=HeadAddress)
            self.is_superseded = there.since_s > self._address.since_s
        if self.is_superseded:
            return
        usd = self._usd_before() if self.usd is None else self.usd
        progress = progress_of(newest_run(self._runs_dir), usd)
        self._platform.store.put(PROGRESS_KEY, msgspec.json.encode(progress))

    def _usd_before(self) -> float | None:
        """What an earlier head counted, which must not be forgotten before this one can count."""
        data = self._platform.store.get(PROGRESS_KEY)
        return None if data is None else msgspec.json.decode(data, type=Progress).usd
