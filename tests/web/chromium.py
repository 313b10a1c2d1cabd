"""Debian's Chromium for tests of whole tasks, and axe for what it finds on a page.

Playwright drives the browser that is installed (``apt install chromium fonts-wqy-microhei``) and downloads
none."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

PICTURES = Path(__file__).parents[2] / "docs" / "screenshots"


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The application on a free loopback port while the block lasts."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; not to be had is a skip, under CI=true a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        found = None
    if found is None:
        reason = "no Chromium: apt install chromium fonts-wqy-microhei, pip install playwright"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires a browser: {reason}", pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


WIDE: ViewportSize = {"width": 1280, "height": 900}
LOCALES = {"en": "en-GB", "zh": "zh-CN"}


@contextmanager
def looking(browser: Browser, language: str = "en", **how: Any) -> Iterator[Page]:
    """A window of its own in a language; a complaint of the browser in it fails the test at its end.

    That an answer was a refusal (401, 403 ...) is said in the console too and is no complaint."""
    context = browser.new_context(**{"viewport": WIDE, "locale": LOCALES[language], **how})
    page = context.new_page()
    complaints: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            complaints.append(message.text)

    page.on("console", said)
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    yield page
    assert complaints == []
    context.close()


def enter(page: Page, base: str, account: str, password: str, path: str) -> None:
    """Sign in by the form and go on to a page."""
    page.goto(f"{base}{path}")
    page.locator("input[name=account]").fill(account)
    page.locator("input[name=password]").fill(password)
    page.locator("form[action='/sign-in'] button").click()


def picture(page: Page, name: str, **how: Any) -> None:
    """A picture for docs/screenshots where ``SCREENSHOTS=1`` asks for it; the data are synthetic."""
    if os.environ.get("SCREENSHOTS") == "1":
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", animations="disabled", **how)


def found_by_axe(page: Page) -> list[str]:
    """Violations that axe calls serious or critical, by rule, with their places (axe-core, WCAG 2.2 AA)."""
    from axe_playwright_python.sync_playwright import Axe

    rules = {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
    found = Axe().run(page, options={"runOnly": rules})
    return [
        f"{one['id']} ({one['impact']}): {', '.join(str(node['target']) for node in one['nodes'][:5])}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
