"""What a fleet's tests share is in the folder beside this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "fleet"))


@pytest.fixture
def show(capfd: pytest.CaptureFixture[str]) -> Any:
    """Print for whoever reads the gate's output, past pytest's capture."""

    def show(text: str) -> None:
        with capfd.disabled():
            print(f"\n{text}", file=sys.stderr, flush=True)

    return show
