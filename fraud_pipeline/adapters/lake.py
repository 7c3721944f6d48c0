"""The lake: one Parquet file for each dataset and day, and JSON documents beside them."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from fraud_pipeline.adapters import frame_files, storage
from fraud_pipeline.core.errors import ConfigurationError, MissingPartitionError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_DAY_FILE = re.compile(r"(\d{4}-\d{2}-\d{2})\.parquet")


class Lake:
    """Partitioned datasets below one root.

    A partition is replaced as a whole: a reader sees the old rows or the new ones, never part of
    either. The same frame gives the same bytes.

    Parameters
    ----------
    root
        A folder or ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self.root = storage.open_root(root)

    def write(self, dataset: str, day: date, frame: pd.DataFrame) -> None:
        """Write or replace the partition of `day`; the index is not stored.

        Raises
        ------
        ConfigurationError
            The storage cannot be written to; the partition is as it was.
        """
        storage.publish(self._partition(dataset, day), frame_files.encode(frame))

    def read(self, dataset: str, day: date, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the partition of `day`, or some columns of it, with the dtypes that were written.

        Raises
        ------
        MissingPartitionError
            The day has not been materialised.
        InvalidDataError
            The file is damaged or lacks a column.
        """
        with self._opened(dataset, day) as file:
            return frame_files.decode(file, f"{dataset} of {day}", columns)

    def read_days(
        self, dataset: str, days: Iterable[date], columns: Sequence[str] | None = None
    ) -> dict[date, pd.DataFrame]:
        """Read those of `days` that exist, in the order given; a missing day is left out."""
        frames = {}
        for day in days:
            with suppress(MissingPartitionError):
                frames[day] = self.read(dataset, day, columns)
        return frames

    def days(self, dataset: str) -> set[date]:
        """Return the days that have a partition."""
        names = (_DAY_FILE.fullmatch(file.key) for file in storage.list_files(self.root / _checked(dataset)))
        return {date.fromisoformat(match[1]) for match in names if match}

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have a partition, in alphabetical order."""
        return storage.list_folders(self.root)

    def remove_rows(
        self,
        dataset: str,
        day: date,
        column: str,
        matches: Callable[[pd.Series], NDArray[np.bool_]],
        *,
        dry_run: bool = False,
    ) -> pd.DataFrame | None:
        """Take rows out of the partition of `day`; the others stay as they are.

        Parameters
        ----------
        dataset, day
        column
            The column that tells which rows.
        matches
            Takes its values, shape (n,), and returns which rows to remove, shape (n,).
        dry_run
            Only look.

        Returns
        -------
        DataFrame or None
            The rows that are, or would be, removed; None where there are none or no such column.

        Raises
        ------
        MissingPartitionError
            The day has not been materialised.
        InvalidDataError
            The file is damaged.
        ConfigurationError
            The storage cannot be written to; the partition is as it was.
        """
        with self._opened(dataset, day) as file:
            found = frame_files.without_rows(file, f"{dataset} of {day}", column, matches)
        if found is None:
            return None
        kept, removed = found
        if not dry_run:
            storage.publish(self._partition(dataset, day), kept)
        return removed

    def row_counts(self, dataset: str) -> dict[date, int]:
        """Count the rows of each day that has a partition, without reading them.

        Raises
        ------
        InvalidDataError
            A file is damaged.
        """
        counts = {}
        for day in sorted(self.days(dataset)):
            with storage.open_to_read(self._partition(dataset, day)) as file:
                counts[day] = frame_files.count_rows(file, f"{dataset} of {day}")
        return counts

    def exists(self, dataset: str, day: date) -> bool:
        """Tell whether the day has a partition."""
        return storage.exists(self._partition(dataset, day))

    def delete(self, dataset: str, day: date) -> None:
        """Delete the partition of `day`; a missing one is no error."""
        storage.remove(self._partition(dataset, day))

    def write_json(self, name: str, value: Any) -> None:  # noqa: ANN401  # any value that JSON can hold
        """Write or replace the document `name`; NaN and infinity are refused with ValueError."""
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=2, sort_keys=True)
        storage.publish(self._document(name), f"{text}\n".encode())

    def exists_json(self, name: str) -> bool:
        """Tell whether there is a document `name`."""
        return storage.exists(self._document(name))

    def read_json(self, name: str) -> Any:  # noqa: ANN401  # any value that JSON can hold
        """Read the document `name`.

        Raises
        ------
        MissingPartitionError
            There is no such document.
        """
        try:
            return json.loads(storage.read(self._document(name)))
        except FileNotFoundError as error:
            raise MissingPartitionError(f"{name} is not in {self.root}: materialise {name} first.") from error

    @contextmanager
    def _opened(self, dataset: str, day: date) -> Iterator[BinaryIO]:
        try:
            with storage.open_to_read(self._partition(dataset, day)) as file:
                yield file
        except FileNotFoundError as error:
            raise MissingPartitionError(
                f"{dataset} has no partition for {day} in {self.root}: materialise {dataset} for {day} first."
            ) from error

    def _partition(self, dataset: str, day: date) -> UPath:
        return self.root / _checked(dataset) / f"{day.isoformat()}.parquet"

    def _document(self, name: str) -> UPath:
        return self.root / f"{_checked(name)}.json"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot name a dataset: use a-z, 0-9, '_', '.' and '-'.")
    return name
