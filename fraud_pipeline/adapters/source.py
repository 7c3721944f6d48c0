"""The description of a source: which files it delivers and what their columns mean."""

import re
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from upath import UPath

from fraud_pipeline.core.errors import ConfigurationError, InputFileError


def _below_path(pattern: str) -> str:
    if not pattern or "\\" in pattern or pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
        raise ValueError("give a pattern below the ingested folder, such as transactions/*.csv, without '..'")
    return pattern


def _known_encoding(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError("is not a known text encoding: use utf-8, latin-1, cp1252, ...") from None
    return encoding


def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{zone!r} is not a known time zone: use an IANA name such as Europe/Paris or UTC") from None
    return zone


def _day_pattern(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error}): correct it or leave it out") from None
    if "day" not in groups:
        raise ValueError(r"needs a group (?P<day>...) around the date, such as (?P<day>\d{4}-\d{2}-\d{2})")
    return pattern


def _time_format(pattern: str) -> str:
    moment = datetime(2026, 1, 31, 20, 45, tzinfo=UTC)  # each part of it another number
    try:
        found = datetime.strptime(moment.strftime(pattern), pattern)  # noqa: DTZ007 - a wall clock
    except (ValueError, re.error) as error:
        raise ValueError(f"cannot be used ({error}): give one such as '%d.%m.%Y %H:%M:%S'") from None
    if found.replace(tzinfo=UTC) != moment:
        raise ValueError("needs year, month, day, hour and minute, such as '%d.%m.%Y %H:%M:%S'")
    return pattern


def _as_words(values: Any) -> Any:  # noqa: ANN401  # YAML reads 1 and true as numbers and booleans
    return [str(value).strip().casefold() for value in values] if isinstance(values, list) else values


ColumnName = Annotated[str, Field(min_length=1)]
Words = Annotated[tuple[str, ...], BeforeValidator(_as_words)]


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Columns(_Description):
    @model_validator(mode="after")
    def _check_uniqueness(self) -> Self:
        columns = [column for _, column in self if column is not None]
        if twice := sorted({column for column in columns if columns.count(column) > 1}):
            raise ValueError(f"the file's column {twice[0]!r} is given for two fields: give each its own")
        return self


class TransactionColumns(_Columns):
    """The file's column for each field of a transaction."""

    transaction_id: ColumnName
    user_id: ColumnName
    merchant_id: ColumnName
    event_time: ColumnName
    amount: ColumnName


class LabelColumns(_Columns):
    """The file's column for each field of a label."""

    transaction_id: ColumnName
    is_fraud: ColumnName
    label_known_at: ColumnName | None = None
    event_day: ColumnName | None = None
    scenario: ColumnName | None = None
    """What kind of fraud it was; only a backtest reads it, to say which kinds are found."""


class FileTable(_Description):
    """How to find and read one kind of file.

    Parameters
    ----------
    files
        Glob below the ingested folder.
    format
        By default the file's ending decides: ``.csv``, ``.jsonl`` (each perhaps with ``.gz``) or ``.parquet``.
    delimiter
        Of CSV files.
    encoding
        Of CSV and JSON Lines.
    time_format
        How times that are text are written, in the codes of ``strptime``; ISO 8601 by default.
    columns
        The file's column for each field.
    """

    time_field: ClassVar[str]

    files: Annotated[str, AfterValidator(_below_path)]
    format: Literal["csv", "jsonl", "parquet"] | None = None
    delimiter: Annotated[str, Field(pattern=r"^[\t !#-~]$")] = ","
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    time_format: Annotated[str, AfterValidator(_time_format)] | None = None
    columns: _Columns

    @property
    def mapping(self) -> dict[str, str]:
        """The file's column for each field."""
        return self.columns.model_dump(exclude_none=True)

    @property
    def number_marks(self) -> dict[str, tuple[str, str | None]]:
        """Decimal mark, and mark of thousands or None, of the fields that are numbers."""
        return {}


class TransactionTable(FileTable):
    """The files of transactions, at least one for each day.

    Parameters
    ----------
    day
        Regular expression, searched in the file name; its group ``day`` holds year, month and day.
    decimal
        Decimal mark of amounts that are written as text.
    thousands
        Mark between groups of three digits of such amounts; without it a grouped amount is rejected.
    """

    time_field: ClassVar[str] = "event_time"

    day: Annotated[str, AfterValidator(_day_pattern)] = r"(?P<day>\d{4}-?\d{2}-?\d{2})"
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", "'", " "] | None = None
    columns: TransactionColumns

    @model_validator(mode="after")
    def _check_marks(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"thousands and decimal are both {self.decimal!r}: an amount could not be read; set one")
        return self

    @property
    def number_marks(self) -> dict[str, tuple[str, str | None]]:
        """Decimal mark, and mark of thousands or None, of the fields that are numbers."""
        return {"amount": (self.decimal, self.thousands)}


class LabelTable(FileTable):
    """The files that say which transactions were fraud.

    Parameters
    ----------
    delay_days
        Only with the column ``event_day``: a label is known this long after its transaction.
    true_values, false_values
        What the column ``is_fraud`` holds for fraud and for genuine; case and outer blanks do not count.
    """

    time_field: ClassVar[str] = "label_known_at"

    columns: LabelColumns
    delay_days: Annotated[float, Field(ge=0, le=3650, allow_inf_nan=False)] | None = None
    true_values: Words = ("1", "1.0", "true", "t", "yes", "y", "fraud")
    false_values: Words = ("0", "0.0", "false", "f", "no", "n", "genuine")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        by_delay = self.columns.event_day is not None
        if by_delay == (self.columns.label_known_at is not None):
            raise ValueError("columns needs either label_known_at or event_day: keep one of them")
        if by_delay != (self.delay_days is not None):
            raise ValueError("delay_days belongs to event_day: give both, or neither")
        if both := sorted(set(self.true_values) & set(self.false_values)):
            raise ValueError(f"{', '.join(both)} is in true_values and false_values: set both lists")
        return self


class Source(_Description):
    """A supplier of transactions and, if `labels` is given, of labels.

    Parameters
    ----------
    name
        Its folder in the landing zone.
    currency
        Three-letter code (ISO 4217) of all its amounts.
    time_zone
        IANA zone of times that carry no offset.
    folder
        Folder that the patterns are relative to, itself relative to the description; only a backtest reads
        it, and without it takes the description's own folder.
    tokenise
        Fields whose identifiers, such as card numbers, are replaced by tokens where files are read.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    folder: str | None = None
    tokenise: tuple[Literal["user_id", "merchant_id"], ...] = ()
    transactions: TransactionTable
    labels: LabelTable | None = None

    def day_of(self, file_name: str) -> date:
        """Return the day that a transaction file holds, from its name.

        Raises
        ------
        InputFileError
            The name has no date where ``transactions.day`` looks for it.
        """
        match = re.search(self.transactions.day, file_name)
        digits = re.sub(r"\D", "", (match and match["day"]) or "")
        try:
            return date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}")
        except ValueError:
            raise InputFileError(
                f"{file_name}: no day in the name by the pattern {self.transactions.day!r}; "
                f"rename the file or set transactions.day of source {self.name}."
            ) from None

    def to_yaml(self) -> bytes:
        """Return the description as :func:`load_source` reads it."""
        left_out = {"folder"} if self.tokenise else {"folder", "tokenise"}
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True, exclude=left_out), sort_keys=False
        ).encode()


def load_source(path: Path | UPath) -> Source:
    """Read the description of a source.

    Raises
    ------
    ConfigurationError
        The file is missing or no YAML, or a key is missing, unknown or unusable: names file, key and remedy.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}. Give a SOURCE.yaml.") from error
    return parse_source(data, str(path))


def parse_source(data: bytes, name: str) -> Source:
    """Like :func:`load_source`, from the bytes of the file `name`."""
    try:
        return Source.model_validate(yaml.safe_load(data))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigurationError(f"{name} is not readable YAML: {problem}. Correct the file.") from error
    except ValidationError as error:
        complaints = "; ".join(_complaint(detail) for detail in error.errors())
        raise ConfigurationError(f"{name}: {complaints}.") from error


def _complaint(detail: Any) -> str:  # noqa: ANN401  # pydantic's ErrorDetails
    key = ".".join(str(part) for part in detail["loc"]) or "the file"
    match detail["type"]:
        case "missing":
            return f"{key} is missing: add it" + (" with the name of the file's column" if ".columns." in key else "")
        case "extra_forbidden":
            return f"{key} is not a known key: remove it or correct its spelling"
        case "value_error":
            return f"{key}: {detail['ctx']['error']}"
        case _:
            return f"{key} = {detail['input']!r} cannot be used: {detail['msg']}"
