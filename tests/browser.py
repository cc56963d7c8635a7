"""A real browser without network, for tests of what a reader sees.

Chromium is the system's own, found on the path, else the one that Playwright installed.
Without one these tests are skipped; where the environment variable CI is set they fail
instead.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
]


def chromium() -> str:
    """Return the path of a Chromium; skip the test, or fail it in CI, without one."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    if os.path.exists(path):
        return path
    reason = (
        f"no Chromium: none of {', '.join(NAMES)} on the path, and none installed by "
        "`playwright install chromium`"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a Chromium; only one at a time, as Playwright has it."""
    executable = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(
    browser: Browser,
    path: Path,
    *,
    javascript: bool = True,
    scheme: str = "light",
    width: int = 1200,
) -> Page:
    """Open a built page from its file, with the network cut.

    The page has an attribute `problems`: what went wrong in it so far. That is every
    error and warning of its scripts, every request that failed and every request for
    anything but a file.

    Args:
        browser: a running browser.
        path: the HTML file.
        javascript: whether scripts run. Defaults to `True`.
        scheme: the colour scheme that the reader prefers. Defaults to `"light"`.
        width: of the window, in pixels. Defaults to 1200.
    """
    context = browser.new_context(
        offline=True,
        java_script_enabled=javascript,
        color_scheme=scheme,
        viewport={"width": width, "height": 1000},
    )
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            message.type in ("error", "warning") and page.problems.append(message.text)
        ),
    )
    page.on(
        "requestfailed",
        # One that is given up because the page is left has failed in nothing.
        lambda request: (
            request.failure == "net::ERR_ABORTED"
            or page.problems.append(f"failed request for {request.url}")
        ),
    )
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "blob:"))
            or page.problems.append(f"request for {request.url}")
        ),
    )
    page.goto(path.resolve().as_uri())
    return page
