"""A user who is to be erased: under which identifiers the pipeline keeps them, and where."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.adapters import frame_files, storage, tokens
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandedFile, LandingZone
from fraud_pipeline.adapters.source import Source
from fraud_pipeline.adapters.tabular_files import parse_text_table
from fraud_pipeline.core.card_numbers import is_card_number
from fraud_pipeline.core.errors import ConfigurationError, FraudPipelineError

BLANKS = " \t\n\r\f\v"
"""Around an identifier they do not count, here and in the database."""


@dataclass(frozen=True)
class Person:
    """A user.

    Parameters
    ----------
    stored : frozenset of str
        The identifiers that lake and database have of them.
    key : str or None
        The secret that tokens are made with.
    """

    stored: frozenset[str]
    key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, identifier: str, key: str | None) -> "Person":
        """Tell what is kept of a user, given as sources deliver them or as the pipeline keeps them.

        Raises
        ------
        ConfigurationError
            The identifier is blank, or a card number and there is no key: no card number is kept.
        """
        given = identifier.strip(BLANKS)
        if not given:
            raise ConfigurationError("the identifier of the user is blank: give the one of the source or its token.")
        if is_card_number(given):
            if not key:
                raise ConfigurationError(
                    "a card number is kept as a token alone, and FRAUD_PIPELINE_TOKENISATION_KEY is not set: set it, "
                    "or give the token."
                )
            return cls(frozenset({tokens.token(given, key)}), key)
        # One source may tokenise what another delivers as it is.
        made = {tokens.token(given, key)} if key and not given.startswith(tokens.PREFIX) else set()
        return cls(frozenset({given} | made), key)

    def is_stored(self, ids: pd.Series) -> NDArray[np.bool_]:
        """Tell of identifiers as the pipeline keeps them, shape (n,), which are theirs."""
        return _by_name(ids, lambda name: name.strip(BLANKS) in self.stored)

    def is_delivered(self, ids: pd.Series, source: Source) -> NDArray[np.bool_]:
        """Tell of identifiers as a source delivers them, shape (n,), which are theirs."""
        key = self.key
        if key is None:
            return self.is_stored(ids)
        tokenised = "user_id" in source.tokenise

        def is_theirs(name: str) -> bool:
            # A card number that came by mistake is withheld by the pipeline; the file has it all the same.
            kept = tokens.token(name, key) if tokenised or is_card_number(name) else name.strip(BLANKS)
            return kept in self.stored

        return _by_name(ids, is_theirs)


@dataclass(frozen=True)
class LakeRows:
    """What the lake has, or had, of a user.

    Parameters
    ----------
    rows : dict of str to int
        By dataset, without those that have none.
    transaction_ids : set of str
    """

    rows: dict[str, int]
    transaction_ids: set[str]


@dataclass(frozen=True)
class Delivered:
    """Landing files that hold a user.

    Parameters
    ----------
    files : list of LandedFile
        Of transactions, then of labels of these.
    transaction_ids : set of str
    problems : list of str
        What could not be searched, and why.
    """

    files: list[LandedFile]
    transaction_ids: set[str]
    problems: list[str]


def erase_from_lake(lake: Lake, person: Person, *, dry_run: bool, on_day: Callable[[str, int, int], None]) -> LakeRows:
    """Rewrite every day of every dataset that has rows of a user without them, one file after the other.

    Parameters
    ----------
    lake : Lake
    person : Person
    dry_run : bool
        Only count.
    on_day : callable
        Told of each file: its name, how many are done, and how many there are.

    Raises
    ------
    InvalidDataError
        A file is damaged; those before it are done.
    ConfigurationError
        The storage cannot be written to; the files before are done.
    """
    partitions = [(dataset, day) for dataset in lake.datasets() for day in sorted(lake.days(dataset))]
    rows: dict[str, int] = {}
    transaction_ids: set[str] = set()
    for number, (dataset, day) in enumerate(partitions, start=1):
        removed = lake.remove_rows(dataset, day, "user_id", person.is_stored, dry_run=dry_run)
        if removed is not None:
            rows[dataset] = rows.get(dataset, 0) + len(removed)
            transaction_ids |= _transactions_of(removed)
        on_day(f"{dataset} {day}", number, len(partitions))
    return LakeRows(rows, transaction_ids)


def find_in_landing_zone(
    zone: LandingZone, person: Person, transaction_ids: set[str], on_file: Callable[[str, int, int], None]
) -> Delivered:
    """List the landing files that hold a user; nothing of them is changed.

    Parameters
    ----------
    zone : LandingZone
    person : Person
    transaction_ids : set of str
        Transactions that are known to be theirs; those found here count as well when labels are looked through.
    on_file : callable
        Told of each file of transactions: its name, how many are done, and how many there are.
    """
    survey = zone.survey()
    files: list[LandedFile] = []
    problems = [problem.message for problem in survey.problems]
    own = set(transaction_ids)
    for number, file in enumerate(survey.files, start=1):
        source = survey.sources[file.source]
        try:
            rows = parse_text_table(storage.read(zone.root / file.key), file.key, source.transactions)
        except (FraudPipelineError, FileNotFoundError) as error:
            problems.append(str(error))
            continue
        theirs = rows[person.is_delivered(rows["user_id"], source)]
        if len(theirs):
            files.append(file)
            own |= _transactions_of(theirs)
        on_file(file.key, number, len(survey.files))
    try:
        files.extend(_labels_of(zone, own))
    except FraudPipelineError as error:
        problems.append(str(error))
    return Delivered(files, own, problems)


def _labels_of(zone: LandingZone, transaction_ids: set[str]) -> Iterator[LandedFile]:
    for file in zone.label_files() if transaction_ids else []:
        with storage.open_to_read(zone.root / file.key) as data:
            labels = frame_files.decode(data, file.key, ["transaction_id"])
        if labels["transaction_id"].isin(transaction_ids).any():
            yield file


def _transactions_of(rows: pd.DataFrame) -> set[str]:
    return set(rows["transaction_id"].dropna()) if "transaction_id" in rows else set()


def _by_name(ids: pd.Series, is_theirs: Callable[[str], bool]) -> NDArray[np.bool_]:
    codes, names = pd.factorize(ids)
    # A last one, because that is where the code of a missing identifier points.
    return np.array([*(is_theirs(name) for name in names), False], dtype=bool)[codes]
