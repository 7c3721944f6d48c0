"""Bring the files of a source into the landing zone: all of them, or none if one is bad."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path, PurePosixPath

from fraud_pipeline.adapters import frame_files
from fraud_pipeline.adapters.label_files import by_known_day, read_labels
from fraud_pipeline.adapters.landing_zone import LandingZone, checked_name, label_stem
from fraud_pipeline.adapters.source import FileTable, Source
from fraud_pipeline.adapters.tabular_files import parse_text_table
from fraud_pipeline.core.errors import ConfigurationError, InputFileError

_TOMORROW = timedelta(days=1)
"""Where the clocks are ahead of the deployment's it may have come already."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest found and did.

    Parameters
    ----------
    transaction_files, label_files, label_rows
        How many the delivery holds.
    first_day, last_day
        Of its transaction files; None without any.
    unchanged_files
        How many of the files were in the landing zone before, just as they are.
    """

    transaction_files: int
    label_files: int
    label_rows: int
    first_day: date | None
    last_day: date | None
    unchanged_files: int


@dataclass(frozen=True)
class _Labels:
    sha256: str
    rows: int
    parts: dict[date, bytes]


def ingest(
    path: Path,
    source: Source,
    landing_zone: LandingZone,
    currency: str,
    first_day: date | None,
    on_file: Callable[[str], None] | None = None,
    *,
    time_zone: str = "UTC",
    retention_days: int | None = None,
    today: date | None = None,
) -> IngestReport:
    """Check a delivery and copy it into the landing zone.

    Every file is read before the first is written. A transaction file is copied as it is; one that is
    there with the same bytes is left alone. A label file is converted and replaces what a file of the
    same name delivered before.

    Parameters
    ----------
    path
        Folder below which the patterns of `source` look for files, or one such file. Names that begin
        with a dot are passed over.
    source
        Its description; becomes the one in the landing zone.
    landing_zone
        Where the files go.
    currency
        Reporting currency of the deployment.
    first_day
        First day of the deployment, if it has one.
    on_file
        Called with the name of each file once it is in the landing zone.
    time_zone
        Zone of the deployment's days, by which labels are filed.
    retention_days
        How many days before the newest one the deployment keeps; an older file would fall into a closed month.
    today
        The day that it is there; a file of a later day than tomorrow has the wrong name.

    Raises
    ------
    ConfigurationError
        Another currency, a day before `first_day` or older than is kept, or a storage that cannot be written to.
    InputFileError
        There is no file, or one cannot be used. Nothing was written.
    """
    if source.currency != currency:
        raise ConfigurationError(
            f"Source {source.name} delivers {source.currency}, this deployment reports in {currency}: "
            "convert the amounts, or set FRAUD_PIPELINE_CURRENCY before any data is loaded."
        )
    transaction_paths, label_paths = _find(path, source)
    days = {file: source.day_of(file.name) for file in transaction_paths}
    for file, day in days.items():
        if today is not None and day > today + _TOMORROW:
            raise InputFileError(
                f"{file.name} is of {day}, and today is {today}: correct the day in its name, or set "
                f"transactions.day of source {source.name}."
            )
    known = {landed.day for landed in landing_zone.survey().files}
    for file, day in days.items():
        if closed := why_closed(day, first_day, max(known | set(days.values())), retention_days):
            raise ConfigurationError(f"{file.name} is of {day}, {closed}.")
    digests = {file: _check_transactions(file, source) for file in transaction_paths}
    labels = {file: _convert_labels(file, source, time_zone) for file in label_paths}

    done = on_file or (lambda _: None)
    is_new = []
    for file, delivered in labels.items():  # first: the run that a transaction file starts may need them
        is_new.append(landing_zone.put_labels(source, file.name, delivered.sha256, delivered.parts))
        done(file.name)
    landing_zone.put_source(source)
    for file, digest in digests.items():
        is_new.append(landing_zone.put_transactions(source, file.name, _read_again(file, digest)))
        done(file.name)
    return IngestReport(
        transaction_files=len(digests),
        label_files=len(labels),
        label_rows=sum(delivered.rows for delivered in labels.values()),
        first_day=min(days.values(), default=None),
        last_day=max(days.values(), default=None),
        unchanged_files=is_new.count(False),
    )


def why_closed(day: date, first_day: date | None, newest: date, retention_days: int | None) -> str | None:
    """Say why no file of a day is taken any more, and what to do; None if it is.

    Parameters
    ----------
    day
        Of the file.
    first_day
        First day of the deployment, if it has one.
    newest
        Newest day that the deployment has; retention counts from it, so that an old export can be loaded whole.
    retention_days
        How many days before it are kept; None for all.
    """
    if first_day is not None and day < first_day:
        return (
            f"before the first day {first_day} of this deployment: leave the file out, or set "
            "FRAUD_PIPELINE_FIRST_DAY to an earlier day"
        )
    if retention_days is not None and day < newest - timedelta(days=retention_days):
        return (
            f"more than {retention_days} days before the newest day {newest}, so its month is closed: leave the file "
            "out, or set FRAUD_PIPELINE_RETENTION_DAYS to more days"
        )
    return None


def files_below(folder: Path, table: FileTable | None) -> list[Path]:
    """Return the files that the pattern of `table` finds, in order of their names; none without a table."""
    found = folder.glob(table.files) if table else []
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def _find(path: Path, source: Source) -> tuple[list[Path], list[Path]]:
    """Return transaction files and label files; what is a label file is no transaction file."""
    if path.is_dir():
        labels = files_below(path, source.labels)
        transactions = [file for file in files_below(path, source.transactions) if file not in labels]
    elif path.is_file():
        transactions, labels = _single(path, source)
    else:
        raise InputFileError(f"{path} does not exist: give the folder or file to ingest.")
    if not transactions and not labels:
        patterns = [table.files for table in (source.transactions, source.labels) if table]
        raise InputFileError(
            f"{path}: nothing matches {' or '.join(patterns)}; check the path, or the files of source {source.name}."
        )
    _refuse_clashes(transactions, checked_name)
    _refuse_clashes(labels, label_stem)
    return transactions, labels


def _single(file: Path, source: Source) -> tuple[list[Path], list[Path]]:
    """Sort a single file by the patterns with their folders or, where these do not tell, by its name alone."""
    if _is_like(file, source.labels):
        return [], [file]
    if _is_like(file, source.transactions):
        return [file], []
    is_label = _is_like(file, source.labels, by_name=True)
    is_transaction = _is_like(file, source.transactions, by_name=True)
    if is_label and is_transaction:
        raise ConfigurationError(f"{file} may be transactions or labels of source {source.name}: ingest its folder.")
    return [file] if is_transaction else [], [file] if is_label else []


def _is_like(file: Path, table: FileTable | None, *, by_name: bool = False) -> bool:
    return table is not None and file.absolute().match(PurePosixPath(table.files).name if by_name else table.files)


def _refuse_clashes(files: Sequence[Path], name_in_zone: Callable[[str], str]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(name_in_zone(file.name), file)
        if other is not file:
            raise InputFileError(f"{other} and {file} go by the same name in the landing zone: rename one of them.")


def _check_transactions(file: Path, source: Source) -> str:
    """Raise if the file cannot be used, else return the SHA-256 of its bytes."""
    data = _read(file)
    parse_text_table(data, file.name, source.transactions)
    return hashlib.sha256(data).hexdigest()


def _convert_labels(file: Path, source: Source, time_zone: str) -> _Labels:
    data = _read(file)
    sha256 = hashlib.sha256(data).hexdigest()
    rows = read_labels(data, file.name, sha256, source)
    return _Labels(sha256, len(rows), {day: frame_files.encode(part) for day, part in by_known_day(rows, time_zone)})


def _read_again(file: Path, sha256: str) -> bytes:
    data = _read(file)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputFileError(f"{file} changed while it was ingested: wait until it is complete, then ingest again.")
    return data


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputFileError(f"{file} cannot be read ({error.strerror}): check it, then ingest again.") from error
