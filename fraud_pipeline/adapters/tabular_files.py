"""Read CSV, JSON Lines and Parquet files as text, cell by cell as received.

What a text means is decided later, row by row. What cannot be read as a table is refused whole.
"""

import csv as plain_csv
import gzip
import io
import re
import zlib
from typing import TYPE_CHECKING, Final

import pandas as pd
from upath import UPath

from fraud_pipeline.adapters import storage
from fraud_pipeline.adapters.json_lines import read_json_lines
from fraud_pipeline.adapters.source import FileTable
from fraud_pipeline.core.errors import InputFileError

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS: Final = re.compile(r"\.(?:csv|csv\.gz|jsonl|jsonl\.gz|parquet)$")
"""What a file name ends in, by which its format is told."""

_DELIVER_AGAIN = "have the file delivered again"
_LONGEST_HEADER = 2**20
_LARGEST_BLOCK = 2**31 - 1


def read_text_table(path: UPath, table: FileTable) -> pd.DataFrame:
    """Read the columns that `table` maps; see :func:`parse_text_table`."""
    try:
        return parse_text_table(storage.read(path), path.name, table)
    except FileNotFoundError as error:
        raise InputFileError(f"{path} does not exist: check the path.") from error


def parse_text_table(data: bytes, name: str, table: FileTable) -> pd.DataFrame:
    """Read the columns that `table` maps from the bytes of a file.

    Parameters
    ----------
    data
        The whole file. CSV and JSON Lines may be compressed with gzip.
    name
        File name: its ending tells the format if `table` does not, and errors name it.
    table
        Mapping of fields to columns, and how the file is written.

    Returns
    -------
    DataFrame
        One ``str`` column for each field of ``table.mapping``, in its order; other columns of the file
        are left out. CSV cells are as received and missing only if empty. Parquet values become text
        without loss: ISO 8601 times (``+00:00`` if they are instants), the shortest digits that give the
        same number, ``true`` and ``false``. JSON numbers keep their digits. Where `table` says how amounts and
        times are written as text, they become plain numbers and ISO 8601; what is not written so stays as it
        is, but for the decimal mark: of a number with decimal comma a point, which can only separate
        thousands there, becomes a comma.

    Raises
    ------
    InputFileError
        The file is empty, truncated or not what its name says; a row is ragged; a mapped column is
        missing, appears twice or cannot be text.
    """
    import pyarrow as pa

    if not data:
        raise InputFileError(f"{name} is empty (0 bytes): {_DELIVER_AGAIN}.")
    file_format = table.format or _format_of(name)
    try:
        arrow = _READERS[file_format](data, name, table)
        columns = {field: arrow[column] for field, column in table.mapping.items()}
        cells = pa.table({field: _as_text(values, name, table.mapping[field]) for field, values in columns.items()})
        cells.validate(full=True)
        frame: pd.DataFrame = cells.to_pandas()
    except (pa.ArrowInvalid, OSError, EOFError, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise InputFileError(f"{name} is not a complete {file_format} file ({reason}): {_DELIVER_AGAIN}.") from error
    texts = [field for field, values in columns.items() if _is_text(values.type)]
    for field in texts:
        if field in table.number_marks:
            frame[field] = _plain_numbers(frame[field], *table.number_marks[field])
        elif field == table.time_field and table.time_format is not None:
            frame[field] = _iso_times(frame[field], table.time_format)
    return frame


def _plain_numbers(text: pd.Series, decimal: str, thousands: str | None) -> pd.Series:
    """Write numbers with a decimal point and without separators; groups of other lengths stay, to be rejected."""
    if thousands is not None:
        mark, point = re.escape(thousands), re.escape(decimal)
        is_grouped = text.str.fullmatch(rf"\s*[+-]?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{point}[0-9]*)?\s*")
        text = text.where(~is_grouped.fillna(False).astype("bool"), text.str.replace(thousands, "", regex=False))
    return text.str.translate(str.maketrans(",.", ".,")) if decimal == "," else text


def _iso_times(text: pd.Series, time_format: str) -> pd.Series:
    """Write times as ISO 8601; what is not of the format stays."""
    has_offset = "%z" in time_format
    times = pd.to_datetime(text.str.strip(), format=time_format, errors="coerce", utc=has_offset)
    iso = times.dt.strftime("%Y-%m-%dT%H:%M:%S.%f" + ("+00:00" if has_offset else "")).astype("str")
    return text.where(times.isna(), iso)


def _format_of(name: str) -> str:
    if ending := ENDINGS.search(name):
        return ending[0].split(".")[1]
    raise InputFileError(
        f"{name} ends in neither .csv, .csv.gz, .jsonl, .jsonl.gz nor .parquet: set the format in the source."
    )


def _read_csv(data: bytes, name: str, table: FileTable) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv

    text = _text_of(data, name, table.encoding)
    _check_columns(_header(text, name, table.delimiter), name, table)
    content = f"{text}\n".encode()
    columns = list(table.mapping.values())
    ragged: list[csv.InvalidRow] = []

    def note(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    arrow = csv.read_csv(
        pa.BufferReader(content),
        # Without threads, else rows carry no number. In one block, since no cell may reach over two.
        read_options=csv.ReadOptions(use_threads=False, block_size=min(len(content), _LARGEST_BLOCK)),
        parse_options=csv.ParseOptions(delimiter=table.delimiter, newlines_in_values=True, invalid_row_handler=note),
        convert_options=csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    for row in ragged:
        raise InputFileError(
            f"{name}, row {row.number - 1}: {row.actual_columns} cells where the header has {row.expected_columns}; "
            f"check delimiter and quotes, or {_DELIVER_AGAIN}."
        )
    return arrow


def _header(text: str, name: str, delimiter: str) -> list[str]:
    """Return the cells of the first line that has any."""
    lines = plain_csv.reader(io.StringIO(text[:_LONGEST_HEADER], newline=""), delimiter=delimiter)
    try:
        return next(cells for cells in lines if cells)
    except (StopIteration, plain_csv.Error) as error:
        raise InputFileError(f"{name} is not a complete csv file (no header line): {_DELIVER_AGAIN}.") from error


def _text_of(data: bytes, name: str, encoding: str) -> str:
    """Unpack and decode a file, without a byte order mark."""
    content = gzip.decompress(data) if name.endswith(".gz") else data
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputFileError(
            f"{name}, line {line}: byte {error.start} of the file is not {encoding}; "
            f"set the encoding in the source, or {_DELIVER_AGAIN}."
        ) from error


def _read_jsonl(data: bytes, name: str, table: FileTable) -> "pa.Table":
    arrow, keys = read_json_lines(_text_of(data, name, table.encoding), name, list(table.mapping.values()))
    _check_columns(keys, name, table)
    return arrow


def _read_parquet(data: bytes, name: str, table: FileTable) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(pa.BufferReader(data))
    _check_columns(parquet.schema_arrow.names, name, table)
    return parquet.read(columns=list(table.mapping.values()))


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    is_dictionary = pa.types.is_dictionary(kind)
    return _is_text(kind.value_type) if is_dictionary else pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _as_text(values: "pa.ChunkedArray", name: str, column: str) -> "pa.ChunkedArray":
    """Render typed values without loss."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_timestamp(kind):
        # By way of the integer: a cast would shift instants to their zone's wall clock.
        wall_clock = values.cast(pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.string())
        iso = pc.replace_substring(wall_clock, " ", "T")
        return iso if kind.tz is None else pc.binary_join_element_wise(iso, "+00:00", "")
    try:
        return values.cast(pa.string())
    except pa.ArrowNotImplementedError as error:
        raise InputFileError(
            f"{name}, column {column}: values of type {kind} are no cells; map a column of text, numbers or times."
        ) from error


def _check_columns(found: list[str], name: str, table: FileTable) -> None:
    for field, column in table.mapping.items():
        if column not in found:
            raise InputFileError(
                f"{name} has no column {column!r} for {field}; it has {', '.join(found)}. "
                f"Correct columns.{field} in the source, or {_DELIVER_AGAIN}."
            )
        if found.count(column) > 1:
            raise InputFileError(f"{name} has the column {column!r} twice: keep one of them.")


_READERS: Final = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
