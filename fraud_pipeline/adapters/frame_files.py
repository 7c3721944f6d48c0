"""The project's own Parquet files: a frame to bytes and back, with its dtypes."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.errors import InvalidDataError

if TYPE_CHECKING:
    import pyarrow as pa


def encode(frame: pd.DataFrame) -> bytes:
    """Return `frame` without its index as Parquet (zstd); equal frames give equal bytes."""
    import pyarrow as pa

    bare = frame.copy(deep=False)
    bare.attrs = {}
    return _bytes_of(pa.Table.from_pandas(bare, preserve_index=False))


def digest(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of columns and rows of `frame`, without its index; equal frames have equal digests.

    Unlike that of :func:`encode`'s bytes it is the same whatever versions of the libraries write them.
    """
    import pyarrow as pa

    # One chunk a column and no metadata: how a frame came about is no content of it.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None).combine_chunks()
    hashed = _Hashed()
    with pa.ipc.new_stream(pa.PythonFile(hashed, mode="w"), table.schema) as stream:
        stream.write_table(table)
    return hashed.sha256.hexdigest()


def decode(file: BinaryIO, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a frame that :func:`encode` wrote.

    Parameters
    ----------
    file
        The opened file; only the bytes of the wanted columns are read.
    name
        What to call the file in an error.
    columns
        The columns wanted, in this order; all by default.

    Raises
    ------
    InvalidDataError
        The file is damaged, or lacks a wanted column.
    """
    import pyarrow.parquet as pq

    with _damage_explained(name):
        parquet = pq.ParquetFile(file)
        stored = parquet.schema_arrow.names
        missing = [column for column in columns or () if column not in stored]
        if missing:
            raise InvalidDataError(
                f"{name} has no column {', '.join(missing)} (it has {', '.join(stored)}): "
                "it was written by another version; materialise it again."
            )
        frame: pd.DataFrame = parquet.read(columns=columns).to_pandas()
    return frame if columns is None else frame[list(columns)]


def without_rows(
    file: BinaryIO, name: str, column: str, matches: Callable[[pd.Series], NDArray[np.bool_]]
) -> tuple[bytes, pd.DataFrame] | None:
    """Leave rows out of a frame that :func:`encode` wrote; everything else of it stays as it is.

    Parameters
    ----------
    file, name
        As for :func:`decode`.
    column
        The column that tells which rows; a frame without it has none of them.
    matches
        Takes the values of the column, shape (n,), and returns which rows to leave out, shape (n,).

    Returns
    -------
    bytes, DataFrame, or None
        The file without these rows, and the rows; None where there are none.

    Raises
    ------
    InvalidDataError
        The file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _damage_explained(name):
        parquet = pq.ParquetFile(file)
        if column not in parquet.schema_arrow.names:
            return None
        leave_out = matches(parquet.read(columns=[column]).to_pandas()[column])
        if not leave_out.any():
            return None
        table = parquet.read()
    return _bytes_of(table.filter(pa.array(~leave_out))), table.filter(pa.array(leave_out)).to_pandas()


def count_rows(file: BinaryIO, name: str) -> int:
    """Read from the footer alone how many rows a frame has; parameters and errors as for :func:`decode`."""
    import pyarrow.parquet as pq

    with _damage_explained(name):
        rows: int = pq.ParquetFile(file).metadata.num_rows
    return rows


class _Hashed(io.RawIOBase):
    """A file of which nothing is kept but its SHA-256."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - whatever holds bytes
        self.sha256.update(data)
        return len(data)


def _bytes_of(table: "pa.Table") -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidDataError(f"{name} is damaged ({error}): delete it and materialise it again.") from error
