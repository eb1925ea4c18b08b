"""The dashboard in real JupyterLab, in a real browser. Only these tests, from the repository's root:

    .venv/bin/python -m pytest tests/browser

They need Chromium or Chrome (Debian: ``apt-get install chromium``) and are skipped where there is none; with
STABLELAB_REQUIRE_BROWSER=1 in the environment that is a failure. The last sight of every test is kept in
tests/browser/screenshots.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from .page import PATIENCE, Notebook, Open, leave
from .server import LabServer

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        why = "no browser found: install Chromium (Debian: apt-get install chromium) or Chrome"
        if os.environ.get("STABLELAB_REQUIRE_BROWSER", "") not in ("", "0"):
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    server = LabServer(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser per module: while Playwright is there its event loop runs in this thread, where others need none."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Shared by the pages of a module, so that JupyterLab's scripts are loaded once."""
    context = browser.new_context(viewport={"width": 1400, "height": 2200})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context
    context.close()


@pytest.fixture(scope="module")
def pages(context: BrowserContext) -> list[Page]:
    """The page that the last test left, with JupyterLab loaded, if it can be used again: loading it takes seconds."""
    return []


@pytest.fixture
def open_notebook(
    server: LabServer, context: BrowserContext, pages: list[Page], request: pytest.FixtureRequest
) -> Iterator[Open]:
    """Call it with code cells: a notebook of this test's own, open and ready."""
    page = pages.pop() if pages else context.new_page()
    failed = request.session.testsfailed
    name = request.node.name.replace("[", "-").rstrip("]")
    yield lambda *cells: Notebook(page, server, name, *cells).ready()
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    if request.session.testsfailed == failed and leave(page):
        pages.append(page)
    else:
        page.close()
    server.shut_kernels()
