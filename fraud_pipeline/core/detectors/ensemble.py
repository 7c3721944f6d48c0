"""The weighted blend of detectors, each first brought to the scale of ranks.

Raw scores of different detectors cannot be added: one lives in (0.3, 0.8), the
other has no upper bound. Each becomes its rank among scores of held-out
training rows (empirical distribution function), as in Kriegel et al.,
"Interpreting and Unifying Outlier Scores", SDM 2011.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError

NORMALISATIONS: Final = ("rank", "tail")
DEFAULT_WEIGHTS: Final[Mapping[str, float]] = {"isolation_forest": 0.6, "local_outlier_factor": 0.4}


@dataclass(frozen=True)
class ScoreReference:
    """Sorted scores of held-out rows, against which a new score is ranked.

    Parameters
    ----------
    scores : float64, shape (n,)
        Sorted ascending; HIGHER = MORE ANOMALOUS.
    """

    scores: Floats

    @classmethod
    def of(cls, scores: Floats, *, size: int = 20_000) -> "ScoreReference":
        """Keep at most ``size`` evenly spaced order statistics of ``scores``, the extremes included.

        Raises
        ------
        InvalidDataError
            If there are no scores.
        """
        if not len(scores):
            raise InvalidDataError("there are no held-out scores to rank against; train on more rows.")
        kept = np.linspace(0, len(scores) - 1, num=min(size, len(scores))).round().astype(np.int64)
        return cls(np.sort(scores)[kept])

    def rank(self, scores: Floats) -> Floats:
        """Share of the reference at or below each score, in [0, 1]; shape as given, monotone."""
        ranks: Floats = np.searchsorted(self.scores, scores, side="right") / len(self.scores)
        return ranks

    def tail(self, scores: Floats) -> Floats:
        """``-log10`` of the tail probability of each score over that of the most extreme, in [0, 1]; monotone.

        The share of the reference at or above a score, smoothed by one pseudo-row so that none is 0: each
        tenfold rarer score is one equal step higher, where ranks put the whole tail into one step.
        """
        above = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        # So written, it is exactly 0 and 1 at the ends; the base of the logarithms cancels out.
        tails: Floats = 1.0 - np.log1p(above) / np.log1p(len(self.scores))
        return tails


@dataclass(frozen=True)
class Ensemble:
    """Weights of the detectors and the references that put them on one scale.

    Parameters
    ----------
    references : mapping of detector name to ScoreReference
    weights : mapping of detector name to float
        Not negative, summing to 1.
    normalisation : {"rank", "tail"}
        What brings a detector's scores to one scale: the share of held-out scores below
        (:meth:`ScoreReference.rank`), or how rare it is to be above (:meth:`ScoreReference.tail`).

    Raises
    ------
    ConfigurationError
        If weights and detectors do not fit together.
    """

    references: Mapping[str, ScoreReference]
    weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    normalisation: str = "rank"

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ConfigurationError(
                f"score normalisation {self.normalisation!r} is not known; choose from {', '.join(NORMALISATIONS)}."
            )
        if set(self.references) != set(self.weights):
            raise ConfigurationError(
                f"ensemble weights name {sorted(self.weights)}, the detectors are {sorted(self.references)}; "
                "give every detector one weight."
            )
        if min(self.weights.values()) < 0 or not np.isclose(sum(self.weights.values()), 1.0):
            raise ConfigurationError(f"ensemble weights {dict(self.weights)} must be 0 or more and add up to 1.")

    def blend(self, raw: Mapping[str, Floats]) -> Floats:
        """Weighted mean of the detectors' normalised scores.

        Parameters
        ----------
        raw : mapping of detector name to float64, shape (n,)
            Raw scores; HIGHER = MORE ANOMALOUS.

        Returns
        -------
        float64, shape (n,)
            In [0, 1]; HIGHER = MORE ANOMALOUS; monotone in each detector's score.
        """
        # Sorted, so that the order of a mapping never changes the last bit of a sum.
        parts = [self.weights[name] * self._normalise(name, raw[name]) for name in sorted(self.weights)]
        blended: Floats = np.clip(np.sum(parts, axis=0), 0.0, 1.0)
        return blended

    def _normalise(self, name: str, scores: Floats) -> Floats:
        reference = self.references[name]
        return reference.tail(scores) if self.normalisation == "tail" else reference.rank(scores)
