"""Plots of a backtest as PNG images."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.evaluation import CARD_PRECISION, BacktestReport

WEEKLY_FIGURES: Final = (
    "recall",
    "precision",
    "false_positive_rate",
    "average_precision",
    "recall_at_fpr_0.01",
    CARD_PRECISION,
)

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS: Final = "osD^vP*"
# A logarithmic axis has no zero.
_LOWEST_RATE: Final = 1e-5


def plots(report: BacktestReport) -> dict[str, bytes]:
    """Draw what there is data for.

    Returns
    -------
    dict of str to bytes
        PNG by what it shows: ``precision_recall``, ``roc``, ``volumes``, ``weeks``, ``scenarios``.
    """
    drawn: dict[str, bytes] = {}
    if any(len(curve) for curve in report.curves.values()):
        drawn["precision_recall"] = _image(lambda figure: _precision_recall(figure.subplots(), report), 7.5, 4.6)
        drawn["roc"] = _image(lambda figure: _roc(figure.subplots(), report), 7.5, 4.6)
    if len(report.volumes):
        drawn["volumes"] = _image(lambda figure: _volumes(figure.subplots(), report), 10, 4)
    if len(report.weeks):
        drawn["weeks"] = _image(lambda figure: _weeks(figure, report), 10, 6)
    if len(report.scenarios):
        drawn["scenarios"] = _image(lambda figure: _scenarios(figure.subplots(), report), 10, 3.6)
    return drawn


def _style(report: BacktestReport) -> Mapping[str, dict[str, Any]]:
    """Give each model the same colour and marker in every plot."""
    return {
        model: {"color": _COLOURS[each % len(_COLOURS)], "marker": _MARKERS[each % len(_MARKERS)], "label": model}
        for each, model in enumerate(report.models)
    }


def _precision_recall(axes: Any, report: BacktestReport) -> None:  # noqa: ANN401 - matplotlib ships no types
    for model, style in _style(report).items():
        curve = report.curves.get(model)
        if curve is not None:
            axes.plot(curve["recall"], curve["precision"], color=style["color"])
        axes.plot(report.models[model]["recall"].value, report.models[model]["precision"].value, ls="", **style)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(title="at its threshold", fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _roc(axes: Any, report: BacktestReport) -> None:  # noqa: ANN401 - matplotlib ships no types
    for model, style in _style(report).items():
        curve = report.curves.get(model)
        if curve is not None:
            rates = curve["false_positive_rate"].clip(lower=_LOWEST_RATE)
            axes.plot(rates, curve["recall"], color=style["color"])
        rate, recall = (report.models[model][name].value for name in ("false_positive_rate", "recall"))
        axes.plot(max(rate, _LOWEST_RATE), recall, ls="", **style)
    for rate in (0.01, 0.123):
        axes.axvline(rate, color="grey", linestyle=":")
    axes.set(xlabel="false-positive rate (logarithmic)", ylabel="recall", xscale="log", xlim=(_LOWEST_RATE, 1.2))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(title="at its threshold", fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _volumes(axes: Any, report: BacktestReport) -> None:  # noqa: ANN401 - matplotlib ships no types
    means = report.volumes.assign(day=pd.to_datetime(report.volumes["day"]))
    frauds = means.groupby("day")["frauds"].mean()
    axes.bar(frauds.index, frauds, color="lightgrey", label="frauds")
    for model, style in _style(report).items():
        alerts = means[means["model"] == model].groupby("day")["alerts"].mean()
        axes.plot(alerts.index, alerts, markersize=4, **style)
    capacity = report.protocol.get("review_capacity")
    if capacity is not None:
        axes.axhline(capacity, color="grey", linestyle="--", label=f"review capacity {capacity:,}")
    # Counts from none to many thousands; below one it is linear.
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set(ylabel="alerts a day (logarithmic)")
    _dates(axes, pd.DatetimeIndex(frauds.index))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _weeks(figure: Any, report: BacktestReport) -> None:  # noqa: ANN401 - matplotlib ships no types
    weeks = report.weeks.assign(test_from=pd.to_datetime(report.weeks["test_from"]))
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for axes, name in zip(panels, WEEKLY_FIGURES, strict=True):
        for model, style in _style(report).items():
            of_model = weeks[weeks["model"] == model].groupby("test_from")[name].mean()
            axes.plot(of_model.index, of_model, markersize=4, **style)
        axes.set_title(name, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        _dates(axes, pd.DatetimeIndex(weeks["test_from"].unique()))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)


def _scenarios(axes: Any, report: BacktestReport) -> None:  # noqa: ANN401 - matplotlib ships no types
    names = sorted(report.scenarios["scenario"].unique())
    recalls = report.scenarios.groupby(["model", "scenario"])["recall"].mean()
    width = 0.8 / max(len(report.models), 1)
    for each, (model, style) in enumerate(_style(report).items()):
        heights = [recalls.get((model, name), np.nan) for name in names]
        axes.bar(np.arange(len(names)) + each * width, heights, width, color=style["color"], label=model)
    axes.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names)
    axes.set(ylabel="recall", ylim=(0, 1.02))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _dates(axes: Any, days: pd.DatetimeIndex) -> None:  # noqa: ANN401 - matplotlib ships no types
    ticks = days[np.unique(np.linspace(0, len(days) - 1, num=6).round().astype(np.int64))]
    axes.set_xticks(ticks, [f"{day:%m-%d}" for day in ticks])


def _image(draw: Callable[[Any], None], width: float, height: float) -> bytes:
    # Figure rather than pyplot: no global state, no display, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    draw(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
