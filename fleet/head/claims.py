"""What machines said they had in hand and say no longer: most likely it went down with them.

A head that only counts seconds has to wait for the longest that a rollout may take. Most machines
that vanish had told it before what their workers were at, and then no more.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from fleet.heartbeat import Claim, Heartbeat

DROPPED_S = 5.0
"""Heartbeats and records need less through a chain of relays. A machine that vanished counts as
silent only `fleet.heartbeat.FRESH_S` after its last word, and this runs from then on."""

_CLAIMS_A_ROLLOUT = 4


class Claims:
    """When each rollout of a generation was last said to be in some worker's hands. Pure.

    What nobody has claimed yet has the same time to be, once it is out of the queues: it may have
    been taken in the moment of a death. Where no machine claims anything, nothing is ever dropped,
    and the ledger's patience is all there is.

    Args:
        digest: of the generation.
        num_rollouts: of it.
    """

    def __init__(self, digest: str, num_rollouts: int) -> None:
        self._digest = digest
        self._num_rollouts = num_rollouts
        self._claimed_s: dict[int, float] = {}
        self._is_any_claimed = False

    def hear(self, machines: Iterable[Heartbeat], now_s: float) -> None:
        """Note what these say they have in hand."""
        claims = [w.claim for m in machines for w in m.workers if w.claim is not None]
        self._is_any_claimed |= bool(claims)
        ours = (claim for claim in claims if claim.digest == self._digest)
        rollouts = (r for claim in ours for r in range(claim.first, self._last(claim)))
        # Copies of each are few: more claims than this are nobody's honest ones.
        for rollout in itertools.islice(rollouts, _CLAIMS_A_ROLLOUT * self._num_rollouts):
            self._claimed_s[rollout] = now_s

    def excuse(self, now_s: float) -> None:
        """Nobody could be heard until now: that a claim was not repeated says nothing."""
        self._claimed_s = dict.fromkeys(self._claimed_s, now_s)

    def dropped(self, now_s: float, taken: Iterable[int] = ()) -> list[int]:
        """Rollouts that nobody has claimed for `DROPPED_S`; each is given once.

        Args:
            now_s: on any clock.
            taken: what has no answer and waits in no queue.
        """
        if self._is_any_claimed:
            for rollout in taken:
                self._claimed_s.setdefault(rollout, now_s)
        gone = [r for r, claimed_s in self._claimed_s.items() if now_s - claimed_s > DROPPED_S]
        for rollout in gone:
            del self._claimed_s[rollout]
        return gone

    def _last(self, claim: Claim) -> int:
        return min(claim.stop, self._num_rollouts)
