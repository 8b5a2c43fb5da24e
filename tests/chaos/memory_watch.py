"""How much memory each part of a fleet holds, from its beginning to its end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

_MB = 2**20


class MemoryWatch:
    """Samples of processes by what they are.

    Own memory is what is not shared with others: the noise table is one for all, and a process that
    looks at more and more of it has not grown.

    Args:
        file: each sample is a line there, as it comes, for whoever wants to look while it goes on.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._started_s = time.monotonic()
        self._samples: dict[str, list[tuple[float, float, float]]] = {}
        file.write_text("seconds,part,pid,own_mb,rss_mb\n")

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def look(self, parts: Mapping[str, int]) -> None:
        """One sample of each process, by its name here."""
        elapsed_s = self.elapsed_s
        with self._file.open("a") as file:
            for part, pid in parts.items():
                with suppress(psutil.Error):
                    memory = psutil.Process(pid).memory_info()
                    rss_mb = memory.rss / _MB
                    if not rss_mb:  # it has ended, and nobody has asked for its code
                        continue
                    own_mb = rss_mb - memory.shared / _MB
                    self._samples.setdefault(part, []).append((elapsed_s, own_mb, rss_mb))
                    file.write(f"{elapsed_s:.1f},{part},{pid},{own_mb:.3f},{rss_mb:.3f}\n")

    def growth(self, warm_up_s: float) -> dict[str, float]:
        """Of each part's own memory: the median of the last tenth of its samples over that of the
        first tenth after the warm-up, less one; at least three samples each.
        """
        grown = {}
        for part, samples in self._samples.items():
            own = [own_mb for elapsed_s, own_mb, _ in samples if elapsed_s >= warm_up_s]
            assert len(own) > 6, f"{part} was hardly there: {len(own)} samples"
            tenth = max(3, len(own) // 10)
            grown[part] = statistics.median(own[-tenth:]) / statistics.median(own[:tenth]) - 1
        return grown

    def table(self, warm_up_s: float) -> str:
        """For people."""
        lines = [f"{'part':<16}{'own MB':>9}{'rss MB':>9}{'growth':>9}"]
        for part, grown in self.growth(warm_up_s).items():
            _, own_mb, rss_mb = self._samples[part][-1]
            lines.append(f"{part:<16}{own_mb:>9.1f}{rss_mb:>9.1f}{grown:>9.1%}")
        return "\n".join(lines)
