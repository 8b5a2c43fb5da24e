"""Fetch one file from the cluster's bucket, on a machine that has nothing but Python.

::

    python3 first_fetch.py MACHINE_JSON KEY FILE [SHA256]
    python3 first_fetch.py MACHINE_JSON KEY FILE --put

User data carries this file and runs it to get the script that installs everything else, so it needs
only the standard library of the machine's own Python: plain Ubuntu has no `aws` command and no
boto3, curl signs requests in a way that changed between versions, and an address signed beforehand
would end with the credentials of whoever launched the cluster, before the group needs its next
machine. It asks the metadata service (IMDSv2 only) for the machine's role, signs by AWS signature
version 4, and tries again for ten minutes: network and role come a little after the machine.

KEY is from the bucket's root. AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and
AWS_EC2_METADATA_SERVICE_ENDPOINT name other servers, as they do for boto3.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

TRIES = 60
PAUSE_S = 10.0


def metadata(path: str) -> str:
    """What the metadata service says under ``path``."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
    base = base.rstrip("/") + "/latest/"
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    asked = urllib.request.Request(base + "api/token", method="PUT", headers=lifetime)
    with urllib.request.urlopen(asked, timeout=5) as answer:
        token = answer.read().decode()
    asked = urllib.request.Request(base + path, headers={"X-aws-ec2-metadata-token": token})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        return str(answer.read().decode())


def role_credentials() -> dict[str, str]:
    """AccessKeyId, SecretAccessKey and Token of the machine's role."""
    folder = "meta-data/iam/security-credentials/"
    keys: dict[str, str] = json.loads(metadata(folder + metadata(folder).split()[0]))
    return keys


def address_of(bucket: str, region: str, key: str) -> str:
    """The URL of an object."""
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    path = urllib.parse.quote(key, safe="/-_.~")
    if server:
        return server.rstrip("/") + "/" + bucket + "/" + path
    china = ".cn" if region.startswith("cn-") else ""
    return "https://" + bucket + ".s3." + region + ".amazonaws.com" + china + "/" + path


def signed(
    method: str,
    url: str,
    region: str,
    keys: dict[str, str],
    body: bytes = b"",
    now: datetime.datetime | None = None,
) -> urllib.request.Request:
    """The request with the headers that signature version 4 asks for."""
    now = now or datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urllib.parse.urlsplit(url)
    headers = {
        "host": parts.netloc,
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": stamp,
        "x-amz-security-token": keys["Token"],
    }
    names = ";".join(sorted(headers))
    lines = [method, parts.path, parts.query]
    lines += [name + ":" + headers[name] for name in sorted(headers)]
    lines += ["", names, headers["x-amz-content-sha256"]]
    scope = "/".join([day, region, "s3", "aws4_request"])
    asked = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, asked])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in [*scope.split("/"), text]:
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    who = f"Credential={keys['AccessKeyId']}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 {who}, SignedHeaders={names}, Signature={key.hex()}"
    )
    if body:  # urllib would call it a form
        headers["content-type"] = "application/octet-stream"
    return urllib.request.Request(url, method=method, headers=headers, data=body or None)


def main(machine_json: str, key: str, file: str, extra: str = "") -> int:
    """Do what the words on the command line say; 0 when it worked."""
    machine = json.loads(Path(machine_json).read_text())
    region = machine["region"]
    url = address_of(urllib.parse.urlsplit(machine["store"]).netloc, region, key)
    method, body = ("PUT", Path(file).read_bytes()) if extra == "--put" else ("GET", b"")
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            asked = signed(method, url, region, role_credentials(), body)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                data = answer.read()
        except (OSError, ValueError, IndexError, KeyError) as error:
            print(f"fetching {key} failed, try {attempt + 1}: {error}", flush=True)
            continue
        if extra == "--put":
            return 0
        if extra in ("", hashlib.sha256(data).hexdigest()):
            Path(file + ".part").write_bytes(data)
            Path(file + ".part").replace(file)
            return 0
        print(f"fetching {key} gave other bytes than expected", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
