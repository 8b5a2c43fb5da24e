"""The image that machines of the simulated cloud start from: this very Python, as if baked."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from simulated_cloud import GuestImage, SimulatedCloud

from cluster.aws.provider import requirements_hash

REDIS_VARIABLE = "TEST_REDIS_SERVER"


def bring_baked_image(cloud: SimulatedCloud, folder: Path) -> str:
    """An image that has everything installed; its id.

    Args:
        cloud: a new one.
        folder: for the image's files; of the test's own.
    """
    ec2 = cloud.moto.client("ec2")
    image: str = ec2.register_image(Name="baked", RootDeviceName="/dev/sda1")["ImageId"]
    stamp = folder / "venv.sha256"
    stamp.write_text(f"{requirements_hash()}\n")
    shown = {"/opt/walking-es/venv": sys.prefix, "/opt/walking-es/venv.sha256": str(stamp)}
    programs = {}
    server = os.environ.get(REDIS_VARIABLE) or shutil.which("redis-server")
    if server:
        programs["/usr/bin/redis-server"] = server
        if not server.startswith("/usr/"):
            home = str(Path(server).parent)
            shown[home] = home
    elif cloud.is_apart:  # the one that a package of ours brings speaks no TLS
        pytest.skip(f"no redis-server with TLS: name one in {REDIS_VARIABLE}")
    cloud.images[image] = GuestImage(shown, programs)
    return image
