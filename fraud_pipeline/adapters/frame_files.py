"""The project's own Parquet files: a frame to bytes and back, with its dtypes."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pandas as pd

from fraud_pipeline.core.errors import InvalidDataError


def encode(frame: pd.DataFrame) -> bytes:
    """Return `frame` without its index as Parquet (zstd); equal frames give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bare = frame.copy(deep=False)
    bare.attrs = {}
    table = pa.Table.from_pandas(bare, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


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


def count_rows(file: BinaryIO, name: str) -> int:
    """Read from the footer alone how many rows a frame has; parameters and errors as for :func:`decode`."""
    import pyarrow.parquet as pq

    with _damage_explained(name):
        rows: int = pq.ParquetFile(file).metadata.num_rows
    return rows


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidDataError(f"{name} is damaged ({error}): delete it and materialise it again.") from error
