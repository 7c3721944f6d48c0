"""Users and merchants of a simulation: everything about them that does not change from day to day."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.simulation.configuration import SimulationConfig
from fraud_pipeline.core.simulation.episodes import Stream, generator

FAVOURITES = 10
STRANGER_SHARE = 0.10
ANYWHERE_SHARE = 0.06
"""Visits outside the own favourites: at a neighbour's favourite, and anywhere (travel, online shops)."""

_RANK_WEIGHTS = 1 / np.arange(1, FAVOURITES + 1) ** 0.8
FAVOURITE_CDF = np.cumsum(_RANK_WEIGHTS) / _RANK_WEIGHTS.sum()
_WEEK = np.array([0.93, 0.92, 0.95, 1.0, 1.15, 1.2, 0.85])
_OPENING_DAYS = 365
_MAX_TOWNS = 300

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Population:
    """Arrays per user and per merchant; transactions are never kept.

    Attributes
    ----------
    config : SimulationConfig
        What it was built from.
    user_ids, merchant_ids : numpy.ndarray of str
        Names by index.
    town : numpy.ndarray, shape (users,)
        Home area, non-decreasing, so that the users of a town are neighbours in index order.
    town_start : numpy.ndarray, shape (towns + 1,)
        Index of the first user of each town.
    opened : numpy.ndarray, shape (users,)
        Ordinal of the day on which the account opens.
    daily_rate : numpy.ndarray, shape (users,)
        Expected transactions a day.
    week : numpy.ndarray, shape (users, 7)
        Activity factor by weekday from Monday, mean 1.
    log_amount, log_amount_spread : numpy.ndarray, shape (users,)
        Mean and standard deviation of the logarithm of an amount.
    micro_share : numpy.ndarray, shape (users,)
        Share of payments below the price of a coffee (transit, vending machines).
    peak_hours : numpy.ndarray, shape (users, 2)
        Midday and evening peak, hours of the UTC day.
    evening_share : numpy.ndarray, shape (users,)
        Probability of the evening peak.
    favourites : numpy.ndarray, shape (users, 10)
        Merchants by falling preference, mostly near home.
    merchant_log_price : numpy.ndarray, shape (merchants,)
        Price level, added to the user's ``log_amount``.
    popularity_cdf : numpy.ndarray, shape (merchants,)
        Cumulated share of visits of a merchant when home plays no part.
    visit_share : numpy.ndarray, shape (merchants,)
        Expected share of all visits.
    """

    config: SimulationConfig
    user_ids: NDArray[np.object_]
    merchant_ids: NDArray[np.object_]
    town: Integers
    town_start: Integers
    opened: Integers
    daily_rate: Floats
    week: Floats
    log_amount: Floats
    log_amount_spread: Floats
    micro_share: Floats
    peak_hours: Floats
    evening_share: Floats
    favourites: Integers
    merchant_log_price: Floats
    popularity_cdf: Floats
    visit_share: Floats


def build_population(config: SimulationConfig) -> Population:
    """Draw the users and merchants of a simulation.

    Parameters
    ----------
    config : SimulationConfig
        Sizes and seed.

    Returns
    -------
    Population
        About 250 bytes per user and 100 per merchant.
    """
    rng = generator(config.seed, Stream.POPULATION, 0)
    users, merchants = config.users, config.merchants
    towns = min(max(1, merchants // 20), max(1, users // 30), _MAX_TOWNS)
    crowd = rng.lognormal(0, 0.5, towns)
    place = rng.random((towns, 2))
    town = np.sort(rng.choice(towns, size=users, p=crowd / crowd.sum()))
    town_start = np.searchsorted(town, np.arange(towns + 1))
    merchant_town = rng.choice(towns, size=merchants, p=crowd / crowd.sum())
    popularity = rng.lognormal(0, 0.7, merchants)
    popularity /= popularity.sum()
    daily_rate = rng.lognormal(0, 0.6, users)
    daily_rate *= config.transactions_per_user_day / daily_rate.mean()
    favourites = _favourites(rng, town_start, place, popularity, merchant_town)
    return Population(
        config=config,
        user_ids=_names("u", rng.permutation(users)),
        merchant_ids=_names("m", rng.permutation(merchants)),
        town=town,
        town_start=town_start,
        opened=_opening_days(rng, config),
        daily_rate=daily_rate,
        week=_weeks(rng, users),
        log_amount=rng.normal(np.log(26), 0.5, users),
        log_amount_spread=rng.uniform(0.4, 0.9, users),
        micro_share=rng.beta(0.8, 12, users),
        peak_hours=rng.normal([12.5, 18.3], 1.5, (users, 2)) + np.where(rng.random((users, 1)) < 0.05, 7.0, 0.0),
        evening_share=rng.beta(3, 3, users),
        favourites=favourites,
        merchant_log_price=rng.normal(0, 0.45, merchants),
        popularity_cdf=np.cumsum(popularity),
        visit_share=_visit_share(favourites, daily_rate, popularity),
    )


def _names(prefix: str, numbers: Integers) -> NDArray[np.object_]:
    # Shuffled numbers: neither town nor popularity can be read from an identifier.
    return np.array([f"{prefix}{number:07d}" for number in numbers], dtype=object)


def _opening_days(rng: np.random.Generator, config: SimulationConfig) -> Integers:
    later = rng.random(config.users) < config.new_user_share
    wait = rng.integers(1, _OPENING_DAYS + 1, size=config.users)
    return config.first_day.toordinal() + np.where(later, wait, -wait)


def _weeks(rng: np.random.Generator, users: int) -> Floats:
    week = _WEEK * rng.gamma(20, 1 / 20, (users, 7))
    week[:, 5:] *= rng.lognormal(0, 0.3, (users, 1))
    return np.asarray(week / week.mean(axis=1, keepdims=True))


def _favourites(
    rng: np.random.Generator, town_start: Integers, place: Floats, popularity: Floats, merchant_town: Integers
) -> Integers:
    chosen = np.empty((town_start[-1], FAVOURITES), dtype=np.int64)
    for town, (start, stop) in enumerate(pairwise(town_start)):
        distance = np.hypot(*(place[merchant_town] - place[town]).T)
        weight = np.cumsum(popularity * (np.exp(-distance / 0.05) + 0.01))
        draw = rng.random((stop - start, FAVOURITES)) * weight[-1]
        chosen[start:stop] = np.searchsorted(weight, draw, side="right")
    return chosen


def _visit_share(favourites: Integers, daily_rate: Floats, popularity: Floats) -> Floats:
    weight = daily_rate[:, None] * _RANK_WEIGHTS
    local = np.bincount(favourites.ravel(), weight.ravel(), minlength=len(popularity))
    return np.asarray((1 - ANYWHERE_SHARE) * local / local.sum() + ANYWHERE_SHARE * popularity)
