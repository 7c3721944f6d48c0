"""Genuine transactions of a day, with the large, small, odd and far-away ones that real customers make too."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.simulation.configuration import DORMANCY_DAYS, DORMANCY_EPOCH_DAYS
from fraud_pipeline.core.simulation.episodes import Episodes, Stream, episodes_on, generator
from fraud_pipeline.core.simulation.population import (
    ANYWHERE_SHARE,
    FAVOURITE_CDF,
    STRANGER_SHARE,
    Floats,
    Integers,
    Population,
)

DAY_SECONDS = 86_400
GENUINE = -1
"""Scenario code of a genuine transaction; frauds have the index of their scenario."""

_TRAVELS_PER_28_DAYS = 0.08
_TRAVEL_DAYS = (2, 10)
_TRAVEL_FACTOR = 1.3
_ERRAND_SHARE = 0.2
_ANY_HOUR_SHARE = 0.06
_BIG_TICKET_SHARE = 0.015


class Batch(NamedTuple):
    """Transactions of one day in arrays of equal length: entity indices, second of the day, amount, scenario."""

    user: Integers
    merchant: Integers
    second: Integers
    amount: Floats
    scenario: Integers

    @classmethod
    def join(cls, batches: Sequence["Batch"]) -> "Batch":
        """Return all transactions of some batches as one."""
        return cls(
            np.concatenate([batch.user for batch in batches]),
            np.concatenate([batch.merchant for batch in batches]),
            np.concatenate([batch.second for batch in batches]),
            np.concatenate([batch.amount for batch in batches]),
            np.concatenate([batch.scenario for batch in batches]),
        )

    def take(self, order: Integers) -> "Batch":
        """Return the transactions in another order."""
        return Batch(
            self.user[order], self.merchant[order], self.second[order], self.amount[order], self.scenario[order]
        )


def dormant_periods(population: Population, ordinal: int) -> Episodes:
    """Return the dormant periods of users on a day, and those that ended the day before."""
    config = population.config
    return episodes_on(
        ordinal,
        seed=config.seed,
        stream=Stream.DORMANCY,
        epoch_days=DORMANCY_EPOCH_DAYS,
        per_epoch=config.users * config.dormancies_per_quarter,
        entities=config.users,
        length=DORMANCY_DAYS,
    )


def open_users(population: Population, ordinal: int) -> Integers:
    """Return the indices of the users whose account is open on a day."""
    return np.flatnonzero(population.opened <= ordinal)


def activity_factor(day: date) -> float:
    """Return how busy a day is by season, about 1 on average over a year: December, summer and pay-day peaks."""
    payday = 0.05 if day.day >= 26 else 0.0
    return 0.95 + 0.30 * _bump(day, 352, 12) + 0.08 * _bump(day, 205, 20) - 0.05 * _bump(day, 25, 12) + payday


def amount_factor(day: date) -> float:
    """Return the price level of a day by season: presents in December cost more."""
    return 1 + 0.15 * _bump(day, 352, 12)


def _bump(day: date, centre: int, width: float) -> float:
    return float(np.exp(-0.5 * ((day.timetuple().tm_yday - centre) / width) ** 2))


def typical_amounts(
    population: Population, user: Integers, merchant: Integers, rng: np.random.Generator, day: date
) -> Floats:
    """Draw amounts that are usual for these users at these merchants."""
    spread = population.log_amount_spread[user] * rng.standard_normal(len(user))
    return np.exp(population.log_amount[user] + population.merchant_log_price[merchant] + spread) * amount_factor(day)


def priced(amount: Floats, rng: np.random.Generator) -> Floats:
    """Turn amounts into prices: some end in .99, .00 or .50 as in shops; genuine and fraudulent ones alike."""
    ending = rng.random(len(amount))
    whole = np.floor(amount)
    price = np.select([ending < 0.22, ending < 0.34, ending < 0.42], [whole + 0.99, whole, whole + 0.5], amount)
    return np.maximum(np.round(price, 2), 0.1)


def strangers(town: Integers, population: Population, rng: np.random.Generator) -> Integers:
    """Draw one user of each given town: their favourites are what one finds there."""
    start = population.town_start[town]
    size = population.town_start[town + 1] - start
    return start + (rng.random(len(town)) * size).astype(np.int64)


def favourites_of(guide: Integers, population: Population, rng: np.random.Generator) -> Integers:
    """Draw for each given user one of their favourite merchants."""
    return population.favourites[guide, np.searchsorted(FAVOURITE_CDF, rng.random(len(guide)), side="right")]


def merchants_anywhere(count: int, population: Population, rng: np.random.Generator) -> Integers:
    """Draw merchants by popularity alone, wherever they are."""
    chosen = np.searchsorted(population.popularity_cdf, rng.random(count), side="right")
    return np.minimum(chosen, len(population.popularity_cdf) - 1)


def genuine_transactions(population: Population, day: date) -> Batch:
    """Draw all genuine transactions of a day, in user order."""
    config, ordinal = population.config, day.toordinal()
    rng = generator(config.seed, Stream.GENUINE, ordinal)
    stay = _stays(population, ordinal)
    expected = population.daily_rate * population.week[:, day.weekday()] * activity_factor(day)
    expected[stay >= 0] *= _TRAVEL_FACTOR
    expected[population.opened > ordinal] = 0
    dormant = dormant_periods(population, ordinal)
    expected[dormant.select(~dormant.ended).entity] = 0
    user = np.repeat(np.arange(config.users), rng.poisson(expected))
    merchant = _choose_merchants(population, user, stay[user], rng)
    amount = typical_amounts(population, user, merchant, rng, day)
    amount[stay[user] >= 0] *= _TRAVEL_FACTOR
    big = rng.random(len(user)) < _BIG_TICKET_SHARE
    amount[big] *= rng.lognormal(1.5, 0.5, int(big.sum()))
    micro = rng.random(len(user)) < population.micro_share[user]
    amount[micro] = rng.uniform(0.5, 6, int(micro.sum()))
    sign = np.where(rng.random(len(user)) < config.refund_share, -1, 1)
    second = _seconds(population, user, day, rng)
    return Batch(user, merchant, second, sign * priced(amount, rng), np.full(len(user), GENUINE))


def _stays(population: Population, ordinal: int) -> Integers:
    """Return the town that each user travels in, or -1 at home."""
    config = population.config
    travel = episodes_on(
        ordinal,
        seed=config.seed,
        stream=Stream.TRAVEL,
        epoch_days=28,
        per_epoch=config.users * _TRAVELS_PER_28_DAYS,
        entities=config.users,
        length=_TRAVEL_DAYS,
    )
    travel = travel.select(~travel.ended)
    stay = np.full(config.users, -1)
    stay[travel.entity] = population.town[(travel.draws[:, 0] * config.users).astype(np.int64)]
    return stay


def _choose_merchants(population: Population, user: Integers, stay: Integers, rng: np.random.Generator) -> Integers:
    away = stay >= 0
    stranger = strangers(np.where(away, stay, population.town[user]), population, rng)
    guide = np.where(away | (rng.random(len(user)) < STRANGER_SHARE), stranger, user)
    merchant = favourites_of(guide, population, rng)
    anywhere = rng.random(len(user)) < ANYWHERE_SHARE
    merchant[anywhere] = merchants_anywhere(int(anywhere.sum()), population, rng)
    return merchant


def _seconds(population: Population, user: Integers, day: date, rng: np.random.Generator) -> Integers:
    evening = (rng.random(len(user)) < population.evening_share[user]).astype(np.int64)
    hour = rng.normal(population.peak_hours[user, evening] + 0.7 * (day.weekday() >= 5), 2.0)
    any_hour = rng.random(len(user)) < _ANY_HOUR_SHARE
    hour[any_hour] = rng.uniform(0, 24, int(any_hour.sum()))
    # One errand after another: minutes after the payment before it, as a burst of frauds would be.
    errand: NDArray[np.bool_] = rng.random(len(user)) < _ERRAND_SHARE
    errand[:1] = False
    errand[1:] &= user[1:] == user[:-1]
    follow = np.flatnonzero(errand)
    hour[follow] = hour[follow - 1] + rng.exponential(0.25, len(follow))
    return np.asarray((hour * 3600).astype(np.int64) % DAY_SECONDS)
