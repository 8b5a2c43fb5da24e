"""What a machine is told when it is started: who it is, and where the rest lies, by hash.

User data can be read by whoever may describe the machine and by every process on it, so no secret
is in it. It is a bash script, run once by cloud-init as root::

    shutdown -P +MINUTES                     the dead man's switch, before anything can fail
    /etc/walking-es/machine.json             cluster.machine.platform.MachineSettings
    /etc/walking-es/first_fetch.py           fetches a file of the bucket; see `first_fetch`
    /opt/walking-es/boot.sh                  fetched: boot/<sha256>.sh of the bucket
    bash /opt/walking-es/boot.sh /etc/walking-es/machine.json

`boot.sh` is given that one argument and WALKING_ES_ENDS_S (seconds since 1970) in its environment;
all that it and this script say is in /var/log/walking-es-boot.log. It installs what is missing,
fetches the archives (``python3 /etc/walking-es/first_fetch.py MACHINE_JSON KEY FILE SHA256`` serves
it too), enables its services, and returns 0. When it does not, the machine ends ten minutes later,
so that its log can still be read.

A machine that is to become an image is told so by `bake_user_data`, which gives `boot.sh` the word
``bake`` as a second argument: install everything, start nothing, return.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path

import msgspec

from cluster.machine.platform import MachineSettings
from errors import ConfigError

MOST_BYTES = 16_384
"""EC2's limit, before base64."""

BOOT_LOG = "/var/log/walking-es-boot.log"
FETCH = Path(__file__).with_name("first_fetch.py")

_BEGINNING = """\
#!/bin/bash
# Sets up a {role} of walking-es cluster {key}.
set -u
umask 022
exec > >(tee -a {log}) 2>&1
echo "walking-es: {role} of {key} begins to boot"
export WALKING_ES_ENDS_S={ends_s}
minutes=$(( (WALKING_ES_ENDS_S - $(date +%s)) / 60 ))
shutdown -P "+$(( minutes > 1 ? minutes : 1 ))"
mkdir -p /etc/walking-es /opt/walking-es
cat > /etc/walking-es/machine.json <<'END_OF_SETTINGS'
{settings}
END_OF_SETTINGS
cat > /etc/walking-es/first_fetch.py <<'END_OF_FETCH'
{fetch}
END_OF_FETCH
fetch() {{ python3 /etc/walking-es/first_fetch.py /etc/walking-es/machine.json "$@"; }}
"""

_BOOTS = """\
if fetch 'boot/{boot}.sh' /opt/walking-es/boot.sh '{boot}' \\
    && bash /opt/walking-es/boot.sh /etc/walking-es/machine.json; then
  echo "walking-es: booted"
  exit 0
fi
echo "walking-es: this machine could not be set up and ends in ten minutes"
shutdown -P +10
exit 1
"""


_BAKES = """\
said=failed
if fetch 'boot/{boot}.sh' /opt/walking-es/boot.sh '{boot}' \\
    && bash /opt/walking-es/boot.sh /etc/walking-es/machine.json bake; then
  said=baked
fi
( echo "$said"; tail -n 40 {log} ) > /run/walking-es-said
# What tells one machine from another must not be in an image.
: > {log}
truncate -s 0 /etc/machine-id
sync
fetch '{place}/{said}' /run/walking-es-said --put
"""

BAKE_KEY = "baked"
"""In the store of a machine that is to become an image: how it went, and the end of its log."""


def user_data(settings: MachineSettings, boot: str, ends_s: float) -> str:
    """The script for a machine of a cluster.

    Args:
        settings: what it is told of itself.
        boot: sha256 of the boot script, hexadecimal.
        ends_s: when it ends itself at the latest, seconds since 1970.

    Raises:
        ConfigError: it is longer than EC2 takes.
    """
    return _checked(_beginning(settings, ends_s) + _BOOTS.format(boot=boot))


def bake_user_data(settings: MachineSettings, boot: str, ends_s: float) -> str:
    """The script for a machine that is to become an image; arguments and errors as `user_data`."""
    place = settings.store.removeprefix("s3://").partition("/")[2]
    script = _BAKES.format(boot=boot, log=BOOT_LOG, place=place, said=BAKE_KEY)
    return _checked(_beginning(settings, ends_s) + script)


def _beginning(settings: MachineSettings, ends_s: float) -> str:
    return _BEGINNING.format(
        role=settings.role,
        key=settings.key,
        log=BOOT_LOG,
        ends_s=math.ceil(ends_s),
        settings=msgspec.json.encode(settings).decode(),
        fetch=FETCH.read_text().rstrip(),
    )


def _checked(script: str) -> str:
    size = len(script.encode())
    if size > MOST_BYTES:
        raise ConfigError(
            f"user data of {size} bytes: EC2 takes no more than {MOST_BYTES}; use shorter names "
            "for the cluster and the bucket"
        )
    return script


def encoded(script: str) -> str:
    """As launch templates hold it."""
    return base64.b64encode(script.encode()).decode()
