"""Read CSV and Parquet files as text, cell by cell as received.

What a text means is decided later, row by row. What cannot be read as a table is refused whole.
"""

import gzip
import zlib
from typing import TYPE_CHECKING

import pandas as pd
from upath import UPath

from fraud_pipeline.adapters import storage
from fraud_pipeline.adapters.source import FileTable
from fraud_pipeline.core.errors import InputFileError

if TYPE_CHECKING:
    import pyarrow as pa

_DELIVER_AGAIN = "have the file delivered again"


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
        The whole file. CSV may be compressed with gzip.
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
        same number, ``true`` and ``false``. A decimal comma of the fields in ``table.decimal_commas``
        becomes a point, and a point, which can only separate thousands there, a comma.

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
        arrow = _read_csv(data, name, table) if file_format == "csv" else _read_parquet(data, name, table)
        columns = {field: arrow[column] for field, column in table.mapping.items()}
        cells = pa.table({field: _as_text(values, name, table.mapping[field]) for field, values in columns.items()})
        cells.validate(full=True)
        frame: pd.DataFrame = cells.to_pandas()
    except (pa.ArrowInvalid, OSError, EOFError, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise InputFileError(f"{name} is not a complete {file_format} file ({reason}): {_DELIVER_AGAIN}.") from error
    for field in table.decimal_commas:
        if _is_text(columns[field].type):
            frame[field] = frame[field].str.translate(str.maketrans(",.", ".,"))
    return frame


def _format_of(name: str) -> str:
    if name.endswith((".csv", ".csv.gz")):
        return "csv"
    if name.endswith(".parquet"):
        return "parquet"
    raise InputFileError(f"{name} ends in neither .csv, .csv.gz nor .parquet: set the format in the source.")


def _read_csv(data: bytes, name: str, table: FileTable) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv

    content = _utf8(gzip.decompress(data) if name.endswith(".gz") else data, name, table.encoding)
    ragged: list[csv.InvalidRow] = []

    def note(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    def options(**convert: object) -> dict[str, object]:
        return {
            "read_options": csv.ReadOptions(use_threads=False),  # else rows carry no number
            "parse_options": csv.ParseOptions(
                delimiter=table.delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            "convert_options": csv.ConvertOptions(**convert),
        }

    with csv.open_csv(pa.BufferReader(content), **options()) as reader:
        found = reader.schema.names
    ragged.clear()
    _check_columns(found, name, table)
    columns = list(table.mapping.values())
    arrow = csv.read_csv(
        pa.BufferReader(content),
        **options(
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


def _utf8(content: bytes, name: str, encoding: str) -> bytes:
    """Return CSV content as UTF-8 that ends with a line break, without a byte order mark."""
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputFileError(
            f"{name}, line {line}: byte {error.start} of the file is not {encoding}; "
            f"set the encoding in the source, or {_DELIVER_AGAIN}."
        ) from error
    return f"{text}\n".encode()


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
