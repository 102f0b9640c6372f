"""A real browser: Debian's Chromium, and what every page in it must keep to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM: Final = shutil.which("chromium") or "/usr/bin/chromium"
ARGS: Final = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = 30_000
SCREENSHOTS: Final = os.environ.get("ACGS_SCREENSHOTS")

needs_chromium: Final = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no Chromium here: apt-get install chromium"
)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield chromium
        chromium.close()


class visiting:  # noqa: N801  # a context manager that reads as a verb
    """A browser of one's own; what its pages complain about fails the test.

    `expected` are statuses of answers that the browser would complain about.
    """

    def __init__(self, browser: Browser, *expected: int) -> None:
        self._context = browser.new_context(viewport={"width": 1280, "height": 800})
        self._context.set_default_timeout(PATIENCE_MS)
        self._expected = tuple(f"status of {status}" for status in (412, *expected))
        self.complaints: list[str] = []

    def __enter__(self) -> Page:
        page = self._context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._on_console)
        return page

    def __exit__(self, kind: object, *_: object) -> None:
        self._context.close()
        assert kind is not None or self.complaints == [], self.complaints

    def _on_console(self, message: Any) -> None:
        # A lost race is a 412, and the browser says so.
        is_expected = any(status in message.text for status in self._expected)
        if message.type == "error" and not is_expected:
            self.complaints.append(message.text)


def require_accessible(page: Page) -> None:
    """Require that axe-core finds nothing, in light and in dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # both are words of theirs
        found = Axe().run(page)
        assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"
    page.emulate_media(color_scheme="light")


def picture(page: Page, name: str) -> None:
    """Take a picture of the page for the documents, if somebody wants them taken again."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"console-{name}.png")
