"""What a user may choose about clusters on AWS: from cluster.toml, the environment, or options."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from errors import ConfigError

DEFAULT_WORKER_TYPES = ("c7i.2xlarge", "c6i.2xlarge", "m7i.2xlarge", "m6i.2xlarge")
"""Eight threads of Intel each: machines of one maker compute alike, and four pools of spot capacity
are interrupted less often than one."""

_PATTERNS = {
    "bucket": re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
    "image_id": re.compile(r"ami-[0-9a-f]{8,17}"),
    "head_type": re.compile(r"[a-z0-9-]+\.[a-z0-9-]+"),
}
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}")
_EXPECTED = {
    "bucket": "3 to 63 lower-case letters, digits and hyphens (no dots: TLS does not cover them)",
    "image_id": "an image's id such as ami-0123456789abcdef0",
    "head_type": "an instance type such as m7i.large",
}


class AwsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where and of what clusters are made. No secret is in it.

    Attributes:
        region: such as ``eu-central-1``; None: what boto3 finds.
        profile: of ``~/.aws/config``; None: boto3's own chain.
        bucket: None: ``walking-es-ACCOUNT-REGION``.
        subnet_ids: where machines stand; empty: every default subnet of the default VPC.
        key_name: EC2 key pair for ssh; None: no ssh.
        ssh_from: CIDR that ssh is let in from, set up with the account; None: nobody.
        head_type: instance type of the head.
        worker_types: instance types of worker machines, any of which will do.
        spot: whether worker machines may be taken away, at a third of the price.
        on_demand_base: how many of them never are.
        max_price: USD an hour that a worker machine may cost as spot; None: the on-demand price.
        image_id: None: a baked image that fits, else Ubuntu 24.04.
        volume_gb: disk of each machine, GB.
    """

    region: str | None = None
    profile: str | None = None
    bucket: str | None = None
    subnet_ids: tuple[str, ...] = ()
    key_name: str | None = None
    ssh_from: str | None = None
    head_type: str = "m7i.large"
    worker_types: tuple[str, ...] = DEFAULT_WORKER_TYPES
    spot: bool = True
    on_demand_base: int = 0
    max_price: float | None = None
    image_id: str | None = None
    volume_gb: int = 30

    def __post_init__(self) -> None:
        for name, pattern in _PATTERNS.items():
            value = getattr(self, name)
            if value is not None and not pattern.fullmatch(value):
                raise ConfigError(f"{name}={value!r}: expected {_EXPECTED[name]}")
        for kind in self.worker_types:
            if not _PATTERNS["head_type"].fullmatch(kind):
                raise ConfigError(f"worker_type={kind!r}: expected {_EXPECTED['head_type']}")
        for subnet in self.subnet_ids:
            if not _SUBNET.fullmatch(subnet):
                raise ConfigError(f"subnet_ids={subnet!r}: expected ids such as subnet-0123abcd")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not self.worker_types or len(set(self.worker_types)) < len(self.worker_types):
            raise ConfigError("worker_types: expected one or more instance types, each named once")
        if self.on_demand_base < 0:
            raise ConfigError(f"on_demand_base={self.on_demand_base}: expected 0 or more machines")
        if self.max_price is not None and not self.max_price > 0:
            raise ConfigError(f"max_price={self.max_price}: expected dollars an hour above 0")
        if not 8 <= self.volume_gb <= 16_384:
            raise ConfigError(f"volume_gb={self.volume_gb}: expected 8 to 16384")
        if self.ssh_from is not None:
            check_cidr(self.ssh_from)


def check_cidr(cidr: str) -> None:
    """Refuse what names no network, and what names the whole internet.

    Raises:
        ConfigError: in one line.
    """
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        raise ConfigError(f"ssh_from={cidr!r}: expected a CIDR such as 203.0.113.7/32") from None
    if network.prefixlen == 0:
        raise ConfigError(
            f"ssh_from={cidr}: that is everybody; name your own address, such as 203.0.113.7/32"
        )
