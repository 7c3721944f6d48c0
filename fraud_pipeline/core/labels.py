"""What became known about transactions, when, and by whom.

Every label is kept: a later one is one more row. Which of them is in force at an instant follows from one rule:

    Each source speaks with its latest label, and only it can take back what it said. A transaction is a fraud as
    long as any source says so.

========================== =================== ==========================================================
earlier                    later               in force afterwards
========================== =================== ==========================================================
analyst: false positive    chargeback          fraud: the card holder knows what no pattern shows
chargeback                 analyst: false      fraud: the file itself has to withdraw it
                           positive
analyst: confirmed fraud   file: genuine       fraud: a card that was blocked in time is never charged back
file: genuine              analyst: confirmed  fraud
                           fraud
chargeback                 file: genuine       genuine, unless an analyst says fraud: the file withdrew it
analyst                    another analyst     the later decision, whether of an alert, in bulk or drawn at random
unreported at maturity     anybody             what they say
========================== =================== ==========================================================

At the same instant fraud wins. `inconclusive` is no label: it neither says anything nor takes anything back. A
transaction that nobody reported counts as genuine, but only once it is as old as the maturity.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import EVENT_KEYS, LABEL_COLUMNS, LANDED_LABEL_COLUMNS, TIME_DTYPE

CHARGEBACK_FILE: Final = "chargeback_file"
ANALYST: Final = "analyst"
UNREPORTED: Final = "unreported"
"""The values of ``label_source``: a file said it, an analyst decided it, or nobody reported it until maturity."""

DECISION_COLUMNS: Final = ("decision_id", "transaction_id", "outcome", "decided_at")
"""What analysts decided; the outcomes that are labels are those of `IS_FRAUD_OF_OUTCOME`."""
IS_FRAUD_OF_OUTCOME: Final = {"confirmed_fraud": True, "false_positive": False}

EVENT_COLUMNS: Final = LABEL_COLUMNS
"""What features need to read of labels: :func:`changes` are the events that they count."""
MEMORY: Final = timedelta(days=30)
"""How long a label is remembered to tell whether the next one says anything new; features count over no longer."""

_DTYPES: Final = dict.fromkeys(LABEL_COLUMNS, "str") | {
    "event_time": TIME_DTYPE,
    "is_fraud": "bool",
    "label_known_at": TIME_DTYPE,
}
_LANDED_DTYPES: Final = dict.fromkeys(LANDED_LABEL_COLUMNS, "str") | {
    "is_fraud": "bool",
    "label_known_at": TIME_DTYPE,
    "delay_days": "float64",
    "row_number": "int64",
}
_ORDER: Final = ["label_known_at", "transaction_id", "label_source"]


def no_labels() -> pd.DataFrame:
    """Return `LABEL_COLUMNS` without rows."""
    return pd.DataFrame(columns=list(LABEL_COLUMNS)).astype(_DTYPES)


def nothing_landed() -> pd.DataFrame:
    """Return `LANDED_LABEL_COLUMNS` without rows."""
    return pd.DataFrame(columns=list(LANDED_LABEL_COLUMNS)).astype(_LANDED_DTYPES)


def from_decisions(decisions: pd.DataFrame) -> pd.DataFrame:
    """Give the decisions that are labels the form of landed labels.

    Parameters
    ----------
    decisions
        `DECISION_COLUMNS`.

    Returns
    -------
    DataFrame
        `LANDED_LABEL_COLUMNS` without what is inconclusive; ``row_number`` is the number of the decision.
    """
    conclusive = decisions[decisions["outcome"].isin(list(IS_FRAUD_OF_OUTCOME))].reset_index(drop=True)
    landed = pd.DataFrame(
        {
            "transaction_id": conclusive["transaction_id"],
            "is_fraud": conclusive["outcome"].map(IS_FRAUD_OF_OUTCOME),
            "label_known_at": conclusive["decided_at"],
            "delay_days": float("nan"),
            "event_day": None,
            "source_name": ANALYST,
            "source_file": "",
            "row_number": conclusive["decision_id"],
            "file_sha256": "",
        }
    )
    return landed[list(LANDED_LABEL_COLUMNS)].astype(_LANDED_DTYPES)


def merge(
    landed: pd.DataFrame, transactions: pd.DataFrame, source: str = CHARGEBACK_FILE
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join labels of one source to their transactions.

    A label without a time of its own is known ``delay_days`` after its transaction's ``event_time``.
    Where labels of one transaction became known at the same instant, one is kept: if they disagree,
    fraud.

    Parameters
    ----------
    landed
        `LANDED_LABEL_COLUMNS`.
    transactions
        At least `EVENT_KEYS`. Of a repeated ``transaction_id`` the first row counts.
    source
        The ``label_source`` of all of them.

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
    joined["label_source"] = source

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
    decided: pd.DataFrame,
    transactions: pd.DataFrame,
    maturing: pd.DataFrame | None,
    reported_before: pd.Series,
    maturity: timedelta,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Collect what became known on one day: by file, by analysts, and by maturing unreported.

    A label that comes after its transaction matured is one more label and takes nothing back: so
    whatever is learnt later, what was known before stays as it is.

    Parameters
    ----------
    landed, decided
        Labels of files and decisions of analysts (see :func:`from_decisions`) that became known on the day.
    transactions
        The transactions that they may belong to; see :func:`merge`.
    maturing
        Transactions (`EVENT_KEYS`) that reach the maturity on the day; None for none.
    reported_before
        Identifiers of transactions with a label of a file or an analyst known before the day.
    maturity
        Age at which an unreported transaction counts as genuine.

    Returns
    -------
    labels, unmatched
        As from :func:`merge`, one row for each transaction, source and instant; what matured has the source
        `UNREPORTED`.
    """
    charged, without_charge = merge(landed, transactions)
    judged, without_judgement = merge(decided, transactions, ANALYST)
    labels = pd.concat([charged, judged])
    unmatched = pd.concat([without_charge, without_judgement], ignore_index=True)
    if maturing is not None:
        # Not Series.isin, which goes through Python strings: 20 times slower.
        already = pd.Index(reported_before.unique()).get_indexer(pd.Index(maturing["transaction_id"]))
        labels = pd.concat([labels, _unreported(maturing[already < 0], labels, maturity)])
    return labels.sort_values(_ORDER, ignore_index=True), unmatched


def current(labels: pd.DataFrame, as_of: datetime | None = None) -> pd.DataFrame:
    """Return for each transaction the label in force at `as_of`, by the rule at the top of this module.

    Parameters
    ----------
    labels
        `LABEL_COLUMNS`, of any sources, in any order.
    as_of
        With a time zone; all labels count by default. A label known at this very instant does not yet.

    Returns
    -------
    DataFrame
        `LABEL_COLUMNS` sorted by ``(label_known_at, transaction_id)``, one row for each transaction: the newest
        of those labels that say what is in force.
    """
    known = labels if as_of is None else labels[labels["label_known_at"] < as_of]
    known = known.sort_values(["label_known_at", "transaction_id", "is_fraud", "label_source"], kind="stable")
    latest = known.drop_duplicates(["transaction_id", "label_source"], keep="last")
    # Fraud after genuine, and otherwise in the order of time.
    in_force = latest.sort_values("is_fraud", kind="stable").drop_duplicates("transaction_id", keep="last")
    return in_force.sort_values(["label_known_at", "transaction_id"], ignore_index=True)


def changes(labels: pd.DataFrame) -> pd.DataFrame:
    """Return the labels that changed what was in force: a fraud that a second source confirms is one fraud.

    What comes later changes nothing before it, and what is older than `MEMORY` is forgotten: so a label is a change
    or is none, whatever else is among these labels, as long as those of the `MEMORY` before it are.

    Parameters
    ----------
    labels
        `EVENT_COLUMNS` at least, in any order.

    Returns
    -------
    DataFrame
        The same columns, sorted by ``label_known_at``; ``is_fraud`` is what is in force from then on.
    """
    repeated = labels["transaction_id"].duplicated(keep=False).to_numpy()
    # By position, and only where there is something to compare: sorting millions of identifiers takes many seconds.
    several = labels[["transaction_id", "label_source", "is_fraud", "label_known_at"]].assign(at=np.arange(len(labels)))
    several = several[repeated].sort_values([*_ORDER, "is_fraud"], ignore_index=True)
    sources = several["label_source"].unique()
    for source in sources:
        own = several["label_source"] == source
        said = several[["is_fraud", "label_known_at"]].astype({"is_fraud": "float64"}).where(own)
        several[[f"said {source}", f"when {source}"]] = said.groupby(several["transaction_id"]).ffill()
    # What is in force after an instant is known at the last of its labels.
    settled = several.drop_duplicates(["transaction_id", "label_known_at"], keep="last")
    is_fraud = _in_force(settled, settled["label_known_at"], sources)
    before = _in_force(settled.groupby("transaction_id").shift(), settled["label_known_at"], sources)
    chosen = ~repeated
    chosen[settled["at"].to_numpy()[before != is_fraud]] = True
    in_force = labels["is_fraud"].to_numpy(copy=True)
    in_force[settled["at"]] = is_fraud == 1.0
    found = labels.assign(is_fraud=in_force)[chosen]
    if not found["label_known_at"].is_monotonic_increasing:
        found = found.sort_values(["label_known_at", "transaction_id"])
    return found.reset_index(drop=True)


def _in_force(last: pd.DataFrame, at: pd.Series, sources: Iterable[str]) -> NDArray[np.float64]:
    """Say for each row what its sources last said of the transaction: 1 fraud, 0 genuine, -1 nothing or forgotten."""
    in_force = np.full(len(last), -1.0)
    for source in sources:
        remembered = (at - last[f"when {source}"] <= MEMORY).to_numpy()
        in_force[remembered] = np.maximum(in_force, last[f"said {source}"].to_numpy())[remembered]
    return in_force


def _unreported(transactions: pd.DataFrame, labels: pd.DataFrame, maturity: timedelta) -> pd.DataFrame:
    """Return `LABEL_COLUMNS` for the transactions that have no label when they reach the maturity."""
    first = labels.groupby("transaction_id")["label_known_at"].min()
    due = transactions["event_time"] + maturity
    # Not Series.map: it cannot map through an empty series of times.
    is_reported = first.reindex(transactions["transaction_id"]).array <= due.array
    labelled = transactions.assign(is_fraud=False, label_known_at=due, label_source=UNREPORTED)
    unreported: pd.DataFrame = labelled.loc[~is_reported, list(LABEL_COLUMNS)]
    return unreported.astype(_DTYPES)
