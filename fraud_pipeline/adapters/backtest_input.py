"""What a backtest reads: all transactions and labels of a source, by the same rules as the nightly walk."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from fraud_pipeline.adapters.ingest import files_below, ingest
from fraud_pipeline.adapters.label_files import read_scenarios
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.source import Source, load_source
from fraud_pipeline.core import labels, transactions
from fraud_pipeline.core.errors import InputFileError


@dataclass(frozen=True)
class BacktestInput:
    """Transactions and the truth about them.

    Parameters
    ----------
    transactions : DataFrame
        ``TRANSACTION_COLUMNS``, sorted by ``(event_time, transaction_id)``.
    truth : DataFrame
        ``transaction_id``, ``is_fraud``, ``label_known_at`` and ``scenario`` of every transaction.
    rejected : int
        Rows that could not be used, those whose ``transaction_id`` an earlier day has among them.
    """

    transactions: pd.DataFrame
    truth: pd.DataFrame
    rejected: int


def read_source(
    description: Path,
    *,
    folder: Path | None = None,
    time_zone: str = "UTC",
    max_amount: float = 1_000_000.0,
    label_delay_days: float | None = None,
    maturity_days: float,
    on_day: Callable[[str, int, int], None] | None = None,
) -> BacktestInput:
    """Read a source as a deployment would, into memory and without leaving anything behind.

    Parameters
    ----------
    description : Path
        The source's YAML.
    folder : Path, optional
        Where its files are; by default its key ``folder``, or else the folder of the YAML.
    time_zone : str
        Zone of the days.
    max_amount : float
        Above it a row is rejected.
    label_delay_days : float, optional
        Every label is taken to be known so long after its transaction; by default as the source says.
    maturity_days : float
        When a transaction without a label counts as genuine, unless ``label_delay_days`` says.
    on_day : callable, optional
        Called with the day, how many are done and how many there are.

    Raises
    ------
    InputFileError, ConfigurationError
        As from :func:`~fraud_pipeline.adapters.ingest.ingest`; or the source has no label of its transactions.
    """
    source = load_source(description)
    where = folder or description.absolute().parent / (source.folder or "")
    with TemporaryDirectory(prefix="fraud-pipeline-backtest-") as scratch:
        # Nothing is kept, so any key will do.
        zone = LandingZone(scratch, secrets.token_hex())
        ingest(where, source, zone, source.currency, None, time_zone=time_zone)
        days = sorted({file.day for file in zone.transaction_files()})
        valid, rejected = [], 0
        for number, day in enumerate(days, start=1):
            good, bad = transactions.validate(zone.read_transactions(day), day, time_zone, max_amount=max_amount)
            valid.append(good)
            rejected += len(bad)
            if on_day is not None:
                on_day(day.isoformat(), number, len(days))
        landed = [zone.read_labels(day) for day in sorted({file.day for file in zone.label_files()})]
    if not valid:
        raise InputFileError(f"{where} holds no transaction file of source {source.name}: check the folder.")
    every = pd.concat(valid, ignore_index=True)
    rows = every.drop_duplicates("transaction_id").sort_values(["event_time", "transaction_id"], ignore_index=True)
    rejected += len(every) - len(rows)
    if not landed:
        raise InputFileError(f"{where} holds no label file of source {source.name}: a backtest needs the truth.")
    matched, _ = labels.merge(pd.concat(landed, ignore_index=True), rows)
    if matched.empty:
        raise InputFileError(f"no label of source {source.name} belongs to one of its transactions: check the files.")
    return BacktestInput(
        rows, _truth(rows, matched, _scenarios(where, source), label_delay_days, maturity_days), rejected
    )


def _truth(
    rows: pd.DataFrame,
    matched: pd.DataFrame,
    scenarios: pd.DataFrame,
    label_delay_days: float | None,
    maturity_days: float,
) -> pd.DataFrame:
    final = labels.current(matched)[["transaction_id", "is_fraud", "label_known_at"]]
    truth = rows[["transaction_id", "event_time"]].merge(final, on="transaction_id", how="left")
    delay = pd.Timedelta(days=maturity_days if label_delay_days is None else label_delay_days)
    due = truth["event_time"] + delay
    known_at = due if label_delay_days is not None else truth["label_known_at"].fillna(due)
    truth = truth.assign(is_fraud=truth["is_fraud"].eq(True), label_known_at=known_at).drop(columns="event_time")
    truth = truth.merge(scenarios, on="transaction_id", how="left")
    # Of a genuine transaction there is no kind of fraud to tell.
    return truth.assign(scenario=truth["scenario"].fillna("").where(truth["is_fraud"], ""))


def _scenarios(where: Path, source: Source) -> pd.DataFrame:
    files = files_below(where, source.labels)
    return pd.concat([read_scenarios(file.read_bytes(), file.name, source) for file in files]).drop_duplicates(
        "transaction_id", ignore_index=True
    )
