"""Screenshots of the UI for README and docs, taken of a demo of its own: ``make docs``.

The steps in the browser are functions, which the proofs in ``fraud_pipeline_tests/e2e`` use, too.
"""

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
DAILY_CHAIN = 'not (group:"training" or group:"backtest")'
"""The asset selection that leaves what runs every day."""
MILLISECONDS = 60_000
"""How long a page may take on a busy machine."""


@contextmanager
def browser(width: int = 1500, height: int = 1000) -> Iterator[Page]:
    """Open Chromium with one empty page; it remembers nothing of the last."""
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
    expect(page.get_by_text("Materialize all")).to_be_visible()
    page.get_by_text("Hide navigation").click()
    page.get_by_role("img", name="panel_show_right").click()
    if selection:
        page.locator(".CodeMirror").first.click()
        page.keyboard.type(selection)
        page.keyboard.press("Enter")
    # The keys of the graph do not work while the filter has the focus.
    page.mouse.click(100, page.evaluate("innerHeight") - 20)
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("raw_transactions")).to_be_visible()
    # The top of the graph is put behind the search field.
    corner, bottom = 150, page.evaluate("innerHeight") - 150
    page.mouse.move(corner, bottom)
    page.mouse.down()
    page.mouse.move(corner, bottom + 60, steps=10)
    page.mouse.up()


def fill_in_days(page: Page, first: date, last: date) -> Locator:
    """Press Materialize and choose a range of days; returns the dialog."""
    page.get_by_text("Materialize all").click()
    dialog = page.get_by_role("dialog")
    # Of many days Dagster offers the newest 90.
    recent = dialog.get_by_text("Show all partitions")
    expect(recent.or_(dialog.get_by_text("All time")).first).to_be_visible()
    if recent.is_visible():
        recent.click()
    days = dialog.get_by_placeholder("ex:")
    days.fill(f"[{first}...{last}]")
    days.press("Enter")
    expect(dialog.get_by_text(f"{(last - first).days + 1} partitions", exact=True)).to_be_visible()
    return dialog


def launch(page: Page, url: str, dialog: Locator) -> str:
    """Launch what the dialog says and wait until it succeeded; returns the id of its one run."""
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(dialog).to_be_hidden()
    query = "{partitionBackfillsOrError(limit: 1) {... on PartitionBackfills {results {runs(limit: 9) {id status}}}}}"
    runs: list[dict[str, str]] = []
    for _ in range(300):
        page.wait_for_timeout(1000)
        answer = page.request.post(f"{url}/graphql", data={"query": query}).json()
        runs = answer["data"]["partitionBackfillsOrError"]["results"][0]["runs"]
        if [run["status"] for run in runs] == ["SUCCESS"]:
            return runs[0]["id"]
    raise AssertionError(f"the back-fill did not end in one successful run: {runs}")


def open_run(page: Page, url: str, run_id: str) -> None:
    """Open the page of a finished run, with room for its steps."""
    page.goto(f"{url}/runs/{run_id}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    page.locator("[class*='verticalDivider']").first.drag_to(page.locator("body"), target_position={"x": 600, "y": 480})


def open_plot(page: Page, url: str) -> None:
    """Open the metadata of the calibrated threshold, with its precision-recall curve."""
    page.goto(f"{url}/assets/calibrated_threshold")
    page.get_by_text("Show Markdown").first.click()
    expect(page.get_by_role("dialog").get_by_role("img", name="precision-recall curve")).to_be_visible()


def open_checks(page: Page, url: str) -> None:
    """Open the results of the threshold's checks."""
    page.goto(f"{url}/assets/calibrated_threshold?view=checks")
    expect(page.get_by_text("Latest execution")).to_be_visible()


def take(page: Page, path: Path) -> None:
    """Save what the page shows, once it no longer moves."""
    page.wait_for_timeout(2000)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, animations="disabled")


def main() -> None:
    """Run the demo in a temporary folder, materialise 30 days in the browser, and photograph the pages."""
    if CHROMIUM is None:
        sys.exit("Chromium is not installed; on Debian `apt-get install chromium`.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="fraud_pipeline-docs-", ignore_cleanup_errors=True) as folder:
        settings = Settings.from_env(home=Path(folder), ui_port=port)
        environment = dict(child_environment(settings)) | {
            "FRAUD_PIPELINE_UI_PORT": str(port),
            "DAGSTER_HOME": str(settings.home / "dagster"),
        }

        def command(name: str) -> None:
            program = Path(sys.executable).with_name("fraud-pipeline")
            subprocess.run([program, name], env=environment, check=True)  # noqa: S603 - our own command

        try:
            command("demo")
            command("ui")
            photograph(f"http://127.0.0.1:{port}", settings.first_day)
        finally:
            command("stop")


def photograph(url: str, first_day: date) -> None:
    """Take all screenshots of a deployment with the demo in it."""
    with browser(height=1130) as page:
        open_asset_graph(page, url)
        take(page, IMAGES / "asset-graph.png")
    with browser(height=850) as page:
        open_asset_graph(page, url, DAILY_CHAIN)
        dialog = fill_in_days(page, first_day + timedelta(days=20), first_day + timedelta(days=49))
        take(page, IMAGES / "materialize-30-days.png")
        run_id = launch(page, url, dialog)
    with browser(height=1130) as page:
        open_run(page, url, run_id)
        take(page, IMAGES / "run.png")
    with browser() as page:
        open_plot(page, url)
        take(page, IMAGES / "pr-curve.png")
        open_checks(page, url)
        take(page, IMAGES / "checks.png")


if __name__ == "__main__":
    main()
