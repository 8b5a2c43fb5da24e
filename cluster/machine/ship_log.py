"""What a machine says, sent to CloudWatch: ``python -m cluster.machine.ship_log machine.json``.

A service of its own: it has nobody wait for it, and it reads files, so that nothing is lost while
AWS does not answer, what was said before it was there included.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from cluster.aws.names import log_stream
from cluster.machine.aws_platform import AwsPlatform
from cluster.machine.log_files import LogFiles
from cluster.machine.log_stream import LogStream
from cluster.machine.machine_program import Stop, run_program, say
from cluster.machine.platform import MachineSettings, Platform
from errors import ConfigError, EsError

FILES = ("/var/log/walking-es-boot.log", "/var/log/walking-es/machine.log")
FILES_VARIABLE = "WALKING_ES_LOGS"
_STATE = "log-places.json"
_LOOK_EVERY_S = 1.0
_BUSY_S = 0.2  # AWS counts calls, of which one can carry a megabyte
_MOST_AGAIN_S = 30.0
_LAST_S = 10.0


def ship(files: LogFiles, stream: LogStream, stop: Stop) -> None:
    """Send what comes until asked to stop, and then what there is left."""
    again_s, trouble = _LOOK_EVERY_S, ""
    while not stop.wait(again_s):
        try:
            again_s = _BUSY_S if ship_once(files, stream) else _LOOK_EVERY_S
            trouble = ""
        except EsError as error:
            again_s = min(max(again_s, _LOOK_EVERY_S) * 2, _MOST_AGAIN_S)
            if str(error) != trouble:
                trouble = str(error)
                say(f"the log cannot be sent at present: {trouble}; trying again")
    deadline_s = time.monotonic() + _LAST_S
    while time.monotonic() < deadline_s:
        try:
            if not ship_once(files, stream):
                return
        except EsError:
            time.sleep(_LOOK_EVERY_S)


def ship_once(files: LogFiles, stream: LogStream) -> bool:
    """Send what is new; whether there was anything.

    Raises:
        ServiceUnavailable: it was not taken, and comes again the next time.
    """
    read = files.read()
    stream.send(read.lines)
    files.forget(read)
    return bool(read.lines)


def _body(settings: MachineSettings, platform: Platform, stop: Stop) -> int:
    if not isinstance(platform, AwsPlatform):
        raise ConfigError(f"provider {settings.provider}: its logs are files, and stay so")
    paths = [Path(p) for p in os.environ.get(FILES_VARIABLE, "").split(":") if p]
    files = LogFiles(paths or [Path(p) for p in FILES], Path(settings.work_dir) / _STATE)
    name = log_stream(settings.role, platform.name())
    stream = LogStream(platform.client("logs"), settings.log_group, name)
    ship(files, stream, stop)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(sys.argv, _body))
