"""Screenshots of the running UI, taken of a demo of their own: ``make docs``."""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

from fraud_pipeline.settings import Settings, child_environment

IMAGES = Path(__file__).with_name("images")
CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DAILY_CHAIN = 'not group:"training"'
"""The asset selection that leaves what runs every day."""
MILLISECONDS = 60_000
"""How long a page may take on a busy machine."""


@contextmanager
def browser(width: int = 1500, height: int = 1000) -> Iterator[Page]:
    """Open Chromium with one empty page."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(MILLISECONDS)
        expect.set_options(timeout=MILLISECONDS)
        try:
            yield page
        finally:
            chromium.close()


def open_asset_graph(page: Page, url: str, selection: str = "") -> None:
    """Open the global lineage with all groups expanded, of all assets or of a selection."""
    page.goto(f"{url}/asset-groups")
    page.get_by_text("Hide navigation").click()
    expect(page.get_by_text("Materialize all")).to_be_visible()
    if selection:
        page.locator(".CodeMirror").first.click()
        page.keyboard.type(selection)
        page.keyboard.press("Enter")
        expect(page.get_by_text("champion_model")).to_have_count(0)
    # Only the graph itself answers to the key.
    page.mouse.click(page.viewport_size["width"] / 2, page.viewport_size["height"] - 20)
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("raw_transactions").first).to_be_visible()


def fill_in_days(page: Page, first: date, last: date) -> Locator:
    """Press Materialize and choose a range of days; returns the dialog."""
    page.get_by_text("Materialize all").click()
    dialog = page.get_by_role("dialog")
    # Dagster offers the newest 90 days unless asked for more.
    older = dialog.get_by_text("Show all partitions")
    expect(dialog.get_by_text("Partition selection")).to_be_visible()
    if older.count():
        older.click()
    days = dialog.get_by_placeholder("ex:")
    days.fill(f"[{first}...{last}]")
    days.press("Enter")
    expect(dialog.get_by_text(f"{(last - first).days + 1} partitions")).to_be_visible()
    return dialog


def open_finished_run(page: Page, url: str, run_id: str) -> None:
    """Open the page of a run and wait until all of its steps are drawn as done."""
    page.goto(f"{url}/runs/{run_id}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()


def take(page: Page, name: str) -> Path:
    """Save what the page shows, once it no longer moves."""
    page.wait_for_timeout(2000)
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    return path
