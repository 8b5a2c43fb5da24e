"""Unit files of systemd's, as far as a guest's stand-in goes; what it does not know it refuses."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SPANS_S = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "min": 60.0, "m": 60.0, "h": 3600.0}
_ENDINGS = {"no", "always", "on-failure", "on-success", "on-abnormal"}
_TYPES = {"simple", "exec", "oneshot"}
_KILL_MODES = {"control-group", "mixed", "process"}

# Said of a service without which it behaves the same here, but for how it is confined.
_NO_MATTER = {
    "Unit": {"Description", "Documentation", "After", "Wants", "Requires"},
    "Install": {"WantedBy", "Alias"},
    "Service": {
        "LimitNOFILE", "LimitCORE", "LimitNPROC", "TasksMax", "Nice", "OOMScoreAdjust", "OOMPolicy",
        "ProtectHome", "PrivateDevices",
        "ProtectKernelTunables", "ProtectKernelModules", "ProtectControlGroups",
        "ProtectKernelLogs", "ProtectClock", "ProtectHostname", "RestrictSUIDSGID",
        "RestrictRealtime", "RestrictNamespaces", "RestrictAddressFamilies", "LockPersonality",
        "SystemCallArchitectures", "SystemCallFilter", "CapabilityBoundingSet",
        "AmbientCapabilities", "Group", "RuntimeDirectoryPreserve",
        "MemoryDenyWriteExecute", "ProtectProc",
        "StandardError", "SyslogIdentifier", "TimeoutStartSec", "SendSIGKILL", "MemoryMax",
        "MemoryHigh",
    },
}  # fmt: skip


class UnitError(Exception):
    """A unit that is not there, or that says what the stand-in does not know."""


@dataclass
class Unit:
    """A service."""

    name: str
    kind: str = "simple"
    commands: list[list[str]] = field(default_factory=list)
    before: list[list[str]] = field(default_factory=list)
    after: list[list[str]] = field(default_factory=list)
    user: str = ""
    folder: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    environment_files: list[str] = field(default_factory=list)
    restart: str = "no"
    restart_s: float = 0.1
    never_restart_after: set[int] = field(default_factory=set)
    success: set[int] = field(default_factory=set)
    stop_s: float = 90.0
    kill_mode: str = "control-group"
    kill_signal: str = "SIGTERM"
    remains: bool = False
    made_folders: dict[str, str] = field(default_factory=dict)
    output: str = "journal"
    starts_at_most: int = 5
    starts_within_s: float = 10.0
    umask: int = 0o022
    ends_after: list[str] = field(default_factory=list)
    required_path: str = ""
    is_strict: bool = False
    has_private_tmp: bool = False
    may_gain_nothing: bool = False
    writable: list[str] = field(default_factory=list)


def read_unit(name: str, folders: tuple[Path, ...], meant: Callable[[str], str]) -> Unit:
    """The service of that name, from the first folder that has it.

    Args:
        name: with or without its ending.
        folders: where units are.
        meant: given a unit's text, how it is to be understood.

    Raises:
        UnitError: none has, or it cannot be done justice.
    """
    name = name if "." in name else f"{name}.service"
    for folder in folders:
        if (folder / name).is_file():
            return parse_unit(name, meant((folder / name).read_text()))
    raise UnitError(f"Unit {name} not found.")


def parse_unit(name: str, text: str) -> Unit:
    """The service that a unit file describes."""
    unit, section = Unit(name), ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, _, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if not _said(unit, section, key, value) and key not in _NO_MATTER.get(section, ()):
            raise UnitError(f"{name}: the stand-in for systemd does not know {section}.{key}")
    for value, known in ((unit.kind, _TYPES), (unit.kill_mode, _KILL_MODES)):
        if value not in known:
            raise UnitError(f"{name}: the stand-in for systemd does not know {value}")
    if unit.restart not in _ENDINGS or not unit.commands:
        raise UnitError(f"{name}: Restart={unit.restart} ExecStart={unit.commands}")
    return unit


def _said(unit: Unit, section: str, key: str, value: str) -> bool:
    """Take a line's meaning over; False: it has none here."""
    name = f"{section}.{key}"
    if name in _SETS:
        attribute, meaning = _SETS[name]
        setattr(unit, attribute, meaning(value))
    elif name in _ADDS:
        attribute, meanings = _ADDS[name]
        getattr(unit, attribute).extend(meanings(value))
    elif name in _CODES:
        getattr(unit, _CODES[name]).update(_code(word) for word in value.split())
    elif name in _MADE:
        variable, place = _MADE[name]
        unit.made_folders[variable] = f"{place}/{value}"
    elif name == "Service.Environment":
        unit.environment.update(_pairs(shlex.split(value)))
    else:
        return False
    return True


def read_environment(unit: Unit) -> dict[str, str]:
    """What a unit adds to the environment, files too.

    Raises:
        UnitError: a file that it needs is not there.
    """
    found = dict(unit.environment)
    for name in unit.environment_files:
        path = Path(name.removeprefix("-"))
        if path.is_file():
            lines = [line.strip() for line in path.read_text().splitlines()]
            said = [line for line in lines if line and not line.startswith("#")]
            found.update(_pairs([" ".join(shlex.split(line)) for line in said]))
        elif not name.startswith("-"):
            raise UnitError(f"{unit.name}: {path} is not there")
    return found


def _pairs(words: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _seconds(text: str) -> float:
    if text == "infinity":
        return float("inf")
    found = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
    if not found or any(unit not in _SPANS_S for _, unit in found):
        raise UnitError(f"{text!r} is no span of time that the stand-in knows")
    return sum(float(number) * _SPANS_S[unit] for number, unit in found)


def _code(word: str) -> int:
    return int(word) if word.isdecimal() else -int(getattr(signal, word))


def _is_yes(value: str) -> bool:
    return value in {"yes", "true", "1"}


_SETS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Service.Type": ("kind", str),
    "Service.User": ("user", str),
    "Service.WorkingDirectory": ("folder", str),
    "Service.Restart": ("restart", str),
    "Service.RestartSec": ("restart_s", _seconds),
    "Service.TimeoutStopSec": ("stop_s", _seconds),
    "Service.KillMode": ("kill_mode", str),
    "Service.KillSignal": ("kill_signal", str),
    "Service.StandardOutput": ("output", str),
    "Service.RemainAfterExit": ("remains", _is_yes),
    "Service.PrivateTmp": ("has_private_tmp", _is_yes),
    "Service.NoNewPrivileges": ("may_gain_nothing", _is_yes),
    "Service.ProtectSystem": ("is_strict", lambda value: value == "strict"),
    "Service.UMask": ("umask", lambda value: int(value, 8)),
    "Unit.ConditionPathExists": ("required_path", str),
    "Unit.StartLimitIntervalSec": ("starts_within_s", _seconds),
    "Unit.StartLimitBurst": ("starts_at_most", int),
}
_ADDS: dict[str, tuple[str, Callable[[str], list[Any]]]] = {
    "Service.ExecStart": ("commands", lambda value: [shlex.split(value)]),
    "Service.ExecStartPre": ("before", lambda value: [shlex.split(value)]),
    "Service.ExecStopPost": ("after", lambda value: [shlex.split(value)]),
    "Service.EnvironmentFile": ("environment_files", lambda value: [value]),
    "Service.ReadWritePaths": ("writable", str.split),
    "Unit.Before": ("ends_after", str.split),  # what starts before is stopped after
}
_CODES = {
    "Service.RestartPreventExitStatus": "never_restart_after",
    "Service.SuccessExitStatus": "success",
}
_MADE = {
    "Service.RuntimeDirectory": ("RUNTIME_DIRECTORY", "/run"),
    "Service.StateDirectory": ("STATE_DIRECTORY", "/var/lib"),
    "Service.LogsDirectory": ("LOGS_DIRECTORY", "/var/log"),
    "Service.CacheDirectory": ("CACHE_DIRECTORY", "/var/cache"),
}
