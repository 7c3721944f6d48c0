"""The baselines learn from what they are meant to learn from, and from nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.baselines import PLAIN_NEIGHBOURS, fit_logistic_regression, fit_plain_blend
from fraud_pipeline.core.schema import BEHAVIOURAL_FEATURES, RISK_FEATURES
from fraud_pipeline_tests.builders import random_features
from fraud_pipeline_tests.core.histories import QUICK

ROWS, FRAUDS = 400, 40


def window(seed: int = 0, frauds: int = FRAUDS) -> pd.DataFrame:
    is_fraud = pd.array(np.arange(ROWS) >= ROWS - frauds, dtype="boolean")
    return random_features(ROWS, outliers=FRAUDS, seed=seed).assign(is_fraud=is_fraud)


TRAIN, TEST = window(1), window(2)


def without_labels(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(is_fraud=pd.array([pd.NA] * len(rows), dtype="boolean"))


def test_the_plain_blend_knows_neither_labels_nor_features_of_risk_nor_the_configured_blend() -> None:
    scores = fit_plain_blend(TRAIN, QUICK)(TEST)
    other = replace(
        QUICK,
        weights={"isolation_forest": 0.0, "local_outlier_factor": 1.0},
        normalisation="tail",
        local_outlier_factor={**QUICK.local_outlier_factor, "neighbours": PLAIN_NEIGHBOURS + 30},
    )
    changed = without_labels(TRAIN).assign(**dict.fromkeys(RISK_FEATURES, 0.0))
    np.testing.assert_array_equal(fit_plain_blend(changed, other)(TEST), scores)
    behaves = TEST.assign(**{name: TRAIN[name] for name in BEHAVIOURAL_FEATURES})
    assert not np.array_equal(fit_plain_blend(TRAIN, QUICK)(behaves), scores)


def test_logistic_regression_ranks_what_is_like_known_frauds_highest() -> None:
    learnt = fit_logistic_regression(TRAIN, QUICK)
    assert learnt is not None
    scores = learnt(TEST)
    assert scores[-FRAUDS:].min() > scores[:-FRAUDS].max()
    assert 0 <= scores.min() <= scores.max() <= 1


def test_logistic_regression_learns_nothing_from_rows_without_a_label() -> None:
    both = pd.concat([TRAIN, without_labels(window(3))], ignore_index=True)
    learnt, again = fit_logistic_regression(TRAIN, QUICK), fit_logistic_regression(both, QUICK)
    assert learnt is not None
    assert again is not None
    np.testing.assert_array_equal(again(TEST), learnt(TEST))


@pytest.mark.parametrize("rows", [window(frauds=0), window(frauds=ROWS), without_labels(TRAIN)])
def test_without_frauds_or_without_anything_else_there_is_no_logistic_regression(rows: pd.DataFrame) -> None:
    assert fit_logistic_regression(rows, QUICK) is None
