"""Somebody with an account in the simulated cloud, who types our commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from baked_image import bring_baked_image
from machines import Machine
from simulated_cloud import ROOT, SimulatedCloud

from cluster.machine.ship_log import FILES

PATIENCE_S = 300.0
"""For one command, or for machines to do what was asked of them, on a busy machine."""


class AwsUser:
    """One at a shell, in a folder of their own.

    Args:
        cloud: where the account is; a new one.
        folder: empty.
    """

    def __init__(self, cloud: SimulatedCloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        folder.mkdir()
        # Said where machines have no disk of their own, and log in other places.
        cloud.environment["WALKING_ES_LOGS"] = ":".join(FILES)
        self.environment = {
            **cloud.moto.environment,
            "HOME": str(folder),
            "WALKING_ES_HOME": str(folder / "walking-es"),
            "WALKING_ES_OWNER": "tester",
            "WALKING_ES_IMAGE_ID": bring_baked_image(cloud, folder),
        }

    def sets_up(self) -> None:
        """The account, once, with the rights for that; from then on with those for the rest only,
        and machines with their roles'.
        """
        moto = self.cloud.moto
        said = [self.types("manage", "policy", *more) for more in ([], ["--for_setup"])]
        needed, besides = (json.loads(policy)["Statement"] for policy in said)
        user = moto.keys_of("user", *needed)
        owner = moto.keys_of("owner", *needed, *besides)
        moto.enforce_policies()
        self.environment |= owner
        self.types("manage", "setup")
        s3 = moto.client("s3")
        for bucket in s3.list_buckets()["Buckets"]:
            # It asks for TLS: moto heeds what is denied, and not on what condition.
            s3.delete_bucket_policy(Bucket=bucket["Name"])
        self.environment |= user

    def types(self, script: str, *words: str) -> str:
        """What ``python cluster/SCRIPT.py WORDS`` prints.

        Raises:
            AssertionError: it fails, with what it and the machines say.
        """
        done = self.tries(script, *words)
        if done.returncode:
            stories = "\n".join(machine.story() for machine in self.cloud.machines.values())
            raise AssertionError(f"{script} {words}: {done.stdout}\n{stories}")
        return done.stdout

    def tries(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """The same, whatever comes of it."""
        return subprocess.run(
            [sys.executable, str(ROOT / "cluster" / f"{script}.py"), *words],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )

    def launches(self, name: str, config: str, *words: str) -> None:
        """A cluster; its machines are started, and waited for by nobody yet."""
        given = [f"--cluster_name={name}", f"--config={config}", "--workers_per_machine=1"]
        self.types("launch", "launch", *given, *words, "--yes")

    def status(self, name: str) -> dict[str, Any]:
        """A cluster's, as ``manage.py status --json`` says."""
        found: dict[str, Any] = json.loads(self.types("manage", "status", name, "--json"))
        return found

    def machine(self, name: str, role: str) -> Machine:
        """One of a cluster's that run, of that role."""
        return self.machines(name, role)[0]

    def machines(self, name: str, role: str) -> list[Machine]:
        """All of a cluster's that run, of that role."""
        said = self.cloud.moto.client("ec2").describe_instances(
            Filters=[
                {"Name": "tag:Name", "Values": [f"walking-es-{name}-*-{role}"]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ]
        )["Reservations"]
        ids = [i["InstanceId"] for reservation in said for i in reservation["Instances"]]
        return [m for m in self.cloud.running if m.name in ids]

    def waits_for(self, name: str, *, generation: int = 0, workers: int = 0) -> dict[str, Any]:
        """Until the head of a cluster has said that it came so far; what it said."""

        def there() -> dict[str, Any] | None:
            said = self.progress(name)
            has_come = (said.get("generation") or 0) >= generation
            return said if said and has_come and said["num_workers"] >= workers else None

        what = f"generation {generation} with {workers} workers"
        found: dict[str, Any] = self.cloud.wait_for(there, what, PATIENCE_S)
        return found

    def progress(self, name: str) -> dict[str, Any]:
        """What the head said last, read from the bucket; empty: nothing yet."""
        return self.stored(name, "progress.json")

    def stored(self, name: str, file: str) -> dict[str, Any]:
        """A file of the cluster's place in the bucket; empty: it is not there."""
        s3 = self.cloud.moto.client("s3")
        for bucket in s3.list_buckets()["Buckets"]:
            prefix = f"clusters/{name}-"
            found = s3.list_objects_v2(Bucket=bucket["Name"], Prefix=prefix).get("Contents", [])
            for entry in found:
                if entry["Key"].endswith(f"/{file}") and entry["Key"].count("/") == 2:
                    body = s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()
                    known: dict[str, Any] = json.loads(body)
                    return known
        return {}

    def code(self) -> tuple[str, str]:
        """The account's bucket, and an archive of our code in it."""
        s3 = self.cloud.moto.client("s3")
        bucket = s3.list_buckets()["Buckets"][0]["Name"]
        found = s3.list_objects_v2(Bucket=bucket, Prefix="source/")["Contents"]
        return bucket, found[0]["Key"]
