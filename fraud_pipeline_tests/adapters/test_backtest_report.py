"""The files of a backtest: strict JSON for programs, a page that needs nothing but itself for people."""

import json
import re
from dataclasses import asdict, replace
from datetime import date, timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.adapters.backtest_page import MEANINGS, interval, protocol_sentences, render, shown
from fraud_pipeline.adapters.backtest_plots import plots
from fraud_pipeline.adapters.backtest_report import require_writable, write_report
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.evaluation import FIGURES, BacktestReport, by_scenario, combine, curve, evaluate, mean_curve
from fraud_pipeline.core.operating_point import Estimate

MODELS = {"champion": 2.5, "plain_blend": 1.0}
FIRST = date(2030, 3, 4)
NASTY = "<script>alert('x')</script> & \"more\""


def scored_week(number: int, seed: int, strength: float) -> pd.DataFrame:
    rng = np.random.default_rng((number, seed))
    rows = 700
    is_fraud = rng.random(rows) < 0.05
    score = rng.standard_normal(rows) + strength * is_fraud
    return pd.DataFrame(
        {
            "day": [FIRST + timedelta(int(each)) for each in 7 * number + np.arange(rows) // 100],
            "user_id": rng.integers(0, 300, rows).astype(str),
            "amount": rng.exponential(50, rows),
            "is_fraud": is_fraud,
            "score": score,
            "is_alert": score >= 1.5,
            "scenario": np.where(is_fraud, rng.choice(["stolen card", NASTY], rows), ""),
        }
    )


def build() -> BacktestReport:
    scored = {
        model: [[scored_week(week, seed, strength) for week in range(2)] for seed in (1, 2)]
        for model, strength in MODELS.items()
    }
    figures = {
        model: [[evaluate(week, resamples=20) for week in seed] for seed in seeds] for model, seeds in scored.items()
    }
    every = {model: [week for seed in seeds for week in seed] for model, seeds in scored.items()}
    weeks = [
        {
            "round": week + 1,
            "test_from": FIRST + timedelta(7 * week),
            "test_to": FIRST + timedelta(7 * week + 6),
            "seed": seed + 1,
            "model": model,
        }
        | figures[model][seed][week].value
        for model in MODELS
        for seed in range(2)
        for week in range(2)
    ]
    volumes = [
        pd.concat(frames)
        .groupby("day", as_index=False)
        .agg(alerts=("is_alert", "sum"), frauds=("is_fraud", "sum"))
        .assign(model=model)
        for model, frames in every.items()
    ]
    return BacktestReport(
        protocol={
            "source": "bank & sons",
            "rows": 1400,
            "frauds": 70,
            "label_delay_days": 7,
            "seeds": [1, 2],
            "walk_forward": True,
            "closed_loop": True,
            "review_capacity": 100,
            "rounds": [{"round": 1, "test_from": FIRST}, {"round": 2, "scoring": NASTY, "threshold": [0.9, 1 / 3]}],
            "share": float("nan"),
            "counts": np.int64(3),
        },
        models={model: combine(of_model) for model, of_model in figures.items()},
        weeks=pd.DataFrame(weeks),
        scenarios=pd.concat([by_scenario(pd.concat(frames)).assign(model=model) for model, frames in every.items()]),
        curves={model: mean_curve([curve(week) for week in frames]) for model, frames in every.items()},
        volumes=pd.concat(volumes),
        warnings=[NASTY],
    )


REPORT = build()
NOTHING_KNOWN = replace(
    REPORT,
    protocol={},
    models={"champion": dict.fromkeys(FIGURES, Estimate.unknown())},
    weeks=REPORT.weeks.head(0),
    scenarios=REPORT.scenarios.head(0),
    curves={"champion": curve(scored_week(0, 0, 1.0).assign(is_fraud=False))},
    volumes=REPORT.volumes.head(0),
    warnings=[],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("backtest") / "new" / "folder"
    write_report(REPORT, output)
    return output


def strict(text: str) -> Any:  # noqa: ANN401 - any JSON
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


class Page(HTMLParser):
    """Tags, texts and addresses of a page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_files_are_named_and_nothing_else_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "figures.parquet",
        "report.html",
        "report.json",
        "weeks.parquet",
    ]


def test_a_report_replaces_the_one_before_and_the_same_report_gives_the_same_bytes(
    folder: Path, tmp_path: Path
) -> None:
    write_report(NOTHING_KNOWN, tmp_path)
    written = write_report(REPORT, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert {path.name: path.read_bytes() for path in written} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigurationError, match=r"taken/report\.html cannot be written"):
        write_report(REPORT, tmp_path / "taken")


def test_report_json_has_every_figure_with_its_interval(folder: Path) -> None:
    content = strict((folder / "report.json").read_text())
    assert list(content) == ["protocol", "warnings", "models", "weeks", "scenarios"]
    assert list(content["models"]) == list(MODELS)
    for model, figures in content["models"].items():
        assert tuple(figures) == FIGURES
        for name, parts in figures.items():
            estimate = REPORT.models[model][name]
            assert parts == {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    assert content["warnings"] == [NASTY]
    assert content["protocol"]["rounds"] == [
        {"round": 1, "test_from": "2030-03-04"},
        {"round": 2, "scoring": NASTY, "threshold": [0.9, 1 / 3]},
    ]
    assert (content["protocol"]["share"], content["protocol"]["counts"]) == (None, 3)
    first = content["weeks"][0]
    assert (first["test_from"], first["test_to"], first["seed"]) == ("2030-03-04", "2030-03-10", 1)
    assert len(content["weeks"]) == 8
    assert {row["scenario"] for row in content["scenarios"]} == {"stolen card", NASTY}


def test_an_unknown_figure_is_null(tmp_path: Path) -> None:
    write_report(NOTHING_KNOWN, tmp_path)
    content = strict((tmp_path / "report.json").read_text())
    assert content["models"]["champion"]["recall"] == {"value": None, "low": None, "high": None}
    assert content["weeks"] == content["scenarios"] == []


def test_the_parquet_files_hold_what_the_report_holds(folder: Path) -> None:
    figures = pd.read_parquet(folder / "figures.parquet")
    assert list(figures) == ["model", "figure", "value", "low", "high"]
    expected = [
        {"model": model, "figure": name} | asdict(REPORT.models[model][name]) for model in MODELS for name in FIGURES
    ]
    assert figures.to_dict("records") == expected
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "weeks.parquet"), REPORT.weeks)


def test_the_page_needs_nothing_but_itself_and_runs_nothing(folder: Path) -> None:
    page = Page((folder / "report.html").read_text())
    assert len(page.sources) == page.tags.count("img") == 5
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "a"} & set(page.tags)


def test_text_of_the_report_is_escaped_wherever_it_appears(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "<script" not in text
    # A warning, a round's setting, and a scenario for each model.
    assert "".join(Page(text).texts).count(NASTY) == 4
    assert "bank &amp; sons" in text


def test_the_page_shows_every_figure_and_explains_it(folder: Path) -> None:
    assert set(MEANINGS) == set(FIGURES)
    texts = Page((folder / "report.html").read_text()).texts
    for name in FIGURES:
        assert MEANINGS[name] in texts
        for figures in REPORT.models.values():
            assert shown(name, figures[name].value) in texts
            assert interval(name, figures[name]) in texts


def test_the_protocol_is_shown_whole_with_lists_of_settings_as_tables(folder: Path) -> None:
    texts = Page((folder / "report.html").read_text()).texts
    assert {"review_capacity", "true", "1, 2", "nan", "0.9, 0.333333", "2030-03-04", "-"} <= set(texts)


def bold(report: BacktestReport) -> list[str]:
    without_plots = replace(NOTHING_KNOWN, models=report.models)
    table = render(without_plots).split("<h2>Figures</h2>")[1].split("</table>")[0]
    return re.findall("<strong>(.*?)</strong>", table)


def test_the_best_of_each_column_is_bold() -> None:
    champion, blend = REPORT.models["champion"], REPORT.models["plain_blend"]
    lower_is_better = {"false_positive_rate", "fpr_at_recall_0.85", "fpr_at_recall_0.906"}
    best = []
    for name in FIGURES:
        pair = (champion[name].value, blend[name].value)
        text = shown(name, min(pair) if name in lower_is_better else max(pair))
        shown_best = [text for value in pair if shown(name, value) == text]
        best += shown_best if name != "alerts_per_day" else []
    assert sorted(bold(REPORT)) == sorted(best)


def test_what_looks_alike_is_bold_alike_and_nothing_is_best_without_figures() -> None:
    twins = {name: dict.fromkeys(FIGURES, Estimate(value, 0.1, 0.9)) for name, value in (("a", 0.5), ("b", 0.50001))}
    assert bold(replace(REPORT, models=twins)) == [
        shown(name, 0.5) for _ in "ab" for name in FIGURES if name != "alerts_per_day"
    ]
    assert bold(NOTHING_KNOWN) == []


def test_a_report_of_nothing_is_a_page_all_the_same() -> None:
    page = Page(render(NOTHING_KNOWN))
    assert "img" not in page.tags
    assert "No warnings." in page.texts
    assert "The source does not say of which kind a fraud is." in page.texts


def test_the_protocol_is_told_in_words() -> None:
    assert protocol_sentences(REPORT.protocol) == [
        "The source bank & sons has 1,400 transactions with 70 frauds (5.00%).",
        "Walking forward: before each test window the models were trained and calibrated anew.",
        "A label counted as known 7 days after its transaction, no earlier: neither features nor training nor "
        "calibration saw it before.",
        "Closed loop: the 100 highest alerts of a day became known the day after; all other labels only after the "
        "delay.",
        "Trained with 2 seeds: 1, 2.",
    ]


def test_a_shorter_protocol_is_told_in_fewer_words() -> None:
    told = protocol_sentences(
        {"source": "bank", "rows": 0, "frauds": 0, "walk_forward": False, "label_delay_days": 1, "seeds": [7]}
    )
    assert told[0] == "The source bank has 0 transactions with 0 frauds."
    assert told[1] == "The models were trained and calibrated once, then frozen for the whole test."
    assert told[2].startswith("A label counted as known 1 day after its transaction")
    assert told[3] == "Trained with 1 seed: 7."
    assert protocol_sentences({"label_delay_days": None, "closed_loop": False, "seeds": []}) == [
        "A label counted as known when the source says, no earlier: neither features nor training nor calibration saw "
        "it before."
    ]
    assert protocol_sentences({"closed_loop": True, "review_capacity": None}) == [
        "Closed loop: the alerts that reviewers had time for became known the day after; all other labels only after "
        "the delay."
    ]


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        ("recall", 0.84349, "0.843"),
        ("false_positive_rate", 0.00912, "0.0091"),
        ("fpr_at_recall_0.85", 0.5, "0.5000"),
        ("alerts_per_day", 1234.4, "1,234"),
        ("roc_auc", np.nan, "-"),
    ],
)
def test_figures_are_shown_with_the_digits_that_they_carry(figure: str, value: float, text: str) -> None:
    assert shown(figure, value) == text


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="file"):
        require_writable(tmp_path / "file")


def test_plots_are_drawn_of_what_there_is() -> None:
    from matplotlib.image import imread

    drawn = plots(REPORT)
    assert set(drawn) == {"precision_recall", "roc", "volumes", "weeks", "scenarios"}
    for png in drawn.values():
        pixels = imread(BytesIO(png))
        assert pixels.shape[1] >= 750
        assert pixels.std() > 0.05
    assert plots(NOTHING_KNOWN) == {}


def test_a_model_without_a_curve_still_shows_its_decisions() -> None:
    bare = replace(REPORT, weeks=REPORT.weeks.head(0), scenarios=REPORT.scenarios.head(0))
    without = replace(bare, curves={"champion": REPORT.curves["champion"]}, protocol={})
    drawn, full = plots(without), plots(bare)
    assert set(drawn) == set(full) == {"precision_recall", "roc", "volumes"}
    assert drawn["precision_recall"] != full["precision_recall"]
    assert drawn["roc"] != full["roc"]
    # No review capacity, no line.
    assert drawn["volumes"] != full["volumes"]
