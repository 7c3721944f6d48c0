"""Each figure is what it says, passes at its limit and fails beyond it."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core import data_quality as quality
from fraud_pipeline.core.drift import REPORT_COLUMNS, SCORE
from fraud_pipeline.core.transactions import validate
from fraud_pipeline_tests.core.test_transactions import raw

DAY = date(2026, 1, 31)


def texts(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="str")


def test_a_share_of_rejected_rows_over_the_limit_fails_and_a_day_without_rows_has_none() -> None:
    assert quality.reject_rate(5, 100, 0.05).passed
    over = quality.reject_rate(6, 100, 0.05)
    assert not over.passed
    assert over.figures == {"reject_rate": 0.06, "limit": 0.05, "rejected": 6, "rows": 100}
    assert quality.reject_rate(0, 0, 0.0).figures["reject_rate"] == 0.0


def test_valid_transactions_keep_their_schema_and_others_are_told_apart() -> None:
    valid, _ = validate(raw({}, {}), DAY, "UTC")
    assert quality.schema(valid) == quality.Finding(True, {"rows": 2})
    broken = quality.schema(valid.assign(amount=[np.nan, 1.0]))
    assert not broken.passed
    assert "amount" in str(broken.figures["problem"])


def test_duplicates_are_counted_within_the_day_and_across_days() -> None:
    ids = texts("a", "a", "b", None, None, "old", "old", "c", "d", "e")
    found = quality.duplicates(ids, texts("old", "older"), 0.3)
    assert found.passed
    assert found.figures == {"duplicate_rate": 0.3, "limit": 0.3, "within_the_day": 2, "of_days_before": 2}
    assert not quality.duplicates(ids, texts("old"), 0.29).passed
    assert quality.duplicates(ids, None, 0.2).figures["of_days_before"] == 0
    assert quality.duplicates(texts(), None, 0.0).passed


@pytest.mark.parametrize(("rows", "passed"), [(49, False), (50, True), (100, True), (200, True), (201, False)])
def test_volume_is_held_against_the_median_of_earlier_weeks(rows: int, passed: bool) -> None:
    found = quality.volume(rows, [100, 5, 100, 1000], 2.0)
    assert found.passed is passed
    assert found.figures["usual"] == 100
    assert found.figures["ratio"] == rows / 100


def test_a_first_week_has_nothing_to_compare_with_but_no_rows_are_never_right() -> None:
    assert quality.volume(7, [], 2.0).figures["reason"] == "no earlier week to compare with"
    assert quality.volume(7, [0, 0], 2.0).passed
    assert not quality.volume(0, [], 2.0).passed
    assert not quality.volume(0, [5], 2.0).passed


def test_late_rows_are_of_an_earlier_day_in_the_zone_of_the_deployment() -> None:
    times = [
        {"event_time": "2026-01-30T22:59:59Z"},  # the day before in Paris
        {"event_time": "2026-01-30T23:00:00Z"},  # the day itself
        {"event_time": "2026-01-20T12:00", "time_zone": "Europe/Paris"},
        {"event_time": "2026-02-01T12:00:00Z"},  # early
        {"event_time": "soon"},
    ]
    found = quality.late_rows(raw(*times), DAY, "Europe/Paris", 0.4)
    assert found.passed
    assert found.figures == {"late_rate": 0.4, "limit": 0.4, "rows": 2, "oldest_days": 11, "early": 1}
    assert not quality.late_rows(raw(*times), DAY, "Europe/Paris", 0.39).passed
    assert quality.late_rows(raw(), DAY, "UTC", 0.0).passed


def test_the_field_with_most_empty_cells_is_judged() -> None:
    rows = raw({"user_id": None}, {"user_id": " "}, {"amount": ""}, {})
    found = quality.null_rates(rows, 0.5)
    assert found.passed
    assert (found.figures["null_rate"], found.figures["field"], found.figures["amount"]) == (0.5, "user_id", 0.25)
    assert not quality.null_rates(rows, 0.49).passed
    assert quality.null_rates(raw(), 0.0).passed


def report(**levels: str) -> pd.DataFrame:
    psi = {"stable": 0.01, "moderate": 0.15, "major": 0.4, "not compared": np.nan}
    rows = [(name, psi[level], 0.02, level, 100, 100) for name, level in levels.items()]
    return pd.DataFrame(rows, columns=list(REPORT_COLUMNS))


def test_feature_drift_is_the_share_of_major_features() -> None:
    rows = report(
        **{SCORE: "major"}, amount="major", hour_of_day="stable", is_night="moderate", day_of_week="not compared"
    )
    found = quality.feature_drift(rows, 0.34)
    assert found.passed
    assert found.figures["drifted_share"] == 1 / 3
    assert (found.figures["drifted"], found.figures["worst"], found.figures["worst_psi"]) == ("amount", "amount", 0.4)
    assert not quality.feature_drift(rows, 1 / 3).passed
    assert quality.feature_drift(report(amount="stable"), 0.33).passed
    assert quality.feature_drift(report(day_of_week="not compared"), 0.33).figures["reason"]


def test_score_drift_is_judged_by_its_level() -> None:
    assert quality.score_drift(report(**{SCORE: "moderate"}), 0.25).passed
    moved = quality.score_drift(report(**{SCORE: "major"}), 0.25)
    assert not moved.passed
    assert moved.figures["psi"] == 0.4
    assert quality.score_drift(report(amount="major"), 0.25).figures["reason"] == "no score was compared"


@pytest.mark.parametrize(
    ("alerts", "expected", "passed"),
    [(100, 100, True), (29, 100, True), (28, 100, False), (242, 100, True), (243, 100, False), (0, 4, True),
     (17, 4, False), (0, 0, True), (1, 0, False)],
)  # fmt: skip
def test_the_band_of_alerts_is_a_factor_and_what_chance_adds(alerts: int, expected: float, passed: bool) -> None:
    assert quality.alert_rate(alerts, expected, 2.0).passed is passed


def test_the_budget_of_analysts_lowers_the_upper_end() -> None:
    assert quality.alert_rate(150, 100, 2.0).passed
    assert not quality.alert_rate(150, 100, 2.0, budget=100).passed


def test_a_model_ages_with_the_days_it_scores() -> None:
    assert quality.model_age(DAY, date(2026, 1, 1), 30).figures["age_days"] == 30
    assert quality.model_age(DAY, date(2026, 1, 1), 30).passed
    assert not quality.model_age(DAY, date(2025, 12, 31), 30).passed
    assert quality.model_age(DAY, date(2026, 3, 1), 30).figures["age_days"] == 0


def test_label_coverage_is_the_share_of_matured_transactions_with_a_label() -> None:
    found = quality.label_coverage(texts("a", "b", "c", "d"), texts("b", "a", "a", "x", "c"), 0.75)
    assert found.passed
    assert found.figures == {"coverage": 0.75, "limit": 0.75, "due": 4, "labelled": 3}
    assert not quality.label_coverage(texts("a", "b"), texts("a"), 0.75).passed
    assert quality.label_coverage(texts(), texts(), 1.0).figures["reason"]
