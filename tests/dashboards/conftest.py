"""A dashboard as `make dashboard` starts it, a run recorded in it, and a browser that looks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_process import DEADLINE_S, ROOT, Dashboard, start_dashboard
from playwright.sync_api import Browser, sync_playwright

CHROMIUM_VARIABLE = "CHROMIUM"
_ASKED_FOR = "DASHBOARDS"


def missing(why: str) -> None:
    """Skip what needs something that is not here; fail where CI should have installed it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}: .ci/run installs it")
    pytest.skip(why)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(_ASKED_FOR) != "full":
        for item in items:
            if Path(item.path).parent == Path(__file__).parent:
                item.add_marker(pytest.mark.skip(reason="a browser's: make test-dashboards"))


@pytest.fixture(scope="session")
def omniboard_installed() -> None:
    if not (ROOT / "sacred" / "node_modules" / ".ready").exists():
        missing("Omniboard is not installed: sacred/install.sh says what it needs")


@pytest.fixture(scope="module")
def dashboard(
    omniboard_installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    started = start_dashboard(tmp_path_factory.mktemp("dashboard") / "data")
    yield started
    started.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get(CHROMIUM_VARIABLE) or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        missing(f"no chromium on the PATH, and none named by {CHROMIUM_VARIABLE}")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, timeout=1000 * DEADLINE_S)
        yield launched
        launched.close()
