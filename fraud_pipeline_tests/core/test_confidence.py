"""Confidence of a decision, whatever the reference: a share, and firmer the further from the threshold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.scoring import confidence

shares = st.floats(0, 1)
references = st.lists(shares | st.sampled_from((0.2, 0.9)), min_size=1, max_size=60).map(
    lambda scores: ScoreReference.of(np.array(scores))
)


@given(reference=references, threshold=shares, scores=st.lists(shares, min_size=2, max_size=20).map(sorted))
def test_confidence_is_a_share_and_monotone_in_the_score_on_either_side(
    reference: ScoreReference, threshold: float, scores: list[float]
) -> None:
    found = confidence(np.array(scores), threshold, reference)
    assert ((found >= 0) & (found <= 1)).all()
    alerted = np.array(scores) >= threshold
    assert (np.diff(found[alerted]) >= -1e-12).all()
    assert (np.diff(found[~alerted]) <= 1e-12).all()
