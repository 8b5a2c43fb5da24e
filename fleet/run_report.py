"""What a head says of its run every second, for people who look from elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from search.messages import Count

LIFETIME_S = 3600
MAX_REPORT_BYTES = 64 * 1024

Line = Annotated[str, Meta(max_length=500)]


class RunReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run stands.

    Attributes:
        run_id: the short number that people use.
        env: the environment's name.
        host, pid: the head's.
        generation: the oldest open one, or the next.
        done, total: its rollouts that have their answer, and all of them.
        open_numbers: all open generations.
        rollouts, env_steps: accepted by this head since it started.
        rollouts_per_s: over the last seconds.
        failed: final failures among them; first_error: of the first.
        reissued, lost, duplicates, refused: copies handed out again, losses reported, answers to
            what had its answer already, messages that were none.
        audited, disagreed, unaudited: rollouts that machines were compared in, those of them they
            differ in, and those that one machine alone has answered.
        note: why nothing moves, in a sentence; empty while things move.
    """

    run_id: Line
    env: Line
    host: Line
    pid: Count
    generation: Count = 0
    done: Count = 0
    total: Count = 0
    open_numbers: Annotated[tuple[int, ...], Meta(max_length=2000)] = ()
    rollouts: Count = 0
    env_steps: Count = 0
    rollouts_per_s: float = 0.0
    failed: Count = 0
    first_error: Line = ""
    reissued: Count = 0
    lost: Count = 0
    duplicates: Count = 0
    refused: Count = 0
    audited: Count = 0
    disagreed: Count = 0
    unaudited: Count = 0
    note: Line = ""


_decoder = msgspec.msgpack.Decoder(RunReport)


def encode_report(report: RunReport) -> bytes:
    """As it travels."""
    return msgspec.msgpack.encode(report)


def decode_report(data: Any) -> RunReport | None:
    """A report; ``None`` of bytes that are none."""
    try:
        if isinstance(data, bytes) and len(data) <= MAX_REPORT_BYTES:
            return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return None
