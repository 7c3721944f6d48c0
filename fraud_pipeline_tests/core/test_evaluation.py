"""The figures of a window, their spread over its days, and several windows and seeds together."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.evaluation import FIGURES, Figures, by_scenario, combine, curve, evaluate, mean_curve
from fraud_pipeline.core.ranking import RANK_FIGURES

FIRST = date(2030, 3, 4)
POOLED = ("recall", "false_positive_rate", "precision", "value_recall", "alerts_per_day")


def window(
    seed: int = 0, *, rows: int = 1400, first: date = FIRST, days: int = 7, strength: float = 2.0
) -> pd.DataFrame:
    """A week of scores whose frauds stand out by ``strength`` standard deviations; rounded, so that some tie."""
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(rows) < 0.05
    score = np.round(rng.standard_normal(rows) + strength * is_fraud, 1)
    return pd.DataFrame(
        {
            "day": [(first + timedelta(int(each))).isoformat() for each in np.sort(rng.integers(0, days, rows))],
            "user_id": rng.integers(0, 300, rows).astype(str),
            "amount": np.round(rng.normal(50, 40, rows), 2),
            "is_fraud": is_fraud,
            "score": score,
            "is_alert": score >= 1.5,
            "scenario": np.where(is_fraud, rng.choice(["stolen card", "skimmed card", ""], rows), ""),
        }
    )


WEEK = window()
FIGURES_OF_WEEK = evaluate(WEEK, resamples=50)


def test_every_figure_is_there_in_order_with_one_value_a_sample() -> None:
    assert tuple(FIGURES_OF_WEEK.value) == FIGURES
    assert tuple(FIGURES_OF_WEEK.spread) == FIGURES
    assert {len(spread) for spread in FIGURES_OF_WEEK.spread.values()} == {50}
    assert FIGURES == (
        "recall",
        "false_positive_rate",
        "precision",
        "roc_auc",
        "average_precision",
        "recall_at_fpr_0.01",
        "recall_at_fpr_0.123",
        "fpr_at_recall_0.85",
        "fpr_at_recall_0.906",
        "card_precision_at_100",
        "alerts_per_day",
        "value_recall",
    )


def test_the_decisions_figures_are_counted() -> None:
    rows = pd.DataFrame(
        {
            "day": [FIRST] * 3 + [FIRST + timedelta(1)] * 2,
            "user_id": ["a", "b", "c", "d", "e"],
            "amount": [30.0, 10.0, 5.0, -60.0, 7.0],
            "is_fraud": [True, False, False, True, True],
            "score": [0.9, 0.8, 0.1, 0.7, 0.2],
            "is_alert": [True, True, False, True, False],
        }
    )
    value = evaluate(rows, resamples=1).value
    assert value["recall"] == 2 / 3
    assert value["false_positive_rate"] == 0.5
    assert value["precision"] == 2 / 3
    assert value["alerts_per_day"] == 1.5
    # The refund of 60 counts as 60: 90 of 97.
    assert value["value_recall"] == pytest.approx(90 / 97)
    # One fraudulent card on the first day, two on the second, of 100 places each.
    assert value["card_precision_at_100"] == pytest.approx(0.015)


def test_the_spread_is_the_figures_of_resampled_days() -> None:
    # 1, 10 and 100 rows: the number of rows of a sample tells how often it has each day.
    sizes = dict(zip(sorted(WEEK["day"].unique()), (100, 10, 1), strict=False))
    rows = pd.concat([WEEK[WEEK["day"] == day].sort_values("score").tail(size) for day, size in sizes.items()])
    figures = evaluate(rows, resamples=30)
    card_precision = {
        day: evaluate(rows[rows["day"] == day], resamples=1).value["card_precision_at_100"] for day in sizes
    }
    for sample, total in enumerate(figures.totals[1:, 3]):
        drawn = {day: int(total) // size % 10 for day, size in sizes.items()}
        assert sum(drawn.values()) == 3
        copies = pd.concat([rows[rows["day"] == day] for day, times in drawn.items() for _ in range(times)])
        expected = evaluate(copies, resamples=1).value
        expected["alerts_per_day"] *= copies["day"].nunique() / 3
        expected["card_precision_at_100"] = sum(times * card_precision[day] for day, times in drawn.items()) / 3
        got = {name: figures.spread[name][sample] for name in FIGURES}
        assert got == pytest.approx(expected, nan_ok=True)


def test_cards_that_were_found_can_be_taken_off_the_lists_of_later_days() -> None:
    # One card with a fraud on each of two days, and on the first day a second one.
    rows = pd.DataFrame(
        {
            "day": [FIRST, FIRST, FIRST + timedelta(1)],
            "user_id": ["a", "b", "a"],
            "amount": 1.0,
            "is_fraud": True,
            "score": 0.5,
            "is_alert": True,
        }
    )
    assert evaluate(rows, resamples=1).value["card_precision_at_100"] == pytest.approx((0.02 + 0.01) / 2)
    removed = evaluate(rows, resamples=1, remove_found=True).value
    assert removed["card_precision_at_100"] == pytest.approx(0.02 / 2)


def test_one_day_has_no_spread() -> None:
    figures = evaluate(WEEK[WEEK["day"] == WEEK["day"].max()], resamples=5)
    for name in FIGURES:
        assert figures.spread[name] == pytest.approx(figures.value[name])


@pytest.mark.parametrize(
    "as_day",
    [
        lambda days: days.map(date.fromisoformat),
        lambda days: days.astype("datetime64[us]"),
        lambda days: days.astype("category"),
    ],
    ids=["dates", "datetimes", "categories"],
)
def test_days_may_be_dates_or_text(as_day: Callable[[pd.Series], pd.Series]) -> None:
    figures = evaluate(WEEK.assign(day=as_day(WEEK["day"])), resamples=50)
    assert figures.value == FIGURES_OF_WEEK.value
    assert (figures.totals == FIGURES_OF_WEEK.totals).all()


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = evaluate(WEEK.sample(frac=1, random_state=1), resamples=50)
    assert shuffled.value == pytest.approx(FIGURES_OF_WEEK.value)
    assert shuffled.spread["roc_auc"] == pytest.approx(FIGURES_OF_WEEK.spread["roc_auc"])


def test_all_models_of_a_window_see_the_same_samples_and_other_windows_others() -> None:
    rows_of = [
        evaluate(scored, resamples=50, seed=seed).totals[:, 3]
        for scored, seed in (
            (WEEK.assign(score=0.0, is_alert=False), 0),
            (WEEK, 1),
            (window(first=FIRST + timedelta(7)), 0),
        )
    ]
    same, other_seed, other_week = (bool((rows == FIGURES_OF_WEEK.totals[:, 3]).all()) for rows in rows_of)
    assert (same, other_seed, other_week) == (True, False, False)


def test_a_week_without_fraud_has_false_alarms_only() -> None:
    value = evaluate(WEEK[~WEEK["is_fraud"]], resamples=3).value
    known = {name for name, figure in value.items() if not np.isnan(figure)}
    assert known == {"false_positive_rate", "precision", "card_precision_at_100", "alerts_per_day"}
    assert value["precision"] == value["card_precision_at_100"] == 0


def test_no_rows_give_no_figures() -> None:
    figures = evaluate(WEEK.head(0), resamples=3)
    assert np.isnan(list(figures.value.values())).all()
    assert all(np.isnan(spread).all() and len(spread) == 3 for spread in figures.spread.values())
    assert not any(estimate.known for estimate in combine([[figures]]).values())


def weeks(seed: int, strength: float = 2.0, resamples: int = 100) -> tuple[list[pd.DataFrame], list[Figures]]:
    frames = [window(10 * seed + each, first=FIRST + timedelta(7 * each), strength=strength) for each in range(3)]
    return frames, [evaluate(frame, resamples=resamples) for frame in frames]


def test_decisions_of_several_weeks_add_up() -> None:
    frames, figures = weeks(1)
    # A busy week weighs more, which a mean of the weeks' figures would miss.
    frames[1] = window(2, first=FIRST + timedelta(7), rows=5000, strength=0.5)
    figures[1] = evaluate(frames[1], resamples=100)
    together = evaluate(pd.concat(frames), resamples=1).value
    combined = combine([figures])
    for name in POOLED:
        assert combined[name].value == pytest.approx(together[name])
        assert combined[name].low < combined[name].value < combined[name].high


def test_rankings_of_several_weeks_are_averaged() -> None:
    _, figures = weeks(2)
    combined = combine([figures])
    for name in (*RANK_FIGURES, "card_precision_at_100"):
        assert combined[name].value == pytest.approx(np.mean([week.value[name] for week in figures]))
        assert combined[name].low <= combined[name].value <= combined[name].high


def test_a_week_without_fraud_does_not_count_for_the_rankings_but_for_the_alerts() -> None:
    frames, figures = weeks(3)
    quiet = frames[2][~frames[2]["is_fraud"]]
    with_quiet = combine([[*figures[:2], evaluate(quiet, resamples=100)]])
    without = combine([figures[:2]])
    assert with_quiet["roc_auc"].value == pytest.approx(without["roc_auc"].value)
    assert with_quiet["recall"].value == pytest.approx(without["recall"].value)
    alerts = sum(int(frame["is_alert"].sum()) for frame in (*frames[:2], quiet))
    assert with_quiet["alerts_per_day"].value == pytest.approx(alerts / 21)


def test_the_interval_holds_the_noise_of_the_seeds() -> None:
    weak, strong = (weeks(4, strength)[1] for strength in (1.0, 3.0))
    single = [combine([each])["average_precision"] for each in (weak, strong)]
    both = combine([weak, strong])["average_precision"]
    assert both.value == pytest.approx((single[0].value + single[1].value) / 2)
    assert both.low == pytest.approx(single[0].low, abs=0.03)
    assert both.high == pytest.approx(single[1].high, abs=0.03)


def test_the_interval_narrows_with_more_weeks() -> None:
    _, figures = weeks(5)
    one, three = (combine([chosen])["recall"] for chosen in (figures[:1], figures))
    assert three.high - three.low < 0.85 * (one.high - one.low)


def test_recall_of_each_scenario() -> None:
    rows = pd.DataFrame(
        {
            "amount": [10.0, -30.0, 5.0, 0.0, 8.0],
            "is_fraud": [True, True, True, True, False],
            "is_alert": [True, False, True, True, True],
            "scenario": ["stolen", "stolen", "", "free", "stolen"],
        }
    )
    expected = pd.DataFrame(
        {
            "scenario": ["free", "stolen", "unknown"],
            "frauds": [1, 2, 1],
            "recall": [1.0, 0.5, 1.0],
            "value_recall": [np.nan, 0.25, 1.0],
        }
    )
    pd.testing.assert_frame_equal(by_scenario(rows), expected, check_dtype=False)


@pytest.mark.parametrize(
    "rows", [WEEK.drop(columns="scenario"), WEEK[~WEEK["is_fraud"]]], ids=["no column", "no fraud"]
)
def test_without_scenarios_or_frauds_there_is_nothing_to_list(rows: pd.DataFrame) -> None:
    listed = by_scenario(rows)
    assert listed.empty
    assert list(listed) == ["scenario", "frauds", "recall", "value_recall"]


def test_a_curve_meets_the_figures() -> None:
    followed = curve(WEEK, points=100)
    assert len(followed) == 100
    assert followed["recall"].iloc[-1] == 1
    assert followed["false_positive_rate"].iloc[84] == FIGURES_OF_WEEK.value["fpr_at_recall_0.85"]


def test_curves_are_averaged_at_equal_recall_over_the_weeks_that_have_one() -> None:
    frames, _ = weeks(6)
    first, second = (curve(frame, points=20) for frame in frames[:2])
    empty = curve(frames[2][~frames[2]["is_fraud"]], points=20)
    mean = mean_curve([first, second, empty])
    pd.testing.assert_frame_equal(mean, (first + second) / 2)
    assert mean_curve([empty]).empty
