"""A backtest as one HTML page that needs nothing but itself: no scripts, no links, images inside."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

import numpy as np

from fraud_pipeline.adapters.backtest_plots import plots
from fraud_pipeline.core.evaluation import CARD_PRECISION, CARDS, FIGURES, BacktestReport
from fraud_pipeline.core.operating_point import Estimate

MEANINGS: Final[Mapping[str, str]] = {
    "recall": "share of the frauds that raised an alert at the calibrated threshold",
    "false_positive_rate": "share of the genuine transactions that raised an alert",
    "precision": "share of the alerts that are frauds",
    "roc_auc": "chance that a fraud scores higher than a genuine transaction; 0.5 is chance",
    "average_precision": "area under the precision-recall curve; the share of frauds is chance",
    "recall_at_fpr_0.01": "recall if the threshold were set to alert on 1% of the genuine transactions",
    "recall_at_fpr_0.123": "recall if the threshold were set to alert on 12.3% of the genuine transactions",
    "fpr_at_recall_0.85": "false-positive rate that finding 85% of the frauds costs; lower is better",
    "fpr_at_recall_0.906": "false-positive rate that finding 90.6% of the frauds costs; lower is better",
    CARD_PRECISION: f"share of the {CARDS} highest cards of a day with a fraud that day, without cards found before",
    "alerts_per_day": "transactions to review each day; neither high nor low is better by itself",
    "value_recall": "share of the fraudulent money that raised an alert, refunds by their absolute value",
}
"""What each figure says, in words."""

_LOWER_IS_BETTER: Final = ("false_positive_rate", "fpr_at_recall_0.85", "fpr_at_recall_0.906")
_NO_BEST: Final = ("alerts_per_day",)
_UNKNOWN: Final = "-"

_PLOTS: Final[Mapping[str, tuple[str, str]]] = {
    "precision_recall": (
        "Precision and recall",
        "Mean of the test windows' curves at equal recall. The points are the decisions at the calibrated thresholds, "
        "all windows together; a point is off its curve as far as the windows differ.",
    ),
    "roc": (
        "Recall and false-positive rate",
        "The same thresholds over a logarithmic false-positive rate. The dotted lines are at 1% and 12.3%.",
    ),
    "volumes": ("Alerts a day", "What reviewers would have had to work on. The bars are the frauds of the day."),
    "weeks": ("Test windows one by one", "Mean of the seeds; one point a test window."),
    "scenarios": ("Recall of each kind of fraud", "Share of the frauds alerted on at the calibrated threshold."),
}

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1300px; margin: 2em auto; padding: 0 1em; }
h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 13px; }
th, td { border: 1px solid #ddd; padding: .35em .55em; text-align: right; vertical-align: top; }
th { background: #f3f3f3; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
td:first-child, small { white-space: nowrap; }
.text td { overflow-wrap: anywhere; }
small { color: #555; }
.wide { overflow-x: auto; }
.warnings { background: #fff4e5; border-left: 4px solid #d55e00; padding: .5em 1.5em; }
img { max-width: 100%; }
"""


def shown(figure: str, value: float) -> str:
    """Format a figure: alerts as a count, false-positive rates to four digits, others to three; a dash for NaN."""
    if np.isnan(value):
        return _UNKNOWN
    digits = 4 if figure in _LOWER_IS_BETTER else 3
    return f"{value:,.0f}" if figure == "alerts_per_day" else f"{value:.{digits}f}"


def interval(figure: str, estimate: Estimate) -> str:
    """Format the interval of an estimate; empty if there is none."""
    if np.isnan(estimate.low):
        return ""
    return f"{shown(figure, estimate.low)}-{shown(figure, estimate.high)}"


def render(report: BacktestReport) -> str:
    """Write the page of a report.

    Returns
    -------
    str
        HTML in which all text of the report is escaped; the same report gives the same page.
    """
    images = plots(report)
    parts = [
        "<h1>Backtest</h1>",
        _warnings(report.warnings),
        "<h2>Protocol</h2>",
        *(f"<p>{escape(sentence)}</p>" for sentence in protocol_sentences(report.protocol)),
        _protocol_tables(report.protocol),
        "<h2>Figures</h2>",
        "<p>Below each figure is its 90% interval, from resampling whole test days of all seeds. "
        "The best of each column is bold; where intervals overlap, the order may be chance.</p>",
        _figures_table(report.models),
        *(_section(name, images[name]) for name in ("precision_recall", "roc", "volumes", "weeks") if name in images),
        _scenarios(report, images),
        "<h2>Each window, seed and model</h2>",
        f"<details><summary>{len(report.weeks)} rows</summary>{_weeks_table(report)}</details>",
        "<h2>What the figures say</h2>",
        _table(("figure", "meaning"), [(_code(name), escape(MEANINGS[name])) for name in FIGURES], kind="text"),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Backtest</title>'
        # Nothing is fetched or run even if a text of the report got past the escaping.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def protocol_sentences(protocol: Mapping[str, Any]) -> list[str]:
    """Say in words what a reviewer has to know first, of what the protocol holds."""
    told = []
    if {"source", "rows", "frauds"} <= protocol.keys():
        rows, frauds = protocol["rows"], protocol["frauds"]
        share = f" ({frauds / rows:.2%})" if rows else ""
        told.append(f"The source {protocol['source']} has {rows:,} transactions with {frauds:,} frauds{share}.")
    if "walk_forward" in protocol:
        told.append(
            "Walking forward: before each test window the models were trained and calibrated anew."
            if protocol["walk_forward"]
            else "The models were trained and calibrated once, then frozen for the whole test."
        )
    if "label_delay_days" in protocol:
        days = protocol["label_delay_days"]
        when = (
            "when the source says" if days is None else f"{days:g} day{'' if days == 1 else 's'} after its transaction"
        )
        told.append(
            f"A label counted as known {when}, no earlier: neither features nor training nor calibration saw it before."
        )
    if protocol.get("closed_loop"):
        reviewed = "the alerts that reviewers had time for"
        if protocol.get("review_capacity") is not None:
            reviewed = f"the {protocol['review_capacity']:,} highest alerts of a day"
        told.append(f"Closed loop: {reviewed} became known the day after; all other labels only after the delay.")
    if protocol.get("seeds"):
        seeds = protocol["seeds"]
        told.append(f"Trained with {len(seeds)} seed{'' if len(seeds) == 1 else 's'}: {', '.join(map(str, seeds))}.")
    return told


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return "<p>No warnings.</p>"
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<div class="warnings"><strong>Warnings</strong><ul>{items}</ul></div>'


def _protocol_tables(protocol: Mapping[str, Any]) -> str:
    """Show all the protocol holds: lists of mappings as tables of their own, everything else in one."""
    nested = {name: value for name, value in protocol.items() if _is_rows(value)}
    plain = [(_code(name), escape(_text(value))) for name, value in protocol.items() if name not in nested]
    tables = [_table(("setting", "value"), plain, kind="text")]
    for name, rows in nested.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        cells = [[escape(_text(row.get(column))) for column in columns] for row in rows]
        tables.append(f"<h3>{escape(name.replace('_', ' '))}</h3>" + _table(map(escape, columns), cells))
    return "".join(tables)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _text(value: object) -> str:
    if value is None:
        return _UNKNOWN
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _figures_table(models: Mapping[str, Mapping[str, Estimate]]) -> str:
    best = {name: _best(name, [estimates[name].value for estimates in models.values()]) for name in FIGURES}
    rows = []
    for model, estimates in models.items():
        cells = [_code(model)]
        for name in FIGURES:
            value = shown(name, estimates[name].value)
            strong = f"<strong>{value}</strong>" if value == best[name] else value
            cells.append(f"{strong}<br><small>{interval(name, estimates[name])}</small>")
        rows.append(cells)
    return _table(("model", *map(_words, FIGURES)), rows)


def _best(figure: str, values: Sequence[float]) -> str | None:
    """Return the best value as it is shown, so that what looks alike is bold alike."""
    known = [value for value in values if not np.isnan(value)]
    if figure in _NO_BEST or not known:
        return None
    return shown(figure, min(known) if figure in _LOWER_IS_BETTER else max(known))


def _section(name: str, image: bytes) -> str:
    title, caption = _PLOTS[name]
    encoded = base64.b64encode(image).decode()
    return f'<h2>{title}</h2><p>{caption}</p><img alt="{title}" src="data:image/png;base64,{encoded}">'


def _scenarios(report: BacktestReport, images: Mapping[str, bytes]) -> str:
    if "scenarios" not in images:
        return "<h2>Recall of each kind of fraud</h2><p>The source does not say of which kind a fraud is.</p>"
    rows = [
        (escape(str(row.model)), escape(str(row.scenario)), f"{row.frauds:,}", *_two(row.recall, row.value_recall))
        for row in report.scenarios.itertuples()
    ]
    table = _table(("model", "scenario", "frauds", "recall", "share of the money"), rows)
    return _section("scenarios", images["scenarios"]) + f"<details><summary>As a table</summary>{table}</details>"


def _two(recall: Any, value_recall: Any) -> tuple[str, str]:  # noqa: ANN401 - cells of a frame
    return shown("recall", float(recall)), shown("value_recall", float(value_recall))


def _weeks_table(report: BacktestReport) -> str:
    keys = ("round", "test_from", "test_to", "seed", "model")
    rows = [
        [*(escape(str(row[key])) for key in keys), *(shown(name, float(row[name])) for name in FIGURES)]
        for row in report.weeks.to_dict("records")
    ]
    return _table((*keys, *map(_words, FIGURES)), rows)


def _words(figure: str) -> str:
    return escape(figure.replace("_", " "))


def _code(name: str) -> str:
    return f"<code>{escape(name)}</code>"


def _table(header: Iterable[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Lay out cells that are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'
