"""What one would do otherwise: the plain blend on the behavioural features, and logistic regression.

They are measured in every backtest and never score a night.
"""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from fraud_pipeline.core import training
from fraud_pipeline.core.detectors.base import Floats, matrix, signed_log
from fraud_pipeline.core.schema import BEHAVIOURAL_FEATURES, FEATURE_COLUMNS
from fraud_pipeline.core.training import TrainingConfig

PLAIN_NEIGHBOURS = 20
"""scikit-learn's and PyOD's default k."""


Scorer = Callable[[pd.DataFrame], Floats]
"""Features of n rows to scores, shape (n,); HIGHER = MORE ANOMALOUS."""


def fit_plain_blend(rows: pd.DataFrame, config: TrainingConfig) -> Scorer:
    """Fit 0.6 x Isolation Forest + 0.4 x LOF on the 18 behavioural features, without any label.

    Parameters
    ----------
    rows : DataFrame
        Training window.
    config : TrainingConfig
        Trees, reference rows and seed are taken from it.
    """
    plain = replace(
        config,
        detector_features=BEHAVIOURAL_FEATURES,
        local_outlier_factor={**config.local_outlier_factor, "neighbours": PLAIN_NEIGHBOURS},
        genuine_reference=False,
        weights={"isolation_forest": 0.6, "local_outlier_factor": 0.4},
        normalisation="rank",
    )
    fitted = {name: training.fit_label_free(name, rows, plain) for name in training.LABEL_FREE}
    return lambda features: training.score_all(features, fitted, {}, plain)["ensemble"]


def fit_logistic_regression(rows: pd.DataFrame, config: TrainingConfig) -> Scorer | None:
    """Fit logistic regression on all features (signed logarithms, standardised) and the matured labels.

    Returns
    -------
    Scorer or None
        None where the training window has no known fraud, or nothing else.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labelled = rows[rows["is_fraud"].notna()]
    is_fraud = labelled["is_fraud"].to_numpy(dtype=bool)
    if not is_fraud.any() or is_fraud.all():
        return None
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, random_state=config.seed))
    model.fit(signed_log(matrix(labelled, FEATURE_COLUMNS)), is_fraud)

    def score(features: pd.DataFrame) -> Floats:
        shares: Floats = model.predict_proba(signed_log(matrix(features, FEATURE_COLUMNS)))[:, 1]
        return shares

    return score
