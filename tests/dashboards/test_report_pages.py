"""A report in a real browser: narrow and wide, light and dark, alone on an island."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from dashboard_process import DEADLINE_S, ROOT
from playwright.sync_api import Browser, Page, expect

Scheme = Literal["light", "dark"]

pytestmark = pytest.mark.timeout(2 * DEADLINE_S)


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a real run, side by side with itself."""
    folder = tmp_path_factory.mktemp("report")
    words = ["sphere", "pool=serial", "num_generations=8", f"runs_dir={folder / 'runs'}"]
    call("es/experiment.py", "with", *words)
    shutil.copytree(folder / "runs" / "1", folder / "runs" / "2")
    page = folder / "report.html"
    call("-m", "tracking.report", "1", "2", f"--runs_dir={folder / 'runs'}", f"--out={page}")
    return page


def call(*words: str) -> None:
    subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"ES_MONGO_URL": ""},
        check=True,
        capture_output=True,
        timeout=DEADLINE_S,
    )


@pytest.fixture(params=[(380, "light"), (380, "dark"), (1600, "light")], ids=str)
def shown(
    request: pytest.FixtureRequest, browser: Browser, report_file: Path
) -> Iterator[tuple[Page, int, Scheme]]:
    """The report as it opens, with every part unfolded."""
    width, scheme = request.param
    with browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme
    ) as context:
        context.set_default_timeout(1000 * DEADLINE_S)
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: wrong.append(request.url))
        page.goto(report_file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((part) => part.open = true)")
        yield page, width, scheme
        # Only the page itself was asked for, and nothing was refused or complained of.
        assert wrong == [report_file.as_uri()]


def test_nothing_is_wider_than_the_screen(shown: tuple[Page, int, Scheme]) -> None:
    page, width, _ = shown
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate(
        "[...document.querySelectorAll('figure svg[role=img] text')]"
        ".filter((text) => text.checkVisibility())"
        ".map((text) => text.getBoundingClientRect()).map((box) => [box.left, box.right])"
    )
    assert sizes
    assert all(left >= -1 and right <= width + 1 for left, right in sizes)


def test_each_figure_is_shown_once_in_the_size_that_fits(shown: tuple[Page, int, Scheme]) -> None:
    page, width, _ = shown
    fitting, other = ("narrow", "wide") if width < 500 else ("wide", "narrow")
    for plots in page.locator("figure").all():
        assert plots.locator(f".{fitting}:visible").count() <= 1
        assert plots.locator(f".{other}:visible").count() == 0
    assert page.locator(f".{fitting}:visible").count() >= 6


def test_words_stand_out_from_the_page(shown: tuple[Page, int, Scheme]) -> None:
    page, _, scheme = shown
    style = "getComputedStyle(document.querySelector('{}')).{}"
    paper = luminance(page.evaluate(style.format("body", "backgroundColor")))
    assert (paper < 0.5) is (scheme == "dark")
    for selector in ("body", "figcaption", "th", "footer"):
        word = luminance(page.evaluate(style.format(selector, "color")))
        lighter, darker = max(word, paper), min(word, paper)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2, level AA


def test_what_curves_are_drawn_over_is_chosen_without_a_script(
    shown: tuple[Page, int, Scheme],
) -> None:
    page, *_ = shown
    first = page.locator("figure").first
    for title, name in (("training time", "time"), ("generation", "generation")):
        page.locator("nav label", has_text=title).click()
        expect(first.locator(".by:visible")).to_have_count(1)
        expect(first.locator(f".by.{name}")).to_be_visible()


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, by WCAG 2."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
