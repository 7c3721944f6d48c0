"""Whole Arrow tables in PostgreSQL's binary format of COPY.

Each step handles a column, none a row: values of fixed width are laid side by side in one matrix, and Arrow joins
that with the texts. Against CSV it spares both sides to print and to parse numbers and times.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, Integer, SmallInteger, Table, Text
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    import pyarrow as pa

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_NULL: Final = b"\xff\xff\xff\xff"
_DAYS_TO_2000: Final = 10_957
_MICROSECONDS_TO_2000: Final = _DAYS_TO_2000 * 86_400_000_000
# SQL type, what Arrow has to call the values, the Arrow type to read them as, that of PostgreSQL, and its zero.
# The first that fits counts: a SmallInteger is an Integer, too.
_FIXED: Final[tuple[tuple[type[TypeEngine[Any]], str, str, str, int], ...]] = (
    (SmallInteger, "integer", "int16", ">i2", 0),
    (BigInteger, "integer", "int64", ">i8", 0),
    (Integer, "integer", "int32", ">i4", 0),
    (Double, "floating", "float64", ">f8", 0),
    (Boolean, "boolean", "uint8", "u1", 0),
    (Date, "date32", "int32", ">i4", _DAYS_TO_2000),
    (DateTime, "timestamp", "int64", ">i8", _MICROSECONDS_TO_2000),
)


def encode(rows: "pa.Table", table: Table) -> tuple[list[str], memoryview] | None:
    """Encode rows for ``COPY table (columns) FROM STDIN (FORMAT binary)``, between `HEADER` and `TRAILER`.

    Parameters
    ----------
    rows : pyarrow.Table
        At least one row; nulls become NULL.
    table : Table
        Its types say how values are written.

    Returns
    -------
    columns, bytes
        Names in the order in which they are encoded; None if a type of the table or of the rows has no form here.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    fixed: list[tuple[str, NDArray[Any]]] = []
    texts: list[str] = []
    pieces: list[Any] = []
    for name in rows.column_names:
        values = rows[name].combine_chunks()
        kind = table.c[name].type
        if type(kind) is Text and pa.types.is_large_string(values.type):
            lengths = pc.binary_length(values).fill_null(-1).cast(pa.int32())
            prefix = _as_binary(lengths.to_numpy(zero_copy_only=False).astype(">i4").view("u1").reshape(-1, 4))
            pieces += [prefix, values.cast(pa.large_binary()).fill_null(b"")]
            texts.append(name)
            continue
        numbers = _numbers(values, kind)
        if numbers is None:
            return None
        if values.null_count:
            cell = _as_binary(_cells([numbers]))
            pieces.append(pc.if_else(values.is_null(), pa.scalar(_NULL, pa.large_binary()), cell))
            texts.append(name)
        else:
            fixed.append((name, numbers))
    count = np.full((len(rows), 2), np.frombuffer(len(rows.column_names).to_bytes(2, "big"), np.uint8))
    block = np.hstack([count, _cells([numbers for _, numbers in fixed])]) if fixed else count
    joined = pc.binary_join_element_wise(_as_binary(block), *pieces, pa.scalar(b"", pa.large_binary()))
    return [*(name for name, _ in fixed), *texts], memoryview(joined.buffers()[2])


def _numbers(values: "pa.Array", kind: TypeEngine[Any]) -> NDArray[Any] | None:
    """Give the values as PostgreSQL keeps them; None where they are of another type or do not fit."""
    import pyarrow as pa

    for sql_type, name, read_as, dtype, zero in _FIXED:
        if isinstance(kind, sql_type):
            is_type = getattr(pa.types, f"is_{name}")
            if not is_type(values.type) or (name == "timestamp" and values.type.unit != "us"):
                return None
            try:
                plain = values.cast(read_as).fill_null(0).to_numpy(zero_copy_only=False)
            except pa.ArrowInvalid:  # too large
                return None
            numbers: NDArray[Any] = (plain - zero if zero else plain).astype(dtype)
            return numbers
    return None


def _cells(columns: list[NDArray[Any]]) -> NDArray[np.uint8]:
    """Lay columns side by side, each value behind its length."""
    layout = np.dtype(
        [
            part
            for number, column in enumerate(columns)
            for part in ((f"l{number}", ">i4"), (f"v{number}", column.dtype))
        ]
    )
    cells = np.empty(len(columns[0]), dtype=layout)
    for number, column in enumerate(columns):
        cells[f"l{number}"] = column.dtype.itemsize
        cells[f"v{number}"] = column
    return cells.view(np.uint8).reshape(len(cells), layout.itemsize)


def _as_binary(matrix: NDArray[np.uint8]) -> "pa.Array":
    """Take each row of a matrix of bytes for one value."""
    import pyarrow as pa

    rows, width = matrix.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int64)
    data = np.ascontiguousarray(matrix)
    return pa.Array.from_buffers(pa.large_binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
