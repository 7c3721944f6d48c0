"""What a bank receives, day by day: transactions at once, labels when they become known."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.schema import TRANSACTION_FIELDS
from fraud_pipeline.core.simulation.configuration import FRAUD_SCENARIOS
from fraud_pipeline.core.simulation.episodes import Stream, generator
from fraud_pipeline.core.simulation.fraud import compromised, frauds
from fraud_pipeline.core.simulation.genuine import Batch, genuine_transactions
from fraud_pipeline.core.simulation.labelling import MAX_LABEL_DELAY_DAYS, label_transactions, scenario_names
from fraud_pipeline.core.simulation.population import Population

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class DayOfTransactions:
    """One UTC day of the simulated world.

    Attributes
    ----------
    transactions : pandas.DataFrame
        ``transaction_id`` (str), ``user_id`` (str), ``merchant_id`` (str), ``event_time``
        (datetime64[us, UTC]), ``amount`` (float64, cents, negative for a refund), sorted by
        ``(event_time, transaction_id)``.
    labels : pandas.DataFrame
        What the bank will ever learn about them: ``transaction_id``, ``is_fraud``, ``label_known_at``,
        ``scenario`` (``genuine_dispute`` if not fraud), sorted by ``(label_known_at, transaction_id)``.
    frauds : pandas.DataFrame
        The truth, which no bank has: ``transaction_id`` and ``scenario`` of every fraud, reported or not.
    """

    transactions: pd.DataFrame
    labels: pd.DataFrame
    frauds: pd.DataFrame


@dataclass(frozen=True, eq=False)
class SimulatedDay:
    """One day's delivery.

    Attributes
    ----------
    day : datetime.date
        UTC day.
    transactions : pandas.DataFrame
        As in `DayOfTransactions`; empty after the last day of transactions.
    labels_known : pandas.DataFrame
        ``transaction_id``, ``is_fraud``, ``label_known_at`` of the labels that became known on this day,
        sorted by ``(label_known_at, transaction_id)``.
    """

    day: date
    transactions: pd.DataFrame
    labels_known: pd.DataFrame


def simulate_day(population: Population, day: date) -> DayOfTransactions:
    """Draw one day, independently of every other day: the same population and day give identical frames.

    Parameters
    ----------
    population : Population
        From `build_population`.
    day : datetime.date
        UTC day, not before the configuration's ``first_day``.

    Raises
    ------
    ConfigurationError
        If the day is before the first.
    """
    config = population.config
    if day < config.first_day:
        raise ConfigurationError(
            f"The simulation starts on {config.first_day}: it has no {day}. "
            "Ask for a later day or set an earlier first_day."
        )
    genuine = genuine_transactions(population, day)
    skimmed = np.where(
        compromised(population, day, genuine), FRAUD_SCENARIOS.index("compromised_merchant"), genuine.scenario
    )
    batches = [genuine._replace(scenario=skimmed), *frauds(population, day)]
    merged = Batch.join(batches)
    # Serial numbers in order of time, as an acquirer gives them; within a second the order is random.
    shuffle = generator(config.seed, Stream.ORDER, day.toordinal()).random(len(merged.user))
    ordered = merged.take(np.lexsort((shuffle, merged.second)))
    transactions = _transactions(population, day, ordered)
    fraud = np.flatnonzero(ordered.scenario >= 0)
    truth = pd.DataFrame(
        {
            "transaction_id": transactions["transaction_id"].take(fraud).array,
            "scenario": pd.array(scenario_names(ordered.scenario[fraud]), dtype="str"),
        }
    )
    rng = generator(config.seed, Stream.LABELS, day.toordinal())
    return DayOfTransactions(transactions, label_transactions(transactions, ordered.scenario, config, rng), truth)


def simulate(
    population: Population, first_day: date, last_day: date, label_days_after: int = 0
) -> Iterator[SimulatedDay]:
    """Yield one delivery a day; only labels that are not known yet are kept in memory.

    A day's labels do not depend on where the stream starts: transactions of the simulation before ``first_day``
    are drawn again for the labels that become known from then on. So a stream can be cut anywhere and resumed.

    Parameters
    ----------
    population : Population
        From `build_population`.
    first_day, last_day : datetime.date
        First and last UTC day with transactions, inclusive.
    label_days_after : int
        Days after ``last_day`` on which only labels are delivered; with `MAX_LABEL_DELAY_DAYS` none is missing.

    Raises
    ------
    ConfigurationError
        If the days are in the wrong order or before the simulation's first day, or ``label_days_after`` is
        negative. Raised by this call, not by the first day drawn.
    """
    if not population.config.first_day <= first_day <= last_day:
        raise ConfigurationError(
            f"Cannot simulate {first_day} to {last_day}: the first day must not be after the last, nor before the "
            f"simulation's first day, {population.config.first_day}."
        )
    if label_days_after < 0:
        raise ConfigurationError(f"label_days_after must be 0 or more, not {label_days_after}.")
    return _deliveries(population, first_day, last_day, label_days_after)


def labels_known_on(population: Population, day: date) -> pd.DataFrame:
    """Return the labels that become known on one UTC day, as `simulate` delivers them.

    This draws the days within the longest delay again; use `simulate` for a run of days.
    """
    return next(simulate(population, day, day)).labels_known


def _deliveries(
    population: Population, first_day: date, last_day: date, label_days_after: int
) -> Iterator[SimulatedDay]:
    start = max(population.config.first_day, first_day - MAX_LABEL_DELAY_DAYS * _ONE_DAY)
    waiting: list[pd.DataFrame] = []
    for offset in range((last_day - start).days + label_days_after + 1):
        day = start + offset * _ONE_DAY
        if day <= last_day:
            drawn = simulate_day(population, day)
            transactions = drawn.transactions
            waiting.append(drawn.labels.drop(columns="scenario"))
        else:
            transactions = transactions.iloc[:0]
        labels = pd.concat(waiting).sort_values(["label_known_at", "transaction_id"], ignore_index=True)
        due = labels["label_known_at"] < pd.Timestamp(day + _ONE_DAY, tz="UTC")
        if day >= first_day:
            yield SimulatedDay(day, transactions, labels.loc[due])
        waiting = [labels.loc[~due]]


def _transactions(population: Population, day: date, batch: Batch) -> pd.DataFrame:
    seconds = batch.second.astype("timedelta64[s]").astype("timedelta64[us]")
    time = pd.DatetimeIndex(np.datetime64(day, "us") + seconds).tz_localize("UTC")
    columns = (
        pd.array([f"t{day:%Y%m%d}-{number:08d}" for number in range(1, len(batch.user) + 1)], dtype="str"),
        pd.array(population.user_ids[batch.user], dtype="str"),
        pd.array(population.merchant_ids[batch.merchant], dtype="str"),
        time,
        batch.amount,
    )
    return pd.DataFrame(dict(zip(TRANSACTION_FIELDS, columns, strict=True)))
