"""The stability index is 0 without drift, grows with it, and asks for training only when it matters."""

from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.drift import CALENDAR_FEATURES, REPORT_COLUMNS, DriftReport, report, stability
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.settings import Settings

NORMAL = np.random.default_rng(0).standard_normal(4000)
OTHER = np.random.default_rng(1).standard_normal(4000)

# Few different values, so that ties are the rule; small enough for exact transformations.
samples = st.lists(st.integers(-20, 20) | st.sampled_from((0, 1)), min_size=1, max_size=60).map(
    lambda values: np.array(values, dtype=np.float64)
)


@given(reference=samples, current=samples)
def test_the_index_is_never_negative_and_always_finite(reference: Floats, current: Floats) -> None:
    assert 0 <= stability(reference, current).psi < np.inf


@given(sample=samples, order=st.randoms(use_true_random=False))
def test_equal_samples_in_any_order_have_no_drift(sample: Floats, order: Random) -> None:
    shuffled = sample.tolist()
    order.shuffle(shuffled)
    assert stability(sample, np.array(shuffled)).psi == 0


@given(reference=samples, current=samples)
def test_an_increasing_transformation_of_both_changes_nothing(reference: Floats, current: Floats) -> None:
    for transform in (lambda x: x**3 + x, np.exp, lambda x: 5 * x - 1):
        assert stability(transform(reference), transform(current)) == stability(reference, current)


@given(shifts=st.tuples(st.floats(0, 2), st.floats(0.1, 1)), up=st.booleans())
def test_a_larger_shift_gives_a_larger_index(shifts: tuple[float, float], up: bool) -> None:
    near, far = shifts[0], shifts[0] + shifts[1]
    sign = 1 if up else -1
    assert stability(NORMAL, OTHER + sign * near).psi < stability(NORMAL, OTHER + sign * far).psi


def test_the_index_of_two_shares_is_the_one_by_hand() -> None:
    reference, current = np.array([0.0] * 80 + [1.0] * 20), np.array([0.0] * 60 + [1.0] * 40)
    p, q = np.array([80.5, 20.5]) / 101, np.array([60.5, 40.5]) / 101
    assert stability(reference, current).psi == pytest.approx(((q - p) * np.log(q / p)).sum())


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_the_share_of_a_flag_is_seen_whichever_value_is_the_rule(share: float) -> None:
    reference = np.zeros(5000)
    reference[: round(share * 5000)] = 1
    current = np.zeros(5000)
    current[: round((share + (0.2 if share < 0.9 else -0.2)) * 5000)] = 1
    assert stability(reference, current).psi > 0.1


def test_a_value_that_was_never_there_before_is_seen_on_either_side() -> None:
    constant = np.ones(1000)
    for other in (0.0, 2.0):
        assert stability(constant, np.where(np.arange(1000) < 200, other, 1.0)).level() == "major"


def test_an_empty_bin_gives_a_finite_major_drift() -> None:
    found = stability(NORMAL, np.full(1000, 99.0))
    assert found.level() == "major"
    assert found.psi < 20


def test_without_drift_chance_is_overstepped_about_once_in_a_hundred() -> None:
    rng = np.random.default_rng(2)
    beyond = 0
    for _ in range(500):
        found = stability(rng.standard_normal(2000), rng.standard_normal(300))
        beyond += found.psi > found.chance
    assert 1 <= beyond <= 15


def test_a_handful_of_rows_is_not_called_drift() -> None:
    few = stability(NORMAL, OTHER[:15])
    assert few.psi > 0.25
    assert few.level() == "stable"


@pytest.mark.parametrize(("shift", "level"), [(0.0, "stable"), (0.4, "moderate"), (0.8, "major")])
def test_levels_begin_at_their_index(shift: float, level: str) -> None:
    assert stability(NORMAL, OTHER + shift).level() == level


def test_other_levels_can_be_asked_for() -> None:
    found = stability(NORMAL, OTHER + 0.4)
    assert found.level(moderate=0.5) == "stable"
    assert found.level(major=0.12) == "major"


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf])])
def test_a_sample_that_cannot_be_compared_is_refused(bad: Floats) -> None:
    with pytest.raises(InvalidDataError, match=r"the reference sample .* is empty or not finite; check its days"):
        stability(bad, NORMAL)
    with pytest.raises(InvalidDataError, match=r"the current sample .* is empty or not finite"):
        stability(NORMAL, bad)


NAMES = ["amount", "zscore", "rate", "day_of_week"]
REFERENCES = dict.fromkeys(NAMES, ScoreReference.of(NORMAL))
SCORES = ScoreReference.of(1 / (1 + np.exp(-NORMAL)))
SHARE = Settings.model_fields["max_drifted_share"].default


def watch(
    shifts: dict[str, float],
    score_shift: float = 0.0,
    alerts_per_day: float | None = None,
    expected_alerts_per_day: float | None = None,
) -> DriftReport:
    current = pd.DataFrame({name: OTHER + shifts.get(name, 0.0) for name in NAMES})
    scores = 1 / (1 + np.exp(-OTHER - score_shift))
    return report(
        REFERENCES,
        current,
        score_reference=SCORES,
        scores=scores,
        max_drifted_share=SHARE,
        alerts_per_day=alerts_per_day,
        expected_alerts_per_day=expected_alerts_per_day,
    )


def test_nothing_is_asked_for_without_drift() -> None:
    found = watch({}, alerts_per_day=120, expected_alerts_per_day=100)
    assert not found.retraining_requested
    assert found.reason == "no drift that calls for training"
    assert found.alert_rate_change == 1.2
    assert set(found.rows["level"]) == {"stable", "not compared"}


def test_the_report_has_a_row_for_the_score_and_each_feature_the_largest_first() -> None:
    rows = watch({"rate": 1.0, "amount": 0.3}).rows
    assert tuple(rows) == REPORT_COLUMNS
    assert rows["name"].tolist()[:2] == ["rate", "amount"]
    assert sorted(rows["name"]) == sorted([*NAMES, "anomaly_score"])
    assert (rows["rows"] == 4000).all()
    assert (rows["reference_rows"] == 4000).all()


def test_weekdays_are_named_but_not_compared() -> None:
    found = watch({"day_of_week": 50.0})
    (row,) = found.rows[found.rows["name"].isin(CALENDAR_FEATURES)].to_dict("records")
    assert row["level"] == "not compared"
    assert np.isnan(row["psi"])
    assert not found.retraining_requested
    assert set(found.figures) == {"psi/amount", "psi/zscore", "psi/rate", "psi/anomaly_score"}


def test_scores_that_moved_ask_for_training() -> None:
    found = watch({}, score_shift=1.0)
    assert found.retraining_requested
    assert found.reason.startswith("train again: the scores have moved (index ")


def test_a_third_of_the_features_asks_for_training_fewer_do_not() -> None:
    found = watch({"rate": 1.0})
    assert found.retraining_requested
    assert found.reason == "train again: 1 of 3 features have moved (rate)"
    fewer = report(
        REFERENCES | {"extra": ScoreReference.of(NORMAL)},
        pd.DataFrame({name: OTHER for name in [*NAMES, "extra"]}).assign(rate=OTHER + 1),
        score_reference=SCORES,
        scores=1 / (1 + np.exp(-OTHER)),
        max_drifted_share=SHARE,
    )
    assert "major" in set(fewer.rows["level"])
    assert not fewer.retraining_requested


@pytest.mark.parametrize(("alerts", "asked"), [(49.0, True), (50.0, False), (200.0, False), (201.0, True)])
def test_a_change_of_the_alert_rate_beyond_a_factor_of_two_asks_for_training(alerts: float, asked: bool) -> None:
    found = watch({}, alerts_per_day=alerts, expected_alerts_per_day=100)
    assert found.retraining_requested == asked
    assert (f"{alerts:.1f} alerts a day where 100.0 were expected" in found.reason) == asked
    assert found.figures["alert_rate_change"] == alerts / 100


def test_an_alert_rate_that_nobody_expected_is_not_judged() -> None:
    found = watch({}, alerts_per_day=7.0)
    assert np.isnan(found.alert_rate_change)
    assert "alert_rate_change" not in found.figures


def test_a_feature_that_is_missing_or_no_rows_at_all_are_refused() -> None:
    current = pd.DataFrame({name: OTHER for name in NAMES})
    with pytest.raises(InvalidDataError, match="the features lack rate"):
        report(REFERENCES, current.drop(columns="rate"), score_reference=SCORES, scores=OTHER, max_drifted_share=SHARE)
    with pytest.raises(InvalidDataError, match="the current sample for a drift comparison is empty"):
        report(REFERENCES, current.iloc[:0], score_reference=SCORES, scores=OTHER[:0], max_drifted_share=SHARE)
