"""What things of ours are called on AWS, and the tags by which they are found again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from errors import ConfigError

ACCOUNT = "walking-es"
"""Name of what an account has once, whatever its clusters: policy, security group; IAM's path."""

CLUSTER_TAG = "walking-es:cluster"
OWNER_TAG = "walking-es:owner"
ROLE_TAG = "walking-es:role"
DISK_TAG = "walking-es:disk-gb"
NAME_TAG = "Name"
IAM_PATH = f"/{ACCOUNT}/"
BOUNDARY = f"{ACCOUNT}-boundary"

Role = Literal["head", "worker"]
ROLES: tuple[Role, ...] = ("head", "worker")

_USUAL_DISK_GB = 30
_TAG_VALUE = re.compile(r"[A-Za-z0-9 +=._:/@-]{1,128}")


class Names(NamedTuple):
    """What a cluster's things are called.

    Attributes:
        key: see `cluster.spec.ClusterSpec.key`.
        owner: who launched it.
    """

    key: str
    owner: str

    @property
    def group(self) -> str:
        """The auto scaling group of its workers."""
        return f"{ACCOUNT}-{self.key}"

    @property
    def log_group(self) -> str:
        """Where its machines' logs go, each in a stream `log_stream`."""
        return f"/{ACCOUNT}/{self.key}"

    @property
    def place(self) -> str:
        """Its place in the bucket, without a slash at the end."""
        return f"clusters/{self.key}"

    def of(self, role: Role) -> str:
        """Its launch template, IAM role and instance profile for machines of that role."""
        return f"{ACCOUNT}-{self.key}-{role}"

    def parameter(self, secret: str) -> str:
        """The SSM parameter that holds one of its secrets."""
        return f"/{ACCOUNT}/{self.key}/{secret}"

    def tags(self, role: Role | None = None) -> dict[str, str]:
        """What all of its things bear."""
        tags = {
            CLUSTER_TAG: self.key,
            OWNER_TAG: self.owner,
            NAME_TAG: self.of(role) if role else self.group,
        }
        return tags | ({ROLE_TAG: role} if role else {})


def log_stream(role: str, machine: str) -> str:
    """The log stream of a machine; what it says while it boots is in the same one."""
    return f"{role}/{machine}"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as most of AWS wants them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(listed: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as AWS lists them, by name; not every API spells the words alike."""
    return {
        tag.get("Key", tag.get("key", "")): tag.get("Value", tag.get("value", ""))
        for tag in listed or ()
    }


def disk_gb(instance: Mapping[str, Any]) -> int:
    """How large a machine's disk is, as it was made."""
    tag = tags_of(instance.get("Tags")).get(DISK_TAG, "")
    return int(tag) if tag.isdecimal() else _USUAL_DISK_GB


def checked_owner(owner: str) -> str:
    """``owner`` if a tag can hold it.

    Raises:
        ConfigError: it cannot.
    """
    if not _TAG_VALUE.fullmatch(owner):
        raise ConfigError(
            f"owner {owner!r}: expected 1 to 128 letters, digits, spaces and +=._:/@-, which is "
            "what a tag of AWS can hold: say --owner"
        )
    return owner
