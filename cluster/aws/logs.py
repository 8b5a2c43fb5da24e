"""What a cluster's machines say, from CloudWatch: no ssh, no open port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import botocore.exceptions

from cluster.aws.session import Aws, code_of, pages
from cluster.provider import LogLine

Sleep = Callable[[float], None]

POLL_S = 2.0
_MOST_LINES = 10_000  # that one call returns


def tail(
    aws: Aws,
    group: str,
    prefix: str,
    lines: int,
    follow: bool,
    ended: Callable[[], bool],
    sleep: Sleep = time.sleep,
) -> Iterator[LogLine]:
    """The last ``lines`` of the log streams that begin so, by time; then, if asked for, the rest.

    Args:
        aws: the account.
        group: the log group; it need not be there any more, or yet.
        prefix: of the streams: ``head/``, ``worker/i-0123``.
        lines: how many of the past.
        follow: go on with what comes, until ``ended`` has said so and all has been read.
        ended: whether nothing will come.
        sleep: waits between two looks.
    """
    tokens: dict[str, str] = {}
    past = [
        line
        for stream in _streams(aws, group, prefix)
        for line in _last(aws, group, stream, lines, tokens)
    ]
    yield from sorted(past, key=lambda line: line.time_s)[-lines:] if lines else ()
    while follow:
        is_over = ended()  # asked before the last look: what is said at the very end is read too
        fresh = [
            line
            for stream in _streams(aws, group, prefix)
            for line in _next(aws, group, stream, tokens)
        ]
        yield from sorted(fresh, key=lambda line: line.time_s)
        if is_over and not fresh:
            return
        if not fresh:
            sleep(POLL_S)


def console(aws: Aws, instance: str, lines: int) -> Iterator[LogLine]:
    """The end of what a machine has written to its console, for one that never came so far as to
    send a log.
    """
    answer = aws.ec2.get_console_output(InstanceId=instance)
    when = answer["Timestamp"].timestamp() if "Timestamp" in answer else 0.0
    for text in str(answer.get("Output", "")).splitlines()[-lines:]:
        yield LogLine(when, instance, _printable(text))


def _streams(aws: Aws, group: str, prefix: str) -> list[str]:
    try:
        return [
            str(stream["logStreamName"])
            for stream in pages(
                aws.logs,
                "describe_log_streams",
                "logStreams",
                logGroupName=group,
                logStreamNamePrefix=prefix,
            )
        ]
    except botocore.exceptions.ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return []


def _last(
    aws: Aws, group: str, stream: str, lines: int, tokens: dict[str, str]
) -> Iterator[LogLine]:
    answer = aws.logs.get_log_events(
        logGroupName=group,
        logStreamName=stream,
        startFromHead=False,
        limit=max(1, min(lines, _MOST_LINES)),
    )
    tokens[stream] = answer["nextForwardToken"]
    yield from _read(answer, stream)


def _next(aws: Aws, group: str, stream: str, tokens: dict[str, str]) -> Iterator[LogLine]:
    """What a stream has that was not read; a stream that is new is read from its beginning."""
    while True:
        token = tokens.get(stream)
        answer = aws.logs.get_log_events(
            logGroupName=group,
            logStreamName=stream,
            startFromHead=True,
            **({"nextToken": token} if token else {}),
        )
        tokens[stream] = answer["nextForwardToken"]
        yield from _read(answer, stream)
        if tokens[stream] == token or not answer["events"]:
            return


def _read(answer: dict[str, list[dict[str, str]]], stream: str) -> Iterator[LogLine]:
    machine = stream.rpartition("/")[2]
    for event in answer["events"]:
        for text in event["message"].splitlines() or [""]:
            yield LogLine(float(event["timestamp"]) / 1000, machine, _printable(text))


def _printable(text: str) -> str:
    """A machine's words must not steer the terminal that shows them."""
    return "".join(c if c.isprintable() else " " for c in text.replace("\t", "    ")).rstrip()
