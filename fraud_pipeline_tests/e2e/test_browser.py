"""What a data engineer does in the browser: the whole daily chain, Materialize, thirty days."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from docs import screenshots
from fraud_pipeline_tests.e2e.deployment import DAILY, HISTORY, Dagster

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        screenshots.CHROMIUM is None, reason="needs a `chromium` on the PATH (apt-get install chromium)"
    ),
]


def test_materialising_thirty_days_of_the_daily_chain_is_one_run(dagster: Dagster, tmp_path: Path) -> None:
    days = HISTORY[:30]
    with screenshots.browser() as page:
        screenshots.open_asset_graph(page, dagster.url, screenshots.DAILY_CHAIN)
        screenshots.take(page, tmp_path / "asset-graph.png")
        dialog = screenshots.fill_in_days(page, days[0], days[-1])
        assert f"{len(DAILY)} assets" in dialog.inner_text()
        screenshots.take(page, tmp_path / "materialize-30-days.png")
        run_id = screenshots.launch(page, dagster.url, dialog)
        screenshots.open_run(page, dagster.url, run_id)
        expect(page.get_by_text("Errored (0)")).to_be_visible()
        screenshots.take(page, tmp_path / "run.png")
    (run,) = dagster.runs({"dagster/from_ui": "true"})
    assert (run["id"], run["status"]) == (run_id, "SUCCESS")
    assert run["tags"]["dagster/asset_partition_range_start"] == days[0].isoformat()
    assert run["tags"]["dagster/asset_partition_range_end"] == days[-1].isoformat()
    for asset in DAILY:
        figures = dagster.materialisations(asset, run_id)
        assert sorted(figures) == [day.isoformat() for day in days], asset
        assert all(figures.values()), asset


def test_the_plot_and_the_checks_of_the_threshold_are_shown(dagster: Dagster, tmp_path: Path) -> None:
    with screenshots.browser() as page:
        screenshots.open_plot(page, dagster.url)
        screenshots.take(page, tmp_path / "pr-curve.png")
        screenshots.open_checks(page, dagster.url)
        expect(page.get_by_text("target_recall_feasible").first).to_be_visible()
        screenshots.take(page, tmp_path / "checks.png")
