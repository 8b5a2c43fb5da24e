"""What the head's and the workers' programs share: settings, platform, being asked to stop."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import msgspec

from cluster.machine.platform import MachineSettings, Platform
from cluster.spec import SPEC_KEY, ClusterSpec, read_spec
from cluster.store import Store
from errors import ConfigError, EsError, ServiceUnavailable

TICK_S = 0.2
_ASK_EVERY_S = 5.0

Body = Callable[[MachineSettings, Platform, "Stop"], int]


class Stop:
    """SIGTERM or SIGINT, once and for all."""

    def __init__(self) -> None:
        # No lock: a signal may come while its own thread holds it.
        self._is_asked = False

    def listen(self) -> None:
        """Hear signals from now on; in the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def ask(self) -> None:
        """Have the machine's program end."""
        self._is_asked = True

    def __bool__(self) -> bool:
        return self._is_asked

    def wait(self, seconds: float) -> bool:
        """Wait that long at most, or until it has been asked for; whether it has."""
        until_s = time.monotonic() + seconds
        while not self._is_asked and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(TICK_S, left_s))
        return self._is_asked

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.ask()


def run_program(argv: Sequence[str], body: Body) -> int:
    """Do what ``machine.json``, the only argument, says; the exit code."""
    try:
        if len(argv) != 2:
            raise ConfigError(f"expected one argument, the path of machine.json, not {argv[1:]}")
        settings = read_settings(Path(argv[1]))
        Path(settings.work_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        stop = Stop()
        stop.listen()
        return body(settings, platform_of(settings), stop)
    except EsError as error:
        say(f"error: {error}")
        return error.exit_code


def read_settings(path: Path) -> MachineSettings:
    """The settings in ``machine.json``.

    Raises:
        ConfigError: it is not there, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=MachineSettings)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no machine's settings ({error})") from None


def platform_of(settings: MachineSettings) -> Platform:
    """Who provides this machine."""
    if settings.provider == "aws":
        # Not at the top: a local cluster needs nothing of AWS.
        from cluster.machine.aws_platform import aws_platform

        return aws_platform(settings)
    from cluster.local.platform import LocalPlatform

    return LocalPlatform(settings)


def await_spec(store: Store, stop: Stop) -> ClusterSpec | None:
    """The cluster's spec, however long its store is away; None: asked to stop meanwhile.

    Raises:
        ConfigError: there is none, or it is another release's.
    """
    while True:
        try:
            data = store.get(SPEC_KEY)
            break
        except ServiceUnavailable as error:
            say(f"{error}; trying again every {_ASK_EVERY_S:g} s")
        if stop.wait(_ASK_EVERY_S):
            return None
    if data is None:
        raise ConfigError(f"the cluster's store has no {SPEC_KEY}: it was not launched, or is gone")
    return read_spec(data)


def say(line: str) -> None:
    """Tell people, who read it in the machine's log."""
    stamp = time.strftime("%H:%M:%S", time.gmtime())
    print(f"[{stamp}] {line}", file=sys.stderr, flush=True)
