"""Send the end of a file to the machine's log stream: ``last_words.py MACHINE_JSON FILE``.

For a machine that could not be set up: it has the system's Python and nothing else, so this file
imports the standard library, and `cluster/aws/first_fetch.py`, which is made for the same.
"""

import datetime
import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path

MOST_LINES = 500
_TARGET = "Logs_20140328."
_TIMEOUT_S = 20


def request_to(
    url: str, region: str, keys: dict[str, str], action: str, body: bytes, now: datetime.datetime
) -> urllib.request.Request:
    """A call of CloudWatch Logs, signed by AWS signature version 4."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": url.split("/")[2],
        "x-amz-date": stamp,
        "x-amz-security-token": keys["Token"],
        "x-amz-target": _TARGET + action,
    }
    names = ";".join(sorted(headers))
    lines = ["POST", "/", "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names]
    asked = "\n".join([*lines, hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/logs/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(asked.encode()).hexdigest()])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in (*scope.split("/"), text):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, SignedHeaders={names}, "
        f"Signature={key.hex()}"
    )
    return urllib.request.Request(url, data=body, headers=headers, method="POST")


def main(machine_json: str, file: str) -> int:
    """Send it; 0 when it was taken."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "aws"))
    first_fetch = import_module("first_fetch")
    machine = json.loads(Path(machine_json).read_text())
    region = machine["region"]
    china = ".cn" if region.startswith("cn-") else ""
    named = os.environ.get("AWS_ENDPOINT_URL_LOGS") or os.environ.get("AWS_ENDPOINT_URL")
    url = (named or f"https://logs.{region}.amazonaws.com{china}").rstrip("/") + "/"
    lines = Path(file).read_text(errors="replace").splitlines()[-MOST_LINES:]
    keys = first_fetch.role_credentials()
    now = datetime.datetime.now(datetime.UTC)
    stream = f"{machine['role']}/{first_fetch.metadata('meta-data/instance-id')}"
    where = {"logGroupName": machine["log_group"], "logStreamName": stream}
    said = [
        {"timestamp": int(now.timestamp() * 1000), "message": line[:1000]}
        for line in lines
        if line.strip()
    ]
    for action, words in (
        ("CreateLogStream", where),
        ("PutLogEvents", {**where, "logEvents": said}),
    ):
        asked = request_to(url, region, keys, action, json.dumps(words).encode(), now)
        try:
            urllib.request.urlopen(asked, timeout=_TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            told = error.read().decode(errors="replace")
            if "AlreadyExists" not in told:
                print(f"the log was not taken: {told[:300]}", flush=True)
                return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"the log could not be sent: {error}")
