"""How a unit's service is kept in: what it may write to, whose it is; as systemd does it."""

from __future__ import annotations

import pwd
import shlex

from unit_file import Unit

# Each mount on its own is made read-only, but for the kernel's and what is named as writable.
_STRICT = """\
while read -r _ _ _ _ place _; do
    case $place in
        /dev|/dev/*|/proc|/proc/*|/sys|/sys/*) ;;
        *) case " $writable " in
            *" $place "*) ;;
            *) mount -o remount,bind,ro "$place" 2>/dev/null || : "is hidden by another" ;;
        esac ;;
    esac
done < /proc/self/mountinfo
"""
# An empty one, but for what is mounted below it: part of the image, as this machine has it.
_PRIVATE_TMP = """\
private=$(mktemp -d /run/private-tmp.XXXXXX)
mount -t tmpfs -o mode=1777 none "$private"
while read -r _ _ _ _ place _; do
    case $place in /tmp/*)
        mkdir -p "$private/${place#/tmp/}"
        mount --bind "$place" "$private/${place#/tmp/}" ;;
    esac
done < /proc/self/mountinfo
mount --rbind "$private" /tmp
mount -t tmpfs -o mode=1777 none /var/tmp
"""


def confined(unit: Unit, words: list[str]) -> list[str]:
    """The command that runs ``words`` in a mount namespace of its own, where the unit asks for it.

    As root; the service has its unit's user.
    """
    lines = ["set -e"]
    writable = [path.lstrip("+-") for path in [*unit.made_folders.values(), *unit.writable]]
    if unit.has_private_tmp:
        writable += ["/tmp", "/var/tmp"]
        lines.append(_PRIVATE_TMP)
    if unit.is_strict:
        lines += [f"mount --rbind {shlex.quote(p)} {shlex.quote(p)}" for p in writable]
        lines += [f"writable={shlex.quote(' '.join(writable))}", _STRICT]
    become = []
    if unit.user:
        group = pwd.getpwnam(unit.user).pw_gid
        become = [f"--reuid={unit.user}", f"--regid={group}", "--clear-groups"]
    become += ["--no-new-privs"] if unit.may_gain_nothing else []
    lines.append(shlex.join(["exec", "setpriv", *become, "--"]) + ' "$@"')
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh", *words]
