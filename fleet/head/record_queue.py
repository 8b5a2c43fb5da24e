"""The head's reading of its run's records: bounded, and nothing is gone before it has been read.

What was read stays in Redis until the next reading, which names it by the hashes of its first and
last batch, since one alone may come twice, with Redis emptied in between. A connection
that breaks in between brings it once more, which the ledger does not mind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from fleet import keys
from fleet.connection import BLOCK_S, Client
from search.messages import MAX_BATCH_BYTES

MAX_BATCHES = 1000
MAX_BYTES = 4 * MAX_BATCH_BYTES

# Takes away the ARGV[1] batches that were read, where first and last of them hash to ARGV[2].
_DROP = """
local first = redis.call('LINDEX', KEYS[1], 0)
local last = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
if last and redis.sha1hex(first) .. redis.sha1hex(last) == ARGV[2] then
    redis.call('LTRIM', KEYS[1], ARGV[1], -1)
end
"""
# Gives at most ARGV[1] batches of together about ARGV[2] bytes, after what `_DROP` wants. One
# of more than ARGV[3] bytes comes as an empty one: it will be refused.
_PEEK = """
local found, total, first, last = {}, 0, nil, nil
for place = 0, ARGV[1] - 1 do
    local batch = redis.call('LINDEX', KEYS[1], place)
    if not batch or (place > 0 and total + #batch > tonumber(ARGV[2])) then
        break
    end
    first, last = first or batch, batch
    if #batch > tonumber(ARGV[3]) then
        batch = ''
    end
    total = total + #batch
    found[place + 2] = batch
end
if first then
    found[1] = redis.sha1hex(first) .. redis.sha1hex(last)
end
return found
"""


class RecordQueue:
    """The records of one run, for its one head."""

    def __init__(self, client: Client, run_uid: str) -> None:
        self._client = client
        self._key = keys.records(run_uid)
        self._num_read = 0
        self._hashes = b""
        self.is_drained = True
        """Whether the last reading left nothing behind, as far as it could see."""

    def read(self, timeout_s: float) -> list[bytes]:
        """Encoded batches, waiting ``timeout_s`` for the first: one round trip.

        At most `MAX_BATCHES`, of together `MAX_BYTES` or one batch.
        """
        wait_s: Any = max(0.01, min(timeout_s, BLOCK_S))
        with self._client.pipeline(transaction=False) as pipe:
            if self._num_read:
                pipe.eval(_DROP, 1, self._key, str(self._num_read), self._hashes)
            # Waits without taking anything.
            pipe.blmove(self._key, self._key, wait_s, src="LEFT", dest="LEFT")
            limits = str(MAX_BATCHES), str(MAX_BYTES), str(MAX_BATCH_BYTES)
            pipe.eval(_PEEK, 1, self._key, *limits)
            answers: Any = pipe.execute(raise_on_error=False)
        self._check(answers)
        found: list[bytes] = answers[-1]
        self._hashes = found[0] if found else b""
        self._num_read = max(0, len(found) - 1)
        self.is_drained = self._num_read < MAX_BATCHES and sum(map(len, found)) < MAX_BYTES // 2
        return found[1:]

    def _check(self, answers: Sequence[Any]) -> None:
        """Raise what went wrong. A server that is full refuses to wait, and taking its records is
        what makes room there.
        """
        *_, waited, found = answers
        is_full = isinstance(waited, redis.OutOfMemoryError) and found
        for answer in answers:
            if isinstance(answer, redis.RedisError) and not (is_full and answer is waited):
                raise answer
