"""Cheap label-free candidates from PyOD, measured beside the ensemble in every training.

They cost seconds and keep the ensemble honest: a blend that a parameter-free
method beats is not worth its upkeep.
"""

from collections.abc import Sequence

import pandas as pd

from fraud_pipeline.core.detectors.base import Floats, matrix, signed_log


def score_candidates(training: pd.DataFrame, features: pd.DataFrame, columns: Sequence[str]) -> dict[str, Floats]:
    """Fit each candidate on ``training`` and score ``features``.

    ECOD (Li et al., IEEE TKDE 2022) multiplies tail probabilities of each
    column; HBOS (Goldstein and Dengel, KI 2012) does so with histograms.

    Parameters
    ----------
    training : DataFrame, m rows
    features : DataFrame, n rows
    columns : sequence of str
        The detectors' feature columns.

    Returns
    -------
    dict of candidate name to float64, shape (n,)
        HIGHER = MORE ANOMALOUS, PyOD's own orientation.
    """
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS

    known, new = signed_log(matrix(training, columns)), signed_log(matrix(features, columns))
    return {name: model.fit(known).decision_function(new) for name, model in (("ecod", ECOD()), ("hbos", HBOS()))}
