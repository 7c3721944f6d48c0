"""The landing zone: what sources delivered, in files as received.

Below its root, for each source::

    <source name>/source.yaml
    <source name>/transactions/<files as received, the day in their names>
    <source name>/labels/<day on which they become known>/<file>-<hash>.parquet
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from io import BytesIO

import numpy as np
import pandas as pd
from upath import UPath

from fraud_pipeline.adapters import frame_files, storage
from fraud_pipeline.adapters.label_files import LANDED_LABEL_DTYPES
from fraud_pipeline.adapters.source import Source, parse_source
from fraud_pipeline.adapters.tabular_files import parse_text_table
from fraud_pipeline.core.errors import ConfigurationError, InputFileError
from fraud_pipeline.core.schema import LANDED_LABEL_COLUMNS, RAW_COLUMNS

_UNSAFE_NAME = re.compile(r"^\.|[/\\\x00-\x1f\x7f]|^$")
_LABEL_PATH = re.compile(r"(\d{4}-\d{2}-\d{2})/[^/]+-[0-9a-f]{8}\.parquet")
_ENDING = re.compile(r"\.(csv|csv\.gz|parquet)$")


@dataclass(frozen=True)
class LandedFile:
    """A file in the landing zone.

    Parameters
    ----------
    source
        Name of the source.
    key
        Path below the root, with ``/`` between the parts.
    day
        The day whose transactions, or on which known labels, it holds.
    etag
        Changes when the file is written again.
    """

    source: str
    key: str
    day: date
    etag: str


class LandingZone:
    """Deliveries of all sources below one root.

    Parameters
    ----------
    root
        A folder or ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self.root = storage.open_root(root)

    def sources(self) -> list[Source]:
        """Return the sources that have delivered, by name; a folder without ``source.yaml`` is none.

        Raises
        ------
        ConfigurationError
            A description cannot be used.
        """
        sources = []
        for folder in storage.list_folders(self.root):
            path = self.root / folder / "source.yaml"
            if not storage.exists(path):
                continue
            source = parse_source(storage.read(path), str(path))
            if source.name != folder:
                raise ConfigurationError(f"{path} has the name {source.name}: name the source as its folder, {folder}.")
            sources.append(source)
        return sources

    def transaction_files(self, day: date | None = None) -> list[LandedFile]:
        """List the transaction files, of `day` or of all days, by source and name.

        Raises
        ------
        InputFileError
            A file has no day in its name.
        """
        landed = []
        for source in self.sources():
            folder = self._transactions(source.name)
            for file in storage.list_files(folder):
                key = f"{source.name}/transactions/{file.key}"
                landed.append(LandedFile(source.name, key, source.day_of(file.key), file.etag))
        return [file for file in landed if day in (None, file.day)]

    def label_files(self, day: date | None = None) -> list[LandedFile]:
        """List the label files by source, day and name: of all days, or of those known on `day`."""
        landed = []
        for source in self.sources():
            folder = self._labels(source.name) / (day.isoformat() if day else "")
            for file in storage.list_files(folder):
                path = _LABEL_PATH.fullmatch(f"{day}/{file.key}" if day else file.key)
                if path is None:
                    raise InputFileError(f"{folder / file.key} was not put there by ingest: remove and ingest it.")
                key = f"{source.name}/labels/{path[0]}"
                landed.append(LandedFile(source.name, key, date.fromisoformat(path[1]), file.etag))
        return landed

    def read_transactions(self, day: date) -> pd.DataFrame:
        """Read all transaction files of `day`.

        Returns
        -------
        DataFrame
            `RAW_COLUMNS`: text as received, in the order of files and rows. ``row_number`` counts the
            data rows of each file from 1, ``file_sha256`` is of the very bytes that were parsed.

        Raises
        ------
        InputFileError
            There is no file for the day, or one cannot be read.
        """
        files = self.transaction_files(day)
        if not files:
            raise InputFileError(
                f"No transaction file for {day} in {self.root}: ingest one, or check the day in its name."
            )
        sources = {source.name: source for source in self.sources()}
        frames = [self._read_file(file, sources[file.source]) for file in files]
        return pd.concat(frames, ignore_index=True)

    def read_labels(self, day: date) -> pd.DataFrame:
        """Read the labels that become known on `day`: `LANDED_LABEL_COLUMNS`, perhaps no rows.

        Raises
        ------
        InvalidDataError
            A label file in the landing zone is damaged.
        """
        frames = [pd.DataFrame(columns=list(LANDED_LABEL_COLUMNS)).astype(LANDED_LABEL_DTYPES)]
        for file in self.label_files(day):
            data = storage.read(self.root / file.key)
            frames.append(frame_files.decode(BytesIO(data), file.key, LANDED_LABEL_COLUMNS))
        return pd.concat(frames, ignore_index=True)

    def sha256(self, file: LandedFile) -> str:
        """Return the SHA-256 of a landed file's bytes, as in the column ``file_sha256``."""
        return hashlib.sha256(storage.read(self.root / file.key)).hexdigest()

    def put_source(self, source: Source) -> None:
        """Store the description of a source."""
        storage.publish_if_changed(self.root / source.name / "source.yaml", source.to_yaml())

    def put_transactions(self, source: Source, name: str, data: bytes) -> bool:
        """Store a transaction file; return False if it was there with the same bytes, and is left alone."""
        return storage.publish_if_changed(self._transactions(source.name) / checked_name(name), data)

    def put_labels(self, source: Source, name: str, sha256: str, parts: Mapping[date, bytes]) -> bool:
        """Store the labels of one delivered file in place of what a file of that name delivered before.

        Parameters
        ----------
        source
            Who delivered it.
        name, sha256
            The delivered file; its name counts without ending.
        parts
            Encoded `LANDED_LABEL_COLUMNS` for each day on which labels become known.

        Returns
        -------
        bool
            False if all of it was there already.
        """
        folder = self._labels(source.name)
        stem = label_stem(name)
        keys = {f"{day.isoformat()}/{stem}-{sha256[:8]}.parquet": data for day, data in parts.items()}
        changes = [storage.publish_if_changed(folder / key, data) for key, data in keys.items()]
        own = re.compile(rf"[^/]+/{re.escape(stem)}-[0-9a-f]{{8}}\.parquet")
        there = {file.key for file in storage.list_files(folder) if own.fullmatch(file.key)}
        stale = there - keys.keys()
        for key in stale:
            storage.remove(folder / key)
        return any(changes) or bool(stale)

    def _transactions(self, source_name: str) -> UPath:
        return self.root / source_name / "transactions"

    def _labels(self, source_name: str) -> UPath:
        return self.root / source_name / "labels"

    def _read_file(self, file: LandedFile, source: Source) -> pd.DataFrame:
        data = storage.read(self.root / file.key)
        rows = parse_text_table(data, file.key, source.transactions)
        origin = {
            "time_zone": source.time_zone,
            "currency": source.currency,
            "source_name": source.name,
            "source_file": file.key.rpartition("/")[2],
            "file_sha256": hashlib.sha256(data).hexdigest(),
        }
        rows = rows.assign(**origin).astype(dict.fromkeys(origin, "str"))
        return rows.assign(row_number=np.arange(1, len(rows) + 1))[list(RAW_COLUMNS)]


def checked_name(name: str) -> str:
    """Return `name` if it is a plain file name, which cannot lead out of its folder.

    Raises
    ------
    InputFileError
        It has a folder, begins with a dot or holds a control character.
    """
    if _UNSAFE_NAME.search(name):
        raise InputFileError(f"{name!r} is no plain file name: rename the file (no '/', no '\\', no dot in front).")
    return name


def label_stem(name: str) -> str:
    """Return the name of a label file without ending, by which a later delivery replaces it."""
    return _ENDING.sub("", checked_name(name))
