"""The six fraud scenarios of a day. None leaves a column behind: each hides among genuine look-alikes."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from fraud_pipeline.core.simulation.configuration import CASH_OUT_BURST, FRAUD_SCENARIOS, mean_of
from fraud_pipeline.core.simulation.episodes import Episodes, Stream, episodes_on, generator
from fraud_pipeline.core.simulation.genuine import (
    DAY_SECONDS,
    Batch,
    activity_factor,
    dormant_periods,
    favourites_of,
    merchants_anywhere,
    open_users,
    priced,
    strangers,
    typical_amounts,
)
from fraud_pipeline.core.simulation.population import Floats, Integers, Population

EPOCH_DAYS = 28
CAMPAIGN_DAYS = (14, 35)
CAMPAIGN_FRAUD_SHARE = (0.60, 0.95)
LARGEST_MERCHANTS_SPARED = 0.10
TAKEOVER_DAYS = (2, 6)
TAKEOVER_FRAUDS_A_DAY = 3.5
TESTING_BURST = (4, 9)
TESTING_WINDOW_SECONDS = 1500
CASH_OUT_WINDOW_SECONDS = 3 * 3600
REFUND_ABUSE_DAYS = (14, 28)
REFUNDS_A_DAY = 0.25


def compromised(population: Population, day: date, genuine: Batch) -> NDArray[np.bool_]:
    """Say which payments of the day are skimmed at a compromised merchant.

    The till books a payment like any other: usual user, amount and hour. Only the merchant's share of frauds
    in the weeks of a campaign differs, and the labels tell that late. The most visited tenth of the merchants
    is never compromised for weeks.
    """
    ordinal = day.toordinal()
    campaign = _campaigns(population, ordinal)
    low, high = CAMPAIGN_FRAUD_SHARE
    share = np.zeros(population.config.merchants)
    np.maximum.at(share, campaign.entity, low + (high - low) * campaign.draws[:, 0])
    rng = generator(population.config.seed, Stream.COMPROMISED_TRANSACTIONS, ordinal)
    return (rng.random(len(genuine.user)) < share[genuine.merchant]) & (genuine.amount > 0)


def frauds(population: Population, day: date) -> list[Batch]:
    """Draw the frauds of a day that come on top of the genuine transactions, one batch per scenario."""
    return [
        _account_takeover(population, day),
        _card_testing(population, day),
        _large_amount(population, day),
        _refund_abuse(population, day),
        _cash_out(population, day),
    ]


def _campaigns(population: Population, ordinal: int) -> Episodes:
    config = population.config
    by_visits = np.argsort(population.visit_share, kind="stable")
    targets = by_visits[: int(len(by_visits) * (1 - LARGEST_MERCHANTS_SPARED))]
    share_of_visits = sum(CAMPAIGN_FRAUD_SHARE) / 2 * float(population.visit_share[targets].mean())
    purchases = config.transactions_per_user_day * (1 - config.refund_share)
    frauds_per_user = mean_of(CAMPAIGN_DAYS) * share_of_visits * purchases
    campaign = episodes_on(
        ordinal,
        seed=config.seed,
        stream=Stream.COMPROMISE,
        epoch_days=EPOCH_DAYS,
        per_epoch=config.frauds_per_user_day("compromised_merchant") * EPOCH_DAYS / frauds_per_user,
        entities=len(targets),
        length=CAMPAIGN_DAYS,
    )
    return campaign._replace(entity=targets[campaign.entity]).select(~campaign.ended)


def _account_takeover(population: Population, day: date) -> Batch:
    """Shop for days on a victim's account: thief's hours, other area, dearer goods; the victim goes on."""
    config, ordinal = population.config, day.toordinal()
    per_episode = mean_of(TAKEOVER_DAYS) * TAKEOVER_FRAUDS_A_DAY
    victim = _user_episodes(
        population,
        ordinal,
        Stream.TAKEOVER,
        TAKEOVER_DAYS,
        config.frauds_per_user_day("account_takeover") / per_episode,
    )
    rng = generator(config.seed, Stream.TAKEOVER_TRANSACTIONS, ordinal)
    episode = np.repeat(np.arange(len(victim.entity)), rng.poisson(TAKEOVER_FRAUDS_A_DAY, len(victim.entity)))
    user, draws = victim.entity[episode], victim.draws[episode]
    haunt = population.town[(draws[:, 0] * config.users).astype(np.int64)]
    merchant = favourites_of(strangers(haunt, population, rng), population, rng)
    amount = typical_amounts(population, user, merchant, rng, day) * (1.5 + 2.5 * draws[:, 1])
    second = ((draws[:, 2] * 24 + rng.normal(0, 3, len(user))) * 3600).astype(np.int64) % DAY_SECONDS
    return _batch("account_takeover", user, merchant, second, priced(amount, rng))


def _card_testing(population: Population, day: date) -> Batch:
    """Try stolen cards with a handful of small payments within minutes."""
    rng = generator(population.config.seed, Stream.CARD_TESTING, day.toordinal())
    cards = _users_hit(population, day, "card_testing", mean_of(TESTING_BURST), rng)
    shop = merchants_anywhere(len(cards), population, rng)
    burst, second = _bursts(len(cards), TESTING_BURST, TESTING_WINDOW_SECONDS, rng)
    return _batch("card_testing", cards[burst], shop[burst], second, priced(rng.uniform(0.5, 6, len(burst)), rng))


def _large_amount(population: Population, day: date) -> Batch:
    """Make single payments of several times the user's usual amount, anywhere, mostly by day."""
    rng = generator(population.config.seed, Stream.LARGE_AMOUNT, day.toordinal())
    user = _users_hit(population, day, "large_amount", 1, rng)
    merchant = merchants_anywhere(len(user), population, rng)
    amount = typical_amounts(population, user, merchant, rng, day) * rng.lognormal(1.9, 0.45, len(user))
    second = (rng.normal(15.5, 4.5, len(user)) * 3600).astype(np.int64) % DAY_SECONDS
    return _batch("large_amount", user, merchant, second, priced(amount, rng))


def _refund_abuse(population: Population, day: date) -> Batch:
    """Collect refunds at one favourite shop for weeks, for goods never bought or never returned."""
    config, ordinal = population.config, day.toordinal()
    per_episode = mean_of(REFUND_ABUSE_DAYS) * REFUNDS_A_DAY
    abuse = _user_episodes(
        population,
        ordinal,
        Stream.REFUND_ABUSE,
        REFUND_ABUSE_DAYS,
        config.frauds_per_user_day("refund_abuse") / per_episode,
    )
    rng = generator(config.seed, Stream.REFUND_ABUSE_TRANSACTIONS, ordinal)
    episode = np.repeat(np.arange(len(abuse.entity)), rng.poisson(REFUNDS_A_DAY, len(abuse.entity)))
    user = abuse.entity[episode]
    merchant = population.favourites[user, (abuse.draws[episode, 0] * 5).astype(np.int64)]
    amount = typical_amounts(population, user, merchant, rng, day) * 1.3
    second = (rng.normal(15, 3, len(user)) * 3600).astype(np.int64) % DAY_SECONDS
    return _batch("refund_abuse", user, merchant, second, -priced(amount, rng))


def _cash_out(population: Population, day: date) -> Batch:
    """Empty accounts within hours after weeks of silence."""
    config, ordinal = population.config, day.toordinal()
    period = dormant_periods(population, ordinal)
    woken = period.ended & (period.draws[:, 0] < config.cash_out_probability)
    card = period.entity[woken & (population.opened[period.entity] <= period.start)]
    rng = generator(config.seed, Stream.CASH_OUT, ordinal)
    burst, second = _bursts(len(card), CASH_OUT_BURST, CASH_OUT_WINDOW_SECONDS, rng)
    user, merchant = card[burst], merchants_anywhere(len(burst), population, rng)
    amount = typical_amounts(population, user, merchant, rng, day) * rng.uniform(1.5, 5, len(burst))
    return _batch("cash_out", user, merchant, second, priced(amount, rng))


def _user_episodes(
    population: Population, ordinal: int, stream: Stream, length: tuple[int, int], per_user_day: float
) -> Episodes:
    config = population.config
    episode = episodes_on(
        ordinal,
        seed=config.seed,
        stream=stream,
        epoch_days=EPOCH_DAYS,
        per_epoch=config.users * per_user_day * EPOCH_DAYS,
        entities=config.users,
        length=length,
    )
    return episode.select(~episode.ended & (population.opened[episode.entity] <= ordinal))


def _users_hit(
    population: Population, day: date, scenario: str, frauds_each: float, rng: np.random.Generator
) -> Integers:
    candidates = open_users(population, day.toordinal())
    per_user = population.config.frauds_per_user_day(scenario) / frauds_each * activity_factor(day)
    return rng.choice(candidates, size=rng.poisson(len(candidates) * per_user) if len(candidates) else 0)


def _bursts(
    count: int, size: tuple[int, int], window_seconds: int, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Return burst number and second of the day of every payment of ``count`` bursts."""
    burst = np.repeat(np.arange(count), rng.integers(size[0], size[1] + 1, size=count))
    start = rng.integers(DAY_SECONDS - window_seconds, size=count)
    return burst, start[burst] + rng.integers(window_seconds, size=len(burst))


def _batch(scenario: str, user: Integers, merchant: Integers, second: Integers, amount: Floats) -> Batch:
    return Batch(user, merchant, second, amount, np.full(len(user), FRAUD_SCENARIOS.index(scenario)))
