"""A run of ours in Omniboard, looked at with a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dashboard_process import DEADLINE_S, ROOT, Dashboard
from playwright.sync_api import Browser, Page, expect

NUM_GENERATIONS = 12
METRIC = "fitness/mean"

expect.set_options(timeout=1000 * DEADLINE_S)
pytestmark = pytest.mark.timeout(2 * DEADLINE_S)


@dataclass
class Recorded:
    """A run that was recorded in the dashboard while it went."""

    run_id: int
    path: Path


@pytest.fixture(scope="module")
def recorded(dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    runs_dir = tmp_path_factory.mktemp("runs")
    options = [f"runs_dir={runs_dir}", f"num_generations={NUM_GENERATIONS}", "workers=1"]
    subprocess.run(
        [sys.executable, "es/experiment.py", "with", "sphere", *options],
        cwd=ROOT,
        env=os.environ | dashboard.exported,
        check=True,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    return Recorded(1, runs_dir / "1")


@pytest.fixture(scope="module")
def page(browser: Browser, dashboard: Dashboard, recorded: Recorded) -> Iterator[Page]:
    """Omniboard with the details of the only run unfolded."""
    with browser.new_context(viewport={"width": 1400, "height": 1600}) as context:
        context.set_default_timeout(1000 * DEADLINE_S)
        opened = context.new_page()
        opened.goto(dashboard.url, wait_until="domcontentloaded")
        opened.locator("[test-attr=cell-row_expander-0]").click()
        yield opened


def test_the_run_shows_with_its_number_and_its_end(page: Page) -> None:
    expect(page.get_by_text("1 experiments")).to_be_visible()
    expect(page.get_by_text("COMPLETED", exact=True)).to_be_visible()
    expect(page.get_by_text("(Id: 1)")).to_be_visible()


def test_its_metrics_plot_every_generation(page: Page, recorded: Recorded) -> None:
    page.get_by_text("Metrics Plot", exact=True).first.click()
    plot = page.locator(".js-plotly-plot")
    expect(plot.locator(".scatterlayer .trace path.js-line").first).to_be_visible()
    drawn = plot.evaluate("(graph, name) => graph.data.find((line) => line.name === name)", METRIC)
    with (recorded.path / "metrics.jsonl").open() as lines:
        values = [json.loads(line)["metrics"][METRIC] for line in lines]
    assert drawn["y"] == values
    assert drawn["x"] == list(range(NUM_GENERATIONS))


def test_its_settings_are_there(page: Page) -> None:
    page.get_by_text("Config", exact=True).click()
    expect(page.get_by_text("Sphere-v0").first).to_be_visible()


def test_an_artifact_downloads_as_it_is(page: Page, recorded: Recorded) -> None:
    last = max((recorded.path / "checkpoints").glob("generation_*.npz"))
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_role("heading", name=last.name).click()
    with page.expect_download() as waiting:
        page.locator(f'[test-attr$="{last.name}"]').click()
    assert waiting.value.path().read_bytes() == last.read_bytes()
