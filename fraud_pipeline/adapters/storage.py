"""Whole files in a folder or under an ``s3://bucket/prefix``, behind the same functions.

A file is published at once or not at all: readers never see half of one. Names that begin
with a dot are temporary files and never listed.
"""

import fcntl
import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard
from uuid import uuid4

from upath import UPath

from fraud_pipeline.core.errors import ConfigurationError


@dataclass(frozen=True)
class StoredFile:
    """A file below a folder.

    Parameters
    ----------
    key
        Path relative to the listed folder, with ``/`` between the parts.
    etag
        Changes when the file is written again, even back to what it was: modification time with the size, or with
        the object's ETag.
    """

    key: str
    etag: str


def open_root(root: str) -> UPath:
    """Return the path of a storage root.

    Parameters
    ----------
    root
        A folder (relative, absolute or ``file://``) or ``s3://bucket`` with an optional prefix.

    Raises
    ------
    ConfigurationError
        `root` is neither.
    """
    protocol, separator, _ = root.partition("://")
    if not separator:
        return UPath(Path(root).absolute())
    if protocol == "file":
        return UPath(Path(UPath(root).path).absolute())
    if protocol == "s3":
        # Other processes write there too: a cached listing would hide their files.
        return UPath(root.rstrip("/"), use_listings_cache=False)
    raise ConfigurationError(f"{root!r} is no storage root: give a folder or s3://bucket/prefix.")


def list_files(folder: UPath) -> list[StoredFile]:
    """List all files below `folder`, sorted by key; a missing folder has none."""
    with _explained(folder, "listed"):
        if _is_local(folder):
            found = [_local_file(folder, path) for path in folder.rglob("*") if path.is_file()]
        else:
            prefix = folder.path.rstrip("/") + "/"
            details = folder.fs.find(prefix, detail=True)
            found = [StoredFile(path.removeprefix(prefix), _object_etag(info)) for path, info in details.items()]
    return sorted((file for file in found if not _is_hidden(file.key)), key=lambda file: file.key)


def list_folders(folder: UPath) -> list[str]:
    """List the names of the folders directly below `folder`; a missing folder has none."""
    names: list[str] = []
    with _explained(folder, "listed"), suppress(FileNotFoundError):
        if _is_local(folder):
            names = [path.name for path in folder.iterdir() if path.is_dir()]
        else:
            entries = folder.fs.ls(folder.path, detail=True)
            names = [entry["name"].rpartition("/")[2] for entry in entries if entry["type"] == "directory"]
    return sorted(name for name in names if not _is_hidden(name))


def read(path: UPath) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConfigurationError
        The storage cannot be read.
    """
    with _explained(path, "read", keep=FileNotFoundError):
        return _whole(path)


@contextmanager
def open_to_read(path: UPath) -> Iterator[BinaryIO]:
    """Open a file to read parts of it, an object after fetching it whole; errors as in :func:`read`."""
    with _explained(path, "read", keep=FileNotFoundError):
        file = path.open("rb") if _is_local(path) else io.BytesIO(_whole(path))
    with file:
        yield file


def exists(path: UPath) -> bool:
    """Tell whether there is a file at `path`."""
    with _explained(path, "read"), suppress(FileNotFoundError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def publish(path: UPath, data: bytes) -> None:
    """Make `path` hold `data`, atomically: by a rename in a folder, by one upload in an object store.

    Raises
    ------
    ConfigurationError
        The storage is full, read-only or out of reach; `path` is as it was before.
    """
    with _explained(path, "written"):
        if _is_local(path):
            _publish_in_folder(path, data)
        else:
            path.fs.pipe_file(path.path, data)


def publish_if_changed(path: UPath, data: bytes) -> bool:
    """Publish `data` unless `path` holds these very bytes, so that its ETag stays; return whether it was written."""
    with suppress(FileNotFoundError):
        if read(path) == data:
            return False
    publish(path, data)
    return True


def remove(path: UPath) -> None:
    """Delete a file; a missing one is no error."""
    with _explained(path, "removed"), suppress(FileNotFoundError):
        path.unlink()


def _publish_in_folder(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        _clear_leftovers(folder, target.parent)
        fcntl.flock(folder, fcntl.LOCK_SH)  # held while writing; waits only for somebody who clears
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            os.fsync(folder)
        finally:
            temporary.unlink(missing_ok=True)
    finally:
        os.close(folder)


def _clear_leftovers(folder: int, path: Path) -> None:
    """Remove what killed writers left, unless somebody is writing here: those files are alive."""
    with suppress(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for leftover in path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def _whole(path: UPath) -> bytes:
    # Opened as a file, or in several parts at once, an object would cost a second request for its size.
    data: bytes = path.read_bytes() if _is_local(path) else path.fs.cat_file(path.path, max_concurrency=1)
    return data


def _is_local(path: UPath) -> TypeGuard[Path]:
    return isinstance(path, Path)


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _local_file(folder: Path, path: Path) -> StoredFile:
    status = path.stat()
    return StoredFile(path.relative_to(folder).as_posix(), f"{status.st_size}-{status.st_mtime_ns}")


def _object_etag(info: Mapping[str, Any]) -> str:
    return f"{info['ETag'].strip(chr(34))}-{int(info['LastModified'].timestamp())}"


@contextmanager
def _explained(path: UPath, action: str, keep: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turn a failure of the storage, apart from `keep`, into a sentence for the user."""
    try:
        yield
    except keep:
        raise
    except _failures(path) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        remedy = "Check that it exists, has free space and may be used with these credentials, then run again."
        raise ConfigurationError(f"{path} cannot be {action}: {reason}. {remedy}") from error


def _failures(path: UPath) -> tuple[type[Exception], ...]:
    """Return what a storage raises; an object store's client without credentials or connection, more than OSError."""
    if _is_local(path):
        return (OSError,)
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    # A connection that ends in the middle of an answer is known to the HTTP library alone.
    return (OSError, BotoCoreError, ClientError)
