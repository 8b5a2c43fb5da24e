"""Where guests have no disk of their own: scripts and units are made to mean a folder instead."""

from __future__ import annotations

import re
from pathlib import Path

_PLACES = re.compile(r"(?<![\w/.-])/(?=(?:etc|opt|run|tmp|var|srv|home|dev/shm)/)")
_BASH = """\
#!/bin/sh
# Scripts of a guest's mean its own folder.
if [ -f "$1" ]; then
    "{interpreter}" -BS "{here}" "{root}" "$1" >"$1.here" && script="$1.here" && shift
    exec /bin/bash "$script" "$@"
fi
exec /bin/bash "$@"
"""
_INSTALL = """\
#!/bin/bash
# Everything belongs to whoever tests.
words=()
while [ $# -gt 0 ]; do
    case $1 in -o|-g) shift ;; *) words+=("$1") ;; esac
    shift
done
exec /usr/bin/install "${words[@]}"
"""
_FOR_ROOT_ONLY = ("chown", "useradd", "groupadd", "usermod", "adduser")


def relocated(text: str, root: Path) -> str:
    """``text`` with the places that a machine's root may write to in ``root``."""
    return _PLACES.sub(f"{root}/", text.replace(f"{root}/", "\0")).replace("\0", f"{root}/")


def lay_out(
    root: Path, interpreter: str, shown: dict[str, str], programs_of_image: dict[str, str]
) -> None:
    """Make the folder that stands for a machine's disk, and the programs that differ in it."""
    for name in ("bin", "root", "tmp", "run", "dev/shm", "opt", "var/log", "etc/systemd/system"):
        (root / name).mkdir(parents=True, exist_ok=True)
    programs = dict.fromkeys(_FOR_ROOT_ONLY, "#!/bin/sh\nexit 0\n")
    programs["bash"] = _BASH.format(interpreter=interpreter, here=__file__, root=root)
    programs["install"] = _INSTALL
    for where, program in programs_of_image.items():
        programs[Path(where).name] = f'#!/bin/sh\nexec {program} "$@"\n'
    programs["python3"] = f'#!/bin/sh\nexec "{interpreter}" "$@"\n'
    for name, text in programs.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    for where, source in shown.items():
        path = root / where.lstrip("/")
        if where != source:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(source)


if __name__ == "__main__":
    import sys

    sys.stdout.write(relocated(Path(sys.argv[2]).read_text(), Path(sys.argv[1])))
