"""What machines cost on demand, for when AWS's own price list cannot be asked."""

from __future__ import annotations

import re

DATE = "2025-01"
REGION = "us-east-1"

# USD an hour of a `.large` (two threads), Linux, shared tenancy; other sizes in proportion.
_LARGE_USD = {
    "c5": 0.085,
    "c5a": 0.077,
    "c6a": 0.0765,
    "c6g": 0.068,
    "c6i": 0.085,
    "c7a": 0.10264,
    "c7g": 0.0725,
    "c7i": 0.08925,
    "m5": 0.096,
    "m5a": 0.086,
    "m6a": 0.0864,
    "m6g": 0.077,
    "m6i": 0.096,
    "m7a": 0.11592,
    "m7g": 0.0816,
    "m7i": 0.1008,
    "r5": 0.126,
    "r6i": 0.126,
    "r7i": 0.1323,
    "t3": 0.0832,
    "t3a": 0.0752,
}
_SMALL = {"nano": 1 / 16, "micro": 1 / 8, "small": 1 / 4, "medium": 1 / 2, "large": 1.0}
_X = re.compile(r"(\d*)xlarge")

ELSEWHERE = 1.3
"""Other regions cost up to so many times as much; a price should rather be too high."""

SPOT = 0.4
"""Spot as a share of the on-demand price where there is no history; mostly it is less."""

VOLUME_USD_PER_GB_MONTH = 0.08
"""gp3, us-east-1."""

ADDRESS_USD_PER_HOUR = 0.005
"""A public IPv4 address, everywhere, since February 2024."""

HOURS_PER_MONTH = 730.0


def on_demand_usd(kind: str, region: str) -> float | None:
    """USD an hour of an instance type; None: the table does not have it."""
    family, _, size = kind.partition(".")
    large = _LARGE_USD.get(family)
    times = _SMALL.get(size)
    if matched := _X.fullmatch(size):
        times = 2.0 * int(matched[1] or 1)
    if large is None or times is None:
        return None
    return large * times * (1.0 if region == REGION else ELSEWHERE)
