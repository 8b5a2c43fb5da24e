"""A node for a Ray cluster: ``python ray_node.py GCS_ADDRESS NUM_CPUS``, until it is killed."""

from __future__ import annotations

import signal
import sys

from ray._private.node import Node
from ray._private.parameter import RayParams


def main(address: str, num_cpus: int) -> None:
    # `ray start` refuses to add a node to a cluster that keeps to the loopback address.
    params = RayParams(
        gcs_address=address,
        num_cpus=num_cpus,
        num_gpus=0,
        object_store_memory=100 * 2**20,
        node_ip_address="127.0.0.1",
    )
    Node(params, head=False, shutdown_at_exit=True, spawn_reaper=False)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
