"""Small plots as Markdown images, which the Dagster UI shows inline."""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from io import BytesIO
from typing import Any, Final

import dagster as dg
import numpy as np
import pandas as pd

from fraud_pipeline.core.calibration import Calibration

_BLUE: Final = "#4f43dd"
_RED: Final = "#d2421a"
_AMBER: Final = "#e0a100"
_LEVEL_COLOURS: Final = {"stable": _BLUE, "moderate": _AMBER, "major": _RED}
_RISK_COLOURS: Final = {"MEDIUM": _BLUE, "HIGH": _AMBER, "CRITICAL": _RED}


def precision_recall(calibration: Calibration) -> dg.MetadataValue[Any]:
    """Precision over recall on the calibration window, with the chosen point; only words if it had no labels."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        if calibration.target_recall is None:
            axes.text(0.5, 0.5, f"The threshold is for\n{calibration.aim}", ha="center", wrap=True)
        else:
            axes.plot(calibration.recall_curve, calibration.precision_curve, color=_BLUE)
            axes.plot(calibration.recall.value, calibration.precision.value, "o", color=_RED, label="threshold")
            axes.axvline(calibration.target_recall, color="grey", linestyle=":", label="target recall")
            axes.legend()
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="Calibration window")

    return _image("precision-recall curve", draw)


def score_histogram(scores: Sequence[float] | np.ndarray, threshold: float) -> dg.MetadataValue[Any]:
    """Distribution of the anomaly score, with the alert threshold."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        axes.hist(scores, bins=np.linspace(0, 1, 51), color=_BLUE, log=True)
        axes.axvline(threshold, color=_RED, label=f"threshold {threshold:.3f}")
        axes.set(xlabel="anomaly score", ylabel="transactions", xlim=(0, 1), title="Scores of the run")
        axes.legend()

    return _image("score histogram", draw)


def stability_bars(rows: pd.DataFrame, moderate: float, major: float) -> dg.MetadataValue[Any]:
    """Draw the stability index of the score and each compared feature, from the rows of a drift report, with levels."""
    compared = rows[rows["psi"].notna()].iloc[::-1]

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        axes.barh(compared["name"], compared["psi"], color=[_LEVEL_COLOURS[level] for level in compared["level"]])
        axes.axvline(moderate, color="grey", linestyle=":")
        axes.axvline(major, color="grey", linestyle="--")
        axes.tick_params(axis="y", labelsize=7)
        axes.set(xlabel="population stability index", title=f"Drift ({moderate:g} moderate, {major:g} major)")

    return _image("population stability index", draw, height=max(3.2, 0.2 * len(compared) + 1.2))


def score_distributions(
    reference: Sequence[float] | np.ndarray, current: Sequence[float] | np.ndarray, threshold: float
) -> dg.MetadataValue[Any]:
    """Distribution of the anomaly score at calibration and now, with the alert threshold."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        shared: dict[str, Any] = {"bins": np.linspace(0, 1, 51), "density": True, "log": True, "histtype": "step"}
        axes.hist(reference, color="grey", label="calibration window", **shared)
        axes.hist(current, color=_BLUE, label="now", **shared)
        axes.axvline(threshold, color=_RED, label=f"threshold {threshold:.3f}")
        axes.set(xlabel="anomaly score", ylabel="density", xlim=(0, 1), title="Scores at calibration and now")
        axes.legend()

    return _image("score distributions", draw)


def alert_volume(
    alerts: Mapping[date, int], expected: float | None = None, budget: float | None = None
) -> dg.MetadataValue[Any]:
    """Alerts of each day, with what was expected at calibration and the budget."""
    days = sorted(alerts)

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        axes.bar(range(len(days)), [alerts[day] for day in days], color=_BLUE)
        if expected is not None:
            axes.axhline(expected, color="grey", linestyle=":", label=f"expected {expected:,.0f}")
        if budget is not None:
            axes.axhline(budget, color=_RED, linestyle="--", label=f"budget {budget:,.0f}")
        if expected is not None or budget is not None:
            axes.legend()
        _name_days(axes, days)
        axes.set(ylabel="alerts", title="Alerts a day")

    return _image("alerts a day", draw)


def alerts_by_risk(counts: Mapping[str, Mapping[date, int]], days: Sequence[date]) -> dg.MetadataValue[Any]:
    """Alerts of each day, stacked by risk level; a day without any may be left out."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        below = np.zeros(len(days))
        for level, colour in _RISK_COLOURS.items():
            heights = np.array([counts.get(level, {}).get(day, 0) for day in days], dtype=np.float64)
            if heights.any():
                axes.bar(range(len(days)), heights, bottom=below, color=colour, label=level)
                axes.legend(fontsize="small")
            below += heights
        _name_days(axes, days)
        axes.set(ylabel="alerts", title="Alerts a day by risk level")

    return _image("alerts a day by risk level", draw)


def precision_by_day(precision: Mapping[date, float], days: Sequence[date]) -> dg.MetadataValue[Any]:
    """Share of frauds in the decided alerts of each day; a gap where none was decided."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        axes.plot(range(len(days)), [precision.get(day, np.nan) for day in days], "o-", color=_BLUE, markersize=4)
        _name_days(axes, days)
        axes.set(ylabel="precision", ylim=(0, 1.02), xlim=(-0.5, len(days) - 0.5), title="Precision of decided alerts")

    return _image("precision of decided alerts", draw)


def backtest_curves(curves: Mapping[str, pd.DataFrame]) -> dg.MetadataValue[Any]:
    """Precision over recall of each model of a backtest."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        for model, curve in curves.items():
            axes.plot(curve["recall"], curve["precision"], label=model)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="Test days")
        axes.legend(fontsize="small")

    return _image("precision-recall curves", draw)


def _name_days(axes: Any, days: Sequence[date]) -> None:  # noqa: ANN401 - matplotlib ships no types
    shown = np.unique(np.linspace(0, max(len(days) - 1, 0), num=6).round().astype(np.int64))[: len(days)]
    axes.set_xticks(shown, [f"{days[position]:%m-%d}" for position in shown])


def _image(name: str, draw: Callable[[Any], None], *, height: float = 3.2) -> dg.MetadataValue[Any]:
    # Figure rather than pyplot: no global state, no display, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, height), dpi=90, layout="constrained")
    draw(figure.subplots())
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")
