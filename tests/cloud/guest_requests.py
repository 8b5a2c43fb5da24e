"""What a guest's init does when somebody types ``systemctl``, ``shutdown``, ``apt-get``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unit_file import UnitError

if TYPE_CHECKING:
    from guest import Guest

Answer = tuple[int, str]
"""An exit code, and what is printed."""

STAND_INS = (
    "/usr/bin/systemctl",
    "/usr/sbin/shutdown",
    "/usr/sbin/poweroff",
    "/usr/sbin/reboot",
    "/usr/bin/apt-get",
    "/usr/bin/journalctl",
)
"""Programs that are a guest's own, by where they are."""

_SWITCHES = {"--now", "--no-block", "--quiet", "-q", "--force", "-f", "--no-pager", "--runtime"}


def answer(guest: Guest, request: dict[str, Any]) -> Answer | None:
    """An answer; None: it takes longer, ask again."""
    words = [word for word in request["words"] if word not in _SWITCHES]
    switches = set(request["words"]) & _SWITCHES
    program = request["program"]
    if program == "systemctl":
        return _systemctl(guest, request, words, switches)
    if program in {"poweroff", "reboot"}:
        return _power(guest, "reboot" if program == "reboot" else "off", 0.0)
    if program == "shutdown":
        return _shutdown(guest, request["words"])
    if program == "apt-get":
        return _apt_get(guest, words)
    return 0, (guest.root / "var/log/journal.log").read_text()


def _systemctl(
    guest: Guest, request: dict[str, Any], words: list[str], switches: set[str]
) -> Answer | None:
    verb, *names = words or ["list-units"]
    if verb in {"daemon-reload", "reset-failed", "is-system-running"}:
        return 0, "running\n" if verb == "is-system-running" else ""
    if verb in {"poweroff", "reboot", "halt"}:
        return _power(guest, "reboot" if verb == "reboot" else "off", 0.0)
    if verb in {"is-active", "is-failed", "status", "show"}:
        return _told(guest, verb, names)
    if verb in {"enable", "disable", "mask", "unmask"}:
        _enabled(guest, verb, names)
        wanted = "--now" in switches
        verb = (
            {"enable": "start", "disable": "stop", "mask": "stop"}.get(verb, "") if wanted else ""
        )
    if not verb:
        return 0, ""
    if verb not in {"start", "stop", "restart", "try-restart"}:
        return 1, f"Unknown command verb {verb}: the stand-in for systemctl has none of that name\n"
    return _moved(guest, request, verb, names, waits="--no-block" not in switches)


def _moved(
    guest: Guest, request: dict[str, Any], verb: str, names: list[str], *, waits: bool
) -> Answer | None:
    done = request.setdefault("done", [])
    services = [guest.service(name) for name in names if verb != "stop" or _is_known(guest, name)]
    busy = {"deactivating", "activating"}
    if verb in {"stop", "restart", "try-restart"} and "stop" not in done:
        done.append("stop")
        request["was"] = [service.phase for service in services]
        for service in services:
            service.stop()
    if "stop" in done and "start" not in done:
        if (waits or verb != "stop") and any(s.phase == "deactivating" for s in services):
            return None
        if verb == "stop":
            return 0, ""
    if "start" not in done:
        done.append("start")
        for service in services:
            service.start()
    if waits and any(service.phase in busy for service in services):
        return None
    failed = [s.unit.name for s in services if s.phase == "failed"]
    return (1, f"Job for {failed[0]} failed.\n") if failed else (0, "")


def _is_known(guest: Guest, name: str) -> bool:
    try:
        guest.service(name)
    except UnitError:
        return False
    return True


def _told(guest: Guest, verb: str, names: list[str]) -> Answer:
    phases = [guest.service(n).phase if _is_known(guest, n) else "inactive" for n in names]
    wanted = "failed" if verb == "is-failed" else "active"
    return (0 if all(p == wanted for p in phases) else 3), "".join(f"{p}\n" for p in phases)


def _enabled(guest: Guest, verb: str, names: list[str]) -> None:
    for name in names:
        if verb == "enable":
            guest.service(name)  # an error if there is none
            guest.enabled = [*dict.fromkeys([*guest.enabled, name])]
        elif verb != "unmask":
            guest.enabled = [known for known in guest.enabled if known != name]


def _shutdown(guest: Guest, words: list[str]) -> Answer:
    if "-c" in words:
        guest.power_at = None
        return 0, ""
    how = "reboot" if {"-r", "--reboot"} & set(words) else "off"
    when = next((word for word in words if not word.startswith("-")), "+1")
    if when != "now" and not when.removeprefix("+").isdecimal():
        return 1, f"Failed to parse time specification: {when}\n"
    return _power(guest, how, 0.0 if when == "now" else 60.0 * int(when))


def _power(guest: Guest, how: str, in_s: float) -> Answer:
    guest.note(f"[init] {how} in {in_s:g} s")
    guest.power_at = time.monotonic() + in_s, how
    return 0, ""


def _apt_get(guest: Guest, words: list[str]) -> Answer:
    plain = [word for word in words if not word.startswith("-") and "=" not in word]
    verb, *names = plain or ["help"]
    if verb in {"update", "clean", "upgrade"}:
        return 0, ""
    for name in names:
        if name not in guest.plan.packages:
            return 100, f"E: Unable to locate package {name}\n"
    for program in filter(None, map(guest.plan.packages.get, names)):
        place = guest.root / ("usr/bin" if guest.plan.is_apart else "bin") / Path(program).name
        place.unlink(missing_ok=True)
        place.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        place.chmod(0o755)
    guest.note(f"[apt-get] {' '.join(plain)}")
    return 0, ""
