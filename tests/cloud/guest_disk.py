"""A guest's file system: everything of this machine's below, nothing that it writes outside."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from pathlib import Path

_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE = 1, 32, 4096, 16384
_OWN = {"tmp": "mode=1777", "run": "mode=755", "dev/shm": "mode=1777", "root": "mode=755"}
_OWN_EMPTY = ("home", "mnt", "media", "srv", "opt", "var/tmp", "var/log", "var/lib/cloud")


class GuestDisk:
    """A root of its own in a mount namespace of its own: this process's, which has been unshared.

    What was on this machine's disk lies below it; what the guest writes is in memory, and gone
    with the namespace.

    Args:
        folder: an empty one to mount things in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "root"

    def make(self, hidden: list[str], shown: dict[str, str]) -> None:
        """Put it together.

        Args:
            hidden: folders of this machine that a guest must not see.
            shown: folders by where a guest finds them; read only.
        """
        _mount("none", self._folder, "tmpfs", data="mode=755")
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={self._folder}/upper,workdir={self._folder}/work"
        _mount("overlay", self.root, "overlay", data=layers)
        _mount("proc", self.root / "proc", "proc")
        for name in ("sys", "dev", "dev/pts"):
            _mount(f"/{name}", self.root / name, flags=_BIND)
        for name, mode in _OWN.items():
            _mount("none", self.root / name, "tmpfs", data=mode)
        for name in _OWN_EMPTY:
            (self.root / name).mkdir(parents=True, exist_ok=True)
            _mount("none", self.root / name, "tmpfs", data="mode=755")
        for name in hidden:
            if (self.root / name.lstrip("/")).is_dir():
                _mount("none", self.root / name.lstrip("/"), "tmpfs", data="mode=755")
        for where, source in shown.items():
            self.show(source, where)

    def show(self, source: str, where: str, *, writable: bool = False) -> None:
        """Have a file or folder of this machine appear in the guest."""
        target = self.root / where.lstrip("/")
        if stat.S_ISDIR(Path(source).stat().st_mode):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        _mount(source, target, flags=_BIND | _RECURSIVE)
        if not writable:
            _mount(None, target, flags=_BIND | _REMOUNT | _READ_ONLY)

    def write(self, where: str, text: str, mode: int = 0o644) -> None:
        """A file of the guest's, whatever was there."""
        target = self.root / where.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.write_text(text)
        target.chmod(mode)

    def enter(self) -> None:
        """Be in it, for good."""
        os.chroot(self.root)
        os.chdir("/")


def empty(folders: list[str]) -> None:
    """Remove what is in them, as a reboot does to those in memory."""
    for folder in map(Path, folders):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _mount(
    source: str | None, target: Path, kind: str | None = None, *, flags: int = 0, data: str = ""
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]):
        code = ctypes.get_errno()
        raise OSError(code, f"{target}: {os.strerror(code)}")
