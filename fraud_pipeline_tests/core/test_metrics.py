"""What became of the alerts, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.metrics import average_precisions, evaluate

SCORES = pd.DataFrame(
    {
        "transaction_id": ["t1", "t2", "t3", "t4", "t5", "t6"],
        "anomaly_score": [0.9, 0.8, 0.7, 0.3, 0.2, 0.1],
        "is_alert": [True, True, True, False, False, False],
    }
)
COUNTS = ("transactions", "alerts", "matured", "frauds")
SHARES = ("recall", "false_positive_rate", "precision", "average_precision", "roc_auc")


def truth(**is_fraud: bool) -> pd.DataFrame:
    return pd.DataFrame({"transaction_id": list(is_fraud), "is_fraud": list(is_fraud.values())}).astype(
        {"is_fraud": "bool", "transaction_id": "str"}
    )


def test_figures_are_over_the_rows_whose_label_is_known() -> None:
    figures = evaluate(SCORES, truth(t5=False, t4=True, t3=True, t2=False, t1=True, t9=True))
    assert [figures[name] for name in COUNTS] == [6.0, 3.0, 5.0, 3.0]
    # Known by falling score: fraud, genuine, fraud | fraud, genuine.
    expected = [2 / 3, 1 / 2, 2 / 3, (1 / 1 + 2 / 3 + 3 / 4) / 3, 4 / 6]
    assert [figures[name] for name in SHARES] == pytest.approx(expected)


def test_without_known_labels_only_the_counts_are_figures() -> None:
    figures = evaluate(SCORES, truth())
    assert [figures[name] for name in COUNTS] == [6.0, 3.0, 0.0, 0.0]
    assert all(np.isnan(figures[name]) for name in SHARES)


def test_genuine_rows_alone_have_a_false_positive_rate_and_no_recall() -> None:
    figures = evaluate(SCORES, truth(t1=False, t4=False))
    assert (figures["false_positive_rate"], figures["precision"]) == (0.5, 0.0)
    assert all(np.isnan(figures[name]) for name in ("recall", "average_precision", "roc_auc"))


def test_frauds_without_an_alert_have_a_recall_of_0_and_no_precision() -> None:
    figures = evaluate(SCORES, truth(t4=True, t5=True))
    assert figures["recall"] == 0.0
    assert all(np.isnan(figures[name]) for name in ("false_positive_rate", "precision", "average_precision", "roc_auc"))


def test_a_day_without_transactions_has_no_figures() -> None:
    figures = evaluate(SCORES.iloc[:0], truth(t1=True))
    assert [figures[name] for name in COUNTS] == [0.0] * 4
    assert all(np.isnan(figures[name]) for name in SHARES)


def test_every_figure_is_a_plain_float() -> None:
    assert {type(value) for value in evaluate(SCORES, truth(t1=True, t2=False)).values()} == {float}


def test_average_precisions_keep_their_names() -> None:
    is_fraud = np.array([True, False, False, True])
    found = average_precisions(is_fraud, {"right": np.array([4.0, 2.0, 1.0, 3.0]), "wrong": np.array([1, 3, 4, 2.0])})
    assert found == pytest.approx({"right": 1.0, "wrong": (1 / 3 + 2 / 4) / 2})
