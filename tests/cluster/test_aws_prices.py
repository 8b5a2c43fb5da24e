"""Prices, quotas and capacity: what AWS says where it can be asked, and a cautious guess else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aws_clusters import Account
from moto_cloud import MotoCloud, called

from cluster.aws import price_table
from cluster.aws.machine_types import check_quota
from cluster.aws.prices import Prices
from cluster.aws.session import Aws
from errors import ResourceExhausted


@contextmanager
def answered(aws: Aws, operation: str, answer: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """AWS says that to every such call: moto cannot. What was asked."""
    asked: list[dict[str, Any]] = []

    def say(params: dict[str, Any], **_call: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
        asked.append(params)
        return SimpleNamespace(status_code=200), answer

    with called(aws, f"before-call.{operation}", say):
        yield asked


def product(usd: str, unit: str = "Hrs") -> str:
    """An entry of the price list, as far as anybody reads it."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": usd}}
    return json.dumps({"terms": {"OnDemand": {"x": {"priceDimensions": {"y": dimension}}}}})


def test_the_price_list_is_believed_and_asked_once(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    listed = {"PriceList": [product("0.0000"), product("0.0999"), product("3", "Quantity")]}
    with answered(aws, "pricing.GetProducts", listed) as asked:
        prices = Prices(aws)
        for _ in range(3):
            price = prices.of("c7i.large", spot=False)
        assert (price.usd_per_hour, price.source) == (0.0999, "price list")
        assert len(asked) == 1


def test_without_a_price_list_a_dated_table_speaks_and_beyond_it_a_high_guess(
    cloud: MotoCloud,
) -> None:
    prices = Prices(cloud.aws())
    known = prices.of("c7i.2xlarge", spot=False)
    assert known.usd_per_hour == pytest.approx(0.357 * price_table.ELSEWHERE)
    assert price_table.DATE in known.source
    for kind, usd in (("i3.2xlarge", 0.8), ("g5.xlarge", 2.4), ("x9.large", 9.6)):
        unknown = prices.of(kind, spot=False)
        assert (unknown.source, unknown.usd_per_hour) == ("a guess", pytest.approx(usd))


@pytest.mark.parametrize(
    ("kind", "usd"),
    [
        ("c5.large", 0.085),
        ("m6i.4xlarge", 0.768),
        ("c7i.xlarge", 0.1785),
        ("t3.micro", 0.0104),
        ("c5.metal", None),
        ("x9.large", None),
    ],
)
def test_the_table_knows_sizes_by_proportion(kind: str, usd: float | None) -> None:
    assert price_table.on_demand_usd(kind, price_table.REGION) == pytest.approx(usd)


def test_a_spot_machine_costs_what_its_own_zone_asked_last(cloud: MotoCloud) -> None:
    aws = cloud.aws()

    def entry(zone: str, hour: int, usd: str) -> dict[str, Any]:
        time = datetime(2026, 1, 1, hour, tzinfo=UTC)
        return {"AvailabilityZone": zone, "Timestamp": time, "SpotPrice": usd}

    history = [
        entry("a", 1, "0.9"),
        entry("a", 3, "0.1"),
        entry("b", 2, "0.2"),
        entry("c", 1, "0.6"),
    ]
    with answered(aws, "ec2.DescribeSpotPriceHistory", {"SpotPriceHistory": history}):
        prices = Prices(aws)
        assert prices.of("c7i.large", spot=True).usd_per_hour == 0.2  # the zones' median
        assert prices.at("c7i.large", True, "a") == 0.1
        assert prices.at("c7i.large", True, "unknown") == 0.2
    with answered(aws, "ec2.DescribeSpotPriceHistory", {"SpotPriceHistory": []}):
        price = Prices(aws).of("c7i.large", spot=True)
        assert price.usd_per_hour == pytest.approx(0.4 * 0.08925 * price_table.ELSEWHERE)
        assert "40%" in price.source


def test_a_quota_that_does_not_suffice_is_named_with_what_to_ask_for(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    with answered(aws, "service-quotas.GetServiceQuota", {"Quota": {"Value": 16.0}}):
        assert check_quota(aws, {"m7i.large": 2}, {"c7i.2xlarge": 16}) == []
        with pytest.raises(
            ResourceExhausted, match=r"16 vCPUs as spot.*17 more.*--desired-value 17"
        ):
            check_quota(aws, {"m7i.large": 2}, {"c7i.2xlarge": 17})
        assert check_quota(aws, {"p3.2xlarge": 999}, {}) == []  # has a quota of its own
    (note,) = check_quota(aws, {"m7i.large": 2}, {})
    assert "could not be read" in note


def test_why_worker_machines_do_not_come_is_told_in_awss_words(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    account.launch()
    state = account.provider.cluster("oak", "ada")
    assert account.provider.notes(state) == []

    def failed(message: str) -> dict[str, Any]:
        return {"StatusCode": "Failed", "StatusMessage": message}

    activities = [failed("no c7i.large in a"), failed("no  c7i.large\nin a"), failed("no c6i")]
    answer = {"Activities": [*activities, {"StatusCode": "Successful"}, failed("long ago")]}
    with answered(account.aws, "auto-scaling.DescribeScalingActivities", answer):
        assert account.provider.notes(state) == ["no c7i.large in a", "no c6i"]
