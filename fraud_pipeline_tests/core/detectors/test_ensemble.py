"""Ranks put detectors on one scale; weights blend them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.ensemble import DEFAULT_WEIGHTS, Ensemble, ScoreReference
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError

score_arrays = st.lists(st.sampled_from((-1.0, 0.0, 0.5)) | st.floats(-10, 10), min_size=1, max_size=30).map(np.array)
FIRST, SECOND = "isolation_forest", "local_outlier_factor"
REFERENCES = {
    FIRST: ScoreReference(np.array([0.3, 0.4, 0.5, 0.6])),
    SECOND: ScoreReference(np.array([0.9, 1.0, 1.1, 50.0])),
}


@given(known=score_arrays, scores=score_arrays)
def test_a_rank_is_the_share_of_the_reference_at_or_below(known: Floats, scores: Floats) -> None:
    ranks = ScoreReference.of(known).rank(scores)
    assert ranks.tolist() == [(known <= score).mean() for score in scores]


@given(known=score_arrays, scores=score_arrays)
def test_ranks_rise_with_the_scores(known: Floats, scores: Floats) -> None:
    ranks = ScoreReference.of(known).rank(np.sort(scores))
    assert (np.diff(ranks) >= 0).all()
    assert 0 <= ranks.min() <= ranks.max() <= 1


def test_a_reference_keeps_evenly_spaced_scores_with_both_extremes() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1001.0))
    reference = ScoreReference.of(scores, size=11)
    assert reference.scores.tolist() == [100.0 * step for step in range(11)]


def test_a_thinned_reference_ranks_nearly_as_the_whole() -> None:
    scores = np.random.default_rng(0).lognormal(size=5000)
    whole, thinned = ScoreReference.of(scores), ScoreReference.of(scores, size=500)
    np.testing.assert_allclose(thinned.rank(scores), whole.rank(scores), atol=1 / 400)


def test_scores_given_to_a_reference_are_left_as_they_were() -> None:
    scores = np.array([3.0, 1.0, 2.0])
    ScoreReference.of(scores)
    assert scores.tolist() == [3.0, 1.0, 2.0]


def test_a_reference_without_scores_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="no held-out scores to rank against; train on more rows"):
        ScoreReference.of(np.empty(0))


def test_the_blend_is_the_weighted_mean_of_ranks() -> None:
    blended = Ensemble(REFERENCES).blend({FIRST: np.array([0.2, 0.45, 0.9]), SECOND: np.array([1.0, 1.05, 99.0])})
    np.testing.assert_allclose(blended, [0.4 * 0.5, 0.6 * 0.5 + 0.4 * 0.5, 1.0])


def test_the_weights_are_60_and_40_percent_unless_given() -> None:
    assert Ensemble(REFERENCES).weights == DEFAULT_WEIGHTS == {FIRST: 0.6, SECOND: 0.4}


def test_the_order_of_detectors_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    names = [f"detector_{position}" for position in range(5)]
    references = {name: ScoreReference.of(rng.random(100)) for name in names}
    raw = {name: rng.random(200) for name in names}
    weights = dict(zip(names, (0.1, 0.2, 0.3, 0.15, 0.25), strict=True))

    def turned(mapping: dict[str, float]) -> dict[str, float]:
        return dict(reversed(mapping.items()))

    blended = Ensemble(references, weights).blend(raw)
    np.testing.assert_array_equal(Ensemble(references, turned(weights)).blend(raw), blended)


@given(lower=score_arrays, step=st.floats(0, 5), weight=st.floats(0, 1))
def test_the_blend_rises_with_each_detectors_score(lower: Floats, step: float, weight: float) -> None:
    ensemble = Ensemble(REFERENCES, {FIRST: weight, SECOND: 1 - weight})
    other = np.full(len(lower), 1.0)
    blended = ensemble.blend({FIRST: lower, SECOND: other})
    assert (ensemble.blend({FIRST: lower + step, SECOND: other}) >= blended).all()
    assert ((blended >= 0) & (blended <= 1)).all()


@pytest.mark.parametrize("weights", [{FIRST: 1.0}, {FIRST: 0.6, SECOND: 0.2, "third": 0.2}, {FIRST: 0.6, "third": 0.4}])
def test_weights_for_other_detectors_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="give every detector one weight"):
        Ensemble(REFERENCES, weights)


@pytest.mark.parametrize("pair", [(0.6, 0.6), (1.5, -0.5), (0.0, 0.0), (float("nan"), 0.4)])
def test_weights_that_are_negative_or_do_not_add_up_are_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(ConfigurationError, match="must be 0 or more and add up to 1"):
        Ensemble(REFERENCES, dict(zip((FIRST, SECOND), pair, strict=True)))


@given(known=score_arrays, scores=score_arrays)
def test_tails_rise_with_the_scores_from_0_to_1(known: Floats, scores: Floats) -> None:
    reference, ordered = ScoreReference.of(known), np.sort(scores)
    tails = reference.tail(ordered)
    assert (np.diff(tails) >= 0).all()
    assert 0 <= tails.min() <= tails.max() <= 1
    assert reference.tail(np.array([known.min() - 1, known.max() + 1])).tolist() == [0, 1]


@given(known=score_arrays, scores=score_arrays)
def test_tails_order_scores_as_ranks_do(known: Floats, scores: Floats) -> None:
    # At a score of the reference a rank counts it as below and a tail as above; elsewhere both see the same.
    apart = np.setdiff1d(scores, known)
    ranks, tails = ScoreReference.of(known).rank(apart), ScoreReference.of(known).tail(apart)
    np.testing.assert_array_equal(np.diff(ranks) > 0, np.diff(tails) > 0)


def test_each_tenfold_rarer_score_is_an_equal_step() -> None:
    reference = ScoreReference(np.arange(999.0))
    # 999, 99, 9 and 0 of 999 are at or above; each counts one more.
    np.testing.assert_allclose(reference.tail(np.array([0.0, 900.0, 990.0, 999.0])), [0, 1 / 3, 2 / 3, 1], atol=1e-12)


def test_a_blend_of_tails_is_their_weighted_mean_and_lifts_what_is_rare_for_one_detector() -> None:
    rng = np.random.default_rng(0)
    references = {name: ScoreReference.of(rng.random(1000)) for name in (FIRST, SECOND)}
    raw = {FIRST: np.array([2.0, 0.9]), SECOND: np.array([0.5, 0.9])}
    by_tail = Ensemble(references, normalisation="tail").blend(raw)
    parts = [weight * references[name].tail(raw[name]) for name, weight in DEFAULT_WEIGHTS.items()]
    np.testing.assert_allclose(by_tail, np.sum(parts, axis=0))
    by_rank = Ensemble(references).blend(raw)
    # Rarer than ever before for one detector and ordinary for the other, against unusual for both.
    assert by_tail[0] > by_tail[1]
    assert by_rank[0] < by_rank[1]


@given(lower=score_arrays, step=st.floats(0, 5), weight=st.floats(0, 1))
def test_a_blend_of_tails_rises_with_each_detectors_score(lower: Floats, step: float, weight: float) -> None:
    ensemble = Ensemble(REFERENCES, {FIRST: weight, SECOND: 1 - weight}, "tail")
    other = np.full(len(lower), 1.0)
    blended = ensemble.blend({FIRST: lower, SECOND: other})
    assert (ensemble.blend({FIRST: lower + step, SECOND: other}) >= blended).all()
    assert ((blended >= 0) & (blended <= 1)).all()


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'z-score' is not known; choose from rank, tail"):
        Ensemble(REFERENCES, normalisation="z-score")
