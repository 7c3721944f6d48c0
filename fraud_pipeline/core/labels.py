"""What became known about transactions, and when.

A label is in force from ``label_known_at`` until a later label of the same transaction. A transaction
that nobody reported counts as genuine, but only once it is as old as the maturity.
"""

from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import EVENT_KEYS, LABEL_COLUMNS, LANDED_LABEL_COLUMNS, TIME_DTYPE

CHARGEBACK_FILE: Final = "chargeback_file"
UNREPORTED: Final = "unreported"
"""The two values of ``label_source`` here: somebody reported it, or nobody did until maturity."""

EVENT_COLUMNS: Final = ("user_id", "merchant_id", "label_known_at", "is_fraud")

_DTYPES: Final = dict.fromkeys(LABEL_COLUMNS, "str") | {
    "event_time": TIME_DTYPE,
    "is_fraud": "bool",
    "label_known_at": TIME_DTYPE,
}


def no_labels() -> pd.DataFrame:
    """Return `LABEL_COLUMNS` without rows."""
    return pd.DataFrame(columns=list(LABEL_COLUMNS)).astype(_DTYPES)


def merge(landed: pd.DataFrame, transactions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join landed labels to their transactions.

    A label without a time of its own is known ``delay_days`` after its transaction's ``event_time``.
    Where labels of one transaction became known at the same instant, one is kept: if they disagree,
    fraud.

    Parameters
    ----------
    landed
        `LANDED_LABEL_COLUMNS`.
    transactions
        At least `EVENT_KEYS`. Of a repeated ``transaction_id`` the first row counts.

    Returns
    -------
    labels, unmatched
        `LABEL_COLUMNS` sorted by ``(label_known_at, transaction_id)``, one row for each pair of them;
        and `LANDED_LABEL_COLUMNS` with a ``reason``: there is no such transaction, or the label was known
        before it happened.

    Raises
    ------
    InvalidDataError
        A label has neither a time nor a delay.
    """
    timeless = landed["label_known_at"].isna() & landed["delay_days"].isna()
    if timeless.any():
        raise InvalidDataError(
            f"{int(timeless.sum())} landed labels have neither label_known_at nor delay_days: ingest their file again."
        )
    events = transactions[list(EVENT_KEYS)].drop_duplicates("transaction_id")
    events = events.astype({name: _DTYPES[name] for name in EVENT_KEYS})
    joined = landed.merge(events, on="transaction_id", how="left")
    delay = pd.to_timedelta(joined["delay_days"], unit="D")
    joined["label_known_at"] = joined["label_known_at"].fillna(joined["event_time"] + delay).astype(TIME_DTYPE)
    joined["label_source"] = CHARGEBACK_FILE

    unknown = joined["event_time"].isna()
    premature = joined["label_known_at"] < joined["event_time"]
    reason = pd.Series("", index=joined.index, dtype="str")
    reason = reason.mask(unknown, "no transaction with this id").mask(premature, "known before its transaction")
    unmatched = landed[list(LANDED_LABEL_COLUMNS)].reset_index(drop=True).assign(reason=reason)
    unmatched = unmatched[unknown | premature].reset_index(drop=True)

    labels = joined.loc[~(unknown | premature), list(LABEL_COLUMNS)].astype(_DTYPES)
    labels = labels.sort_values(["label_known_at", "transaction_id", "is_fraud"], ascending=[True, True, False])
    return labels.drop_duplicates(["label_known_at", "transaction_id"], ignore_index=True), unmatched


def of_day(
    landed: pd.DataFrame,
    transactions: pd.DataFrame,
    maturing: pd.DataFrame | None,
    reported_before: pd.Series,
    maturity: timedelta,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Collect what became known on one day: labels that landed, and transactions that matured unreported.

    A label that comes after its transaction matured is one more label and takes nothing back: so
    whatever is learnt later, what was known before stays as it is.

    Parameters
    ----------
    landed, transactions
        Labels known on the day, and the transactions they may belong to; see :func:`merge`.
    maturing
        Transactions (`EVENT_KEYS`) that reach the maturity on the day; None for none.
    reported_before
        Identifiers of transactions with a label known before the day.
    maturity
        Age at which an unreported transaction counts as genuine.

    Returns
    -------
    labels, unmatched
        As from :func:`merge`; what matured has the source `UNREPORTED`.
    """
    labels, unmatched = merge(landed, transactions)
    if maturing is None:
        return labels, unmatched
    # Not Series.isin, which goes through Python strings: 20 times slower.
    already = pd.Index(reported_before.unique()).get_indexer(pd.Index(maturing["transaction_id"]))
    candidates = maturing[already < 0]
    both = pd.concat([labels, _unreported(candidates, labels, maturity)])
    return both.sort_values(["label_known_at", "transaction_id"], ignore_index=True), unmatched


def current(labels: pd.DataFrame, as_of: datetime | None = None) -> pd.DataFrame:
    """Return for each transaction the label in force at `as_of`: the latest of those known before it.

    Parameters
    ----------
    labels
        `LABEL_COLUMNS`, of any sources. At the same instant fraud wins.
    as_of
        With a time zone; all labels count by default. A label known at this very instant does not yet.

    Returns
    -------
    DataFrame
        `LABEL_COLUMNS` sorted by ``(label_known_at, transaction_id)``, one row for each transaction.
    """
    known = labels if as_of is None else labels[labels["label_known_at"] < as_of]
    known = known.sort_values(["label_known_at", "transaction_id", "is_fraud"], kind="stable")
    return known.drop_duplicates("transaction_id", keep="last", ignore_index=True)


def _unreported(transactions: pd.DataFrame, labels: pd.DataFrame, maturity: timedelta) -> pd.DataFrame:
    """Return `LABEL_COLUMNS` for the transactions that have no label when they reach the maturity."""
    first = labels.groupby("transaction_id")["label_known_at"].min()
    due = transactions["event_time"] + maturity
    # Not Series.map: it cannot map through an empty series of times.
    is_reported = first.reindex(transactions["transaction_id"]).array <= due.array
    labelled = transactions.assign(is_fraud=False, label_known_at=due, label_source=UNREPORTED)
    unreported: pd.DataFrame = labelled.loc[~is_reported, list(LABEL_COLUMNS)]
    return unreported.astype(_DTYPES)
