"""What machines cost: AWS's price list and spot history, and a dated table behind them."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import botocore.exceptions

from cluster.aws import price_table
from cluster.aws.session import Aws, pages

_HISTORY = timedelta(days=1)

# USD an hour of a thread, for types that neither the price list nor the table knows.
_THREAD_USD = 0.1
_ACCELERATED_USD = 0.6
_ACCELERATED = re.compile(r"(g|p|f|x|u|trn|inf|dl|vt)-?\d")
_UNKNOWN_THREADS = 16.0


class Price(NamedTuple):
    """Of one machine.

    Attributes:
        usd_per_hour: the machine alone.
        source: where that is from, for people.
        zones: spot: USD an hour by availability zone.
    """

    usd_per_hour: float
    source: str
    zones: Mapping[str, float] = MappingProxyType({})


class Prices:
    """Prices in one region; each is asked for once."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._known: dict[tuple[str, bool], Price] = {}

    def of(self, kind: str, spot: bool) -> Price:
        """The price of an instance type; where nobody knows it, a high guess that says so."""
        known = (kind, spot)
        if known not in self._known:
            self._known[known] = self._spot(kind) if spot else self._on_demand(kind)
        return self._known[known]

    def at(self, kind: str, spot: bool, zone: str) -> float:
        """USD an hour of a machine that runs in ``zone``."""
        price = self.of(kind, spot)
        return price.zones.get(zone, price.usd_per_hour)

    def _spot(self, kind: str) -> Price:
        """The newest price of each zone; their median stands for all."""
        newest: dict[str, tuple[datetime, float]] = {}
        try:
            for entry in pages(
                self._aws.ec2,
                "describe_spot_price_history",
                "SpotPriceHistory",
                InstanceTypes=[kind],
                ProductDescriptions=["Linux/UNIX"],
                StartTime=datetime.fromtimestamp(time.time(), UTC) - _HISTORY,
            ):
                found = entry["Timestamp"], float(entry["SpotPrice"])
                zone = entry["AvailabilityZone"]
                newest[zone] = max(found, newest.get(zone, found))
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            newest = {}
        if newest:
            zones = {zone: usd for zone, (_, usd) in sorted(newest.items())}
            return Price(statistics.median(zones.values()), "spot history", zones)
        full = self.of(kind, spot=False)
        share = f"{price_table.SPOT:.0%} of on demand, there being no spot history"
        return Price(full.usd_per_hour * price_table.SPOT, share)

    def _on_demand(self, kind: str) -> Price:
        listed = self._listed(kind)
        if listed is not None:
            return Price(listed, "price list")
        usd = price_table.on_demand_usd(kind, self._aws.region)
        if usd is not None:
            return Price(usd, f"table of {price_table.DATE}")
        return Price(self._guess(kind), "a guess")

    def _listed(self, kind: str) -> float | None:
        """What AWS's price list says; None: it cannot be asked, or does not know."""
        wanted = {
            "instanceType": kind,
            "regionCode": self._aws.region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        filters = [{"Type": "TERM_MATCH", "Field": f, "Value": v} for f, v in wanted.items()]
        try:
            products = self._aws.pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return None
        found = [usd for text in products["PriceList"] for usd in _usd(json.loads(text)) if usd > 0]
        return min(found, default=None)

    def _guess(self, kind: str) -> float:
        """More than threads of common families cost, and than those with accelerators do."""
        try:
            described = self._aws.ec2.describe_instance_types(InstanceTypes=[kind])
            threads = float(described["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"])
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            threads = _UNKNOWN_THREADS
        return threads * (_ACCELERATED_USD if _ACCELERATED.match(kind) else _THREAD_USD)


def _usd(product: dict[str, Any]) -> list[float]:
    """USD an hour in one entry of the price list."""
    return [
        float(dimension["pricePerUnit"].get("USD", 0.0))
        for offer in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in offer.get("priceDimensions", {}).values()
        if dimension.get("unit") == "Hrs"
    ]


def beside_usd_per_hour(volume_gb: int) -> float:
    """What each machine costs beside itself: its disk and its address."""
    disk = volume_gb * price_table.VOLUME_USD_PER_GB_MONTH / price_table.HOURS_PER_MONTH
    return disk + price_table.ADDRESS_USD_PER_HOUR
