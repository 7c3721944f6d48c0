"""Each plot is one Markdown image that a browser can show."""

import base64
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from fraud_pipeline.core.calibration import fit_threshold
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.drift import report
from fraud_pipeline.core.label_free_threshold import fit_without_labels
from fraud_pipeline.orchestration import plots
from fraud_pipeline_tests.builders import scored_window

SCORES = np.random.default_rng(0).beta(2, 5, size=500)
DAYS = {date(2026, 3, 1) + timedelta(days=position): position * 3 for position in range(40)}


def pixels(value: dg.MetadataValue[Any]) -> np.ndarray:
    assert isinstance(value, dg.MarkdownMetadataValue)
    text = value.md_str or ""
    assert text.startswith("![")
    assert text.endswith(")")
    encoded = text.partition("](data:image/png;base64,")[2][:-1]
    return np.asarray(imread(BytesIO(base64.b64decode(encoded, validate=True)), format="png"))


@pytest.mark.parametrize(
    "plot",
    [
        plots.precision_recall(fit_threshold(scored_window(), resamples=10)),
        plots.precision_recall(fit_without_labels(scored_window(), max_alerts_per_day=10, resamples=10)),
        plots.score_histogram(SCORES, 0.7),
        plots.score_distributions(SCORES, SCORES**2, 0.7),
        plots.alert_volume(DAYS, expected=50, budget=100),
        plots.alert_volume(DAYS, budget=100),
        plots.alert_volume({date(2026, 3, 1): 3}),
        plots.alert_volume({}),
        plots.alerts_by_risk({"MEDIUM": DAYS, "CRITICAL": DAYS}, list(DAYS)),
        plots.alerts_by_risk({}, list(DAYS)),
        plots.precision_by_day(dict.fromkeys(DAYS, 0.5), list(DAYS)),
        plots.precision_by_day({}, list(DAYS)),
    ],
    ids=[
        "curve",
        "no labels",
        "histogram",
        "distributions",
        "volume",
        "budget only",
        "one day",
        "no day",
        "by risk",
        "no alerts",
        "precision",
        "nothing decided",
    ],
)
def test_a_plot_is_a_small_image_with_something_on_it(plot: dg.MetadataValue[Any]) -> None:
    image = pixels(plot)
    assert image.shape[:2] == (288, 450)
    assert image.std() > 0.01


def test_the_alert_volume_shows_each_day_and_its_lines() -> None:
    plain, marked, fewer = (
        pixels(plots.alert_volume(alerts, expected))
        for alerts, expected in ((DAYS, None), (DAYS, 50.0), (dict.fromkeys(DAYS, 3), None))
    )
    assert (plain != marked).any()
    assert (plain != fewer).any()


def test_levels_are_stacked_and_a_day_without_decisions_is_a_gap() -> None:
    days = list(DAYS)
    medium, both, other = (
        pixels(plots.alerts_by_risk(counts, days))
        for counts in ({"MEDIUM": DAYS}, {"MEDIUM": DAYS, "HIGH": DAYS}, {"HIGH": DAYS})
    )
    assert (medium != both).any()
    assert (medium != other).any()
    every_day = dict.fromkeys(days, 0.5)
    whole, gap = (pixels(plots.precision_by_day(given, days)) for given in (every_day, every_day | {days[20]: np.nan}))
    assert (whole != gap).any()


def test_the_bars_grow_with_the_number_of_features_and_leave_out_what_is_not_compared() -> None:
    def rows(names: list[str]) -> pd.DataFrame:
        frame = pd.DataFrame(dict.fromkeys(names, SCORES + 0.3))
        references = dict.fromkeys(names, ScoreReference.of(SCORES))
        scored = ScoreReference.of(SCORES)
        return report(references, frame, score_reference=scored, scores=SCORES, max_drifted_share=0.33).rows

    few, many = (
        pixels(plots.stability_bars(rows([f"feature {n}" for n in range(size)]), 0.1, 0.25)) for size in (2, 30)
    )
    assert few.shape[0] == 288
    assert many.shape[0] > 600
    with_calendar = pixels(plots.stability_bars(rows(["feature 0", "feature 1", "day_of_week"]), 0.1, 0.25))
    np.testing.assert_array_equal(with_calendar, few)
