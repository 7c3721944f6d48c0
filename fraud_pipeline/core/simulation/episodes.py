"""Seeded randomness by purpose and calendar: any day can be drawn without drawing another day before it."""

from enum import IntEnum, auto
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Stream(IntEnum):
    """What a random generator is for; each purpose has its own stream, so one never shifts another."""

    POPULATION = auto()
    GENUINE = auto()
    DORMANCY = auto()
    TRAVEL = auto()
    COMPROMISE = auto()
    COMPROMISED_TRANSACTIONS = auto()
    TAKEOVER = auto()
    TAKEOVER_TRANSACTIONS = auto()
    REFUND_ABUSE = auto()
    REFUND_ABUSE_TRANSACTIONS = auto()
    CARD_TESTING = auto()
    LARGE_AMOUNT = auto()
    CASH_OUT = auto()
    ORDER = auto()
    LABELS = auto()


class Episodes(NamedTuple):
    """Episodes under way on one day; all arrays have one element per episode.

    Attributes
    ----------
    entity : numpy.ndarray
        Index of the user or merchant.
    start : numpy.ndarray
        Ordinal of the first day.
    ended : numpy.ndarray
        True on the first day after the episode.
    draws : numpy.ndarray, shape (n, 4)
        Uniform numbers in [0, 1) that stay the same through the episode.
    """

    entity: NDArray[np.int64]
    start: NDArray[np.int64]
    ended: NDArray[np.bool_]
    draws: NDArray[np.float64]

    def select(self, chosen: NDArray[np.bool_]) -> "Episodes":
        """Return the chosen episodes."""
        return Episodes(self.entity[chosen], self.start[chosen], self.ended[chosen], self.draws[chosen])


def generator(seed: int, stream: Stream, index: int) -> np.random.Generator:
    """Return the generator of one purpose and one day (or epoch) of a simulation."""
    return np.random.default_rng((seed, stream.value, index))


def episodes_on(
    ordinal: int,
    *,
    seed: int,
    stream: Stream,
    epoch_days: int,
    per_epoch: float,
    entities: int,
    length: tuple[int, int],
) -> Episodes:
    """Return the episodes that are under way on a day, or ended the day before.

    The calendar is cut into epochs. The episodes that start within an epoch depend only on the seed, the stream
    and the epoch, and have a bounded length: a day needs no more than the few epochs that can reach it.

    Parameters
    ----------
    ordinal : int
        Day, as ``date.toordinal()``.
    seed, stream
        Source of randomness.
    epoch_days : int
        Length of an epoch, days.
    per_epoch : float
        Expected number of episodes that start within an epoch.
    entities : int
        Entities are drawn from ``range(entities)``, spread evenly over it, so that the few episodes of a small
        simulation hit neither only the first nor only the last.
    length : tuple of int
        Shortest and longest episode, days, inclusive.
    """
    shortest, longest = length
    found = []
    for epoch in range((ordinal - longest) // epoch_days, ordinal // epoch_days + 1):
        rng = generator(seed, stream, epoch)
        count = int(per_epoch + rng.random())
        entity = ((np.arange(count) + rng.random(count)) * entities / max(count, 1)).astype(np.int64)
        start = epoch * epoch_days + rng.integers(epoch_days, size=count)
        age = ordinal - start
        days = rng.integers(shortest, longest + 1, size=count)
        draws = rng.random((count, 4))
        found.append(Episodes(entity, start, age == days, draws).select((age >= 0) & (age <= days)))
    return Episodes(
        np.concatenate([part.entity for part in found]),
        np.concatenate([part.start for part in found]),
        np.concatenate([part.ended for part in found]),
        np.concatenate([part.draws for part in found]),
    )
