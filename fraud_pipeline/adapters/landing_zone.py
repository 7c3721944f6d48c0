"""The landing zone: what sources delivered, in files as received.

Below its root, for each source::

    <source name>/source.yaml
    <source name>/transactions/<files as received, the day in their names>
    <source name>/labels/<day on which they become known>/<file>-<hash>.parquet
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from upath import UPath

from fraud_pipeline.adapters import frame_files, storage, tokens
from fraud_pipeline.adapters.label_files import LANDED_LABEL_DTYPES
from fraud_pipeline.adapters.source import Source, parse_source
from fraud_pipeline.adapters.tabular_files import ENDINGS, parse_text_table
from fraud_pipeline.core import card_numbers
from fraud_pipeline.core.errors import ConfigurationError, InputFileError
from fraud_pipeline.core.schema import LANDED_LABEL_COLUMNS, RAW_COLUMNS

_UNSAFE_NAME = re.compile(r"^\.|[/\\\x00-\x1f\x7f]|^$")
_LABEL_PATH = re.compile(r"(\d{4}-\d{2}-\d{2})/[^/]+-[0-9a-f]{8}\.parquet")
QUIET: Final = timedelta(seconds=10)
"""A file in a folder that nobody wrote to for so long is taken to be complete."""


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


@dataclass(frozen=True)
class LandingProblem:
    """A file or description in the landing zone that cannot be used, and does not stop the others.

    Parameters
    ----------
    key
        Path below the root.
    etag
        Changes when it is written again.
    message
        What is wrong and what to do.
    """

    key: str
    etag: str
    message: str


@dataclass(frozen=True)
class Survey:
    """What there is in the landing zone, with what cannot be used beside what can."""

    files: tuple[LandedFile, ...]
    problems: tuple[LandingProblem, ...]
    sources: Mapping[str, Source]


class LandingZone:
    """Deliveries of all sources below one root.

    Parameters
    ----------
    root
        A folder or ``s3://bucket/prefix``.
    tokenisation_key
        Secret that tokens are made with, where a source asks for them.
    """

    def __init__(self, root: str, tokenisation_key: str | None = None) -> None:
        self.root = storage.open_root(root)
        self._tokenisation_key = tokenisation_key

    def sources(self) -> list[Source]:
        """Return the sources that have delivered, by name; a folder without ``source.yaml`` is none.

        Raises
        ------
        ConfigurationError
            A description cannot be used.
        """
        folders = storage.list_folders(self.root)
        return [self._source(each) for each in folders if storage.exists(self.root / each / "source.yaml")]

    def survey(self) -> Survey:
        """List the transaction files of all days by source and name, whatever else is wrong there.

        A file without a day in its name is a problem of its own, and a description that cannot be used is one for
        the whole folder of its source; neither hides the other files.
        """
        files: list[LandedFile] = []
        problems: list[LandingProblem] = []
        sources: dict[str, Source] = {}
        for folder in storage.list_folders(self.root):
            description = self.root / folder / "source.yaml"
            try:
                # A storage that fails is no problem of one source: that ends the survey.
                data = storage.read(description)
            except FileNotFoundError:
                continue
            try:
                sources[folder] = source = _described(data, description)
            except ConfigurationError as error:
                digest = hashlib.sha256(data).hexdigest()
                problems.append(LandingProblem(f"{folder}/source.yaml", digest, str(error)))
                continue
            for file in storage.list_files(self._transactions(folder)):
                key = f"{folder}/transactions/{file.key}"
                try:
                    files.append(LandedFile(folder, key, source.day_of(file.key), file.etag))
                except InputFileError as error:
                    problems.append(LandingProblem(key, file.etag, f"{folder}/transactions/{error}"))
        return Survey(tuple(files), tuple(problems), sources)

    def transaction_files(self, day: date | None = None) -> list[LandedFile]:
        """List the transaction files, of `day` or of all days, by source and name.

        Raises
        ------
        ConfigurationError
            A description cannot be used.
        InputFileError
            All days are asked for, and a file has no day in its name.
        """
        found = self.survey()
        for problem in found.problems:
            if problem.key.count("/") == 1:  # a description; files lie deeper
                raise ConfigurationError(problem.message)
        if day is None and found.problems:
            raise InputFileError(found.problems[0].message)
        return [file for file in found.files if day in (None, file.day)]

    def settled(self, files: Sequence[LandedFile], looks: Mapping[str, str], now: datetime) -> list[LandedFile]:
        """Return those of `files` that nobody is writing to any more.

        An object of a store is complete once it is listed. A file in a folder may be half copied: it counts as
        complete if it is the same as at the look before, or nobody wrote to it for `QUIET`.

        Parameters
        ----------
        files
            As listed now.
        looks
            ETag by key, of the look before; a tick of a sensor earlier, say.
        now
            The time.
        """
        return [file for file in files if looks.get(file.key) == file.etag or self._is_quiet(file, now)]

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
            There is no file for the day, or one cannot be read, or is written to meanwhile.
        """
        found = self.survey()
        files = [file for file in found.files if file.day == day]
        if not files:
            others = "".join(f" {problem.message}" for problem in found.problems[:3])
            raise InputFileError(
                f"No transaction file for {day} in {self.root}: ingest one, or check the day in its name.{others}"
            )
        try:
            frames = [self._read_file(file, found.sources[file.source]) for file in files]
        except InputFileError:
            self._require_unchanged(files)  # the better explanation
            raise
        self._require_unchanged(files)
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
        """Store the description of a source.

        Raises
        ------
        ConfigurationError
            It asks for tokens and there is no key to make them with.
        """
        if source.tokenise:
            self._key(source)
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

    def _source(self, folder: str) -> Source:
        path = self.root / folder / "source.yaml"
        return _described(storage.read(path), path)

    def _key(self, source: Source) -> str:
        if not self._tokenisation_key:
            raise ConfigurationError(
                f"source {source.name} asks for tokens of {', '.join(source.tokenise)}, and there is no key: set "
                "FRAUD_PIPELINE_TOKENISATION_KEY to a long random secret, the same for ever."
            )
        return self._tokenisation_key

    def _is_quiet(self, file: LandedFile, now: datetime) -> bool:
        if not isinstance(self.root, Path):
            return True
        modified = datetime.fromtimestamp(int(file.etag.rpartition("-")[2]) / 1e9, tz=UTC)
        return modified <= now - QUIET

    def _require_unchanged(self, files: Sequence[LandedFile]) -> None:
        now = {(file.key, file.etag) for file in self.survey().files}
        for file in files:
            if (file.key, file.etag) not in now:
                raise InputFileError(
                    f"{file.key} changed while it was read: somebody is still writing it; wait until it is complete, "
                    "then run the day again."
                )

    def _read_file(self, file: LandedFile, source: Source) -> pd.DataFrame:
        try:
            data = storage.read(self.root / file.key)
        except FileNotFoundError as error:
            raise InputFileError(
                f"{file.key} is gone since it was listed: put it back, or run the day again without it."
            ) from error
        rows = parse_text_table(data, file.key, source.transactions)
        origin = {
            "time_zone": source.time_zone,
            "currency": source.currency,
            "source_name": source.name,
            "source_file": file.key.rpartition("/")[2],
            "file_sha256": hashlib.sha256(data).hexdigest(),
        }
        # From here on nothing holds an identifier that is to be a token, nor a card number by mistake.
        for field in source.tokenise:
            rows[field] = tokens.tokenise(rows[field], self._key(source))
        rows["user_id"] = card_numbers.withhold(rows["user_id"])
        rows = rows.assign(**origin).astype(dict.fromkeys(origin, "str"))
        return rows.assign(row_number=np.arange(1, len(rows) + 1))[list(RAW_COLUMNS)]


def _described(data: bytes, path: UPath) -> Source:
    source = parse_source(data, str(path))
    if source.name != path.parent.name:
        raise ConfigurationError(
            f"{path} has the name {source.name}: name the source as its folder, {path.parent.name}."
        )
    return source


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
    return ENDINGS.sub("", checked_name(name))


def files_digest(files: Iterable[LandedFile]) -> str:
    """Return a text that changes when one of the files comes, goes or changes."""
    return hashlib.sha256(repr(sorted((file.key, file.etag) for file in files)).encode()).hexdigest()[:16]
