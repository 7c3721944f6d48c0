"""Cheap label-free candidates from PyOD, measured beside the ensemble in every training.

They cost seconds and keep the ensemble honest: a blend that a parameter-free
method beats is not worth its upkeep.
"""

from collections.abc import Sequence

import pandas as pd

from fraud_pipeline.core.detectors.base import Floats, matrix, signed_log


def score_candidates(training: pd.DataFrame, features: pd.DataFrame, columns: Sequence[str]) -> dict[str, Floats]:
    """Fit each candidate on ``training`` and score ``features``.

    COPOD (Li et al., ICDM 2020) and its successor ECOD (Li et al., IEEE TKDE 2022)
    multiply empirical tail probabilities of each column; HBOS (Goldstein and
    Dengel, KI 2012) does so with histograms. PyOD's COPOD and ECOD take the rows to be
    scored into their distributions: good enough to compare on a window, but a
    row's score depends on its batch, so neither could score nights as it is.

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
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS

    known, new = signed_log(matrix(training, columns)), signed_log(matrix(features, columns))
    models = {"copod": COPOD(), "ecod": ECOD(), "hbos": HBOS()}
    return {name: model.fit(known).decision_function(new) for name, model in models.items()}
