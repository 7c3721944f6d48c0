import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from fraud_pipeline.adapters import storage
from fraud_pipeline.core.errors import ConfigurationError


@contextmanager
def little_space() -> Iterator[None]:
    """Let every file end after 100 bytes, as a full disk would; also the one that pytest may write to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_published_is_read_listed_and_removed(storage_root: str) -> None:
    root = storage.open_root(storage_root)
    storage.publish(root / "a" / "b.txt", b"first")
    storage.publish(root / "a" / "c" / "d.txt", b"second")
    assert storage.read(root / "a" / "b.txt") == b"first"
    assert [file.key for file in storage.list_files(root)] == ["a/b.txt", "a/c/d.txt"]
    assert [file.key for file in storage.list_files(root / "a")] == ["b.txt", "c/d.txt"]
    assert storage.list_folders(root) == ["a"]
    assert storage.exists(root / "a" / "b.txt")
    assert not storage.exists(root / "a")
    storage.remove(root / "a" / "b.txt")
    storage.remove(root / "a" / "b.txt")
    assert not storage.exists(root / "a" / "b.txt")


def test_what_does_not_exist_is_empty(storage_root: str) -> None:
    nowhere = storage.open_root(storage_root) / "nowhere"
    assert storage.list_files(nowhere) == []
    assert storage.list_folders(nowhere) == []
    with pytest.raises(FileNotFoundError):
        storage.read(nowhere / "file")
    with pytest.raises(FileNotFoundError), storage.open_to_read(nowhere / "file"):
        pass


def test_the_same_bytes_keep_the_etag_and_other_bytes_change_it(storage_root: str) -> None:
    root = storage.open_root(storage_root)
    assert storage.publish_if_changed(root / "a", b"first")
    before = storage.list_files(root)
    assert not storage.publish_if_changed(root / "a", b"first")
    assert storage.list_files(root) == before
    assert storage.publish_if_changed(root / "a", b"other")
    assert storage.list_files(root) != before


def test_a_bucket_without_a_prefix_is_a_root(bucket: str) -> None:
    root = storage.open_root(f"s3://{bucket}/")
    storage.publish(root / "a" / "b.txt", b"")
    assert [file.key for file in storage.list_files(root)] == ["a/b.txt"]
    assert storage.list_folders(root) == ["a"]


def test_what_another_client_writes_is_listed_at_once(bucket: str) -> None:
    root = storage.open_root(f"s3://{bucket}/prefix")
    storage.publish(root / "a" / "file", b"")
    assert storage.list_folders(root) == ["a"]
    S3FileSystem(skip_instance_cache=True).pipe_file(f"{bucket}/prefix/b/file", b"")
    assert [file.key for file in storage.list_files(root)] == ["a/file", "b/file"]
    assert storage.list_folders(root) == ["a", "b"]


def test_a_folder_may_be_given_as_path_or_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    roots = [storage.open_root(root) for root in ("x", str(tmp_path / "x"), (tmp_path / "x").as_uri())]
    assert {str(root) for root in roots} == {str(tmp_path / "x")}


def test_another_kind_of_storage_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'gs://bucket' is no storage root: give a folder or s3://"):
        storage.open_root("gs://bucket")


def test_leftovers_are_not_listed_and_go_with_the_next_write(tmp_path: Path) -> None:
    root = storage.open_root(str(tmp_path))
    (tmp_path / ".file.123.tmp").write_bytes(b"half")
    assert storage.list_files(root) == []
    storage.publish(root / "other", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_the_temporary_file_of_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    alive = tmp_path / ".file.123.tmp"
    alive.write_bytes(b"half")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    storage.publish(storage.open_root(str(tmp_path)) / "other", b"whole")
    assert alive.exists()
    os.close(folder)


def test_readers_never_see_half_a_file_while_two_write(tmp_path: Path) -> None:
    path = storage.open_root(str(tmp_path)) / "file"
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    storage.publish(path, contents[0])

    def write(content: bytes) -> None:
        for _ in range(30):
            storage.publish(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert storage.read(path) in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    path = storage.open_root(str(tmp_path)) / "file"
    storage.publish(path, b"old")
    too_large = pytest.raises(ConfigurationError, match=r"file cannot be written: File too large\. Check .* free space")
    with too_large, little_space():
        storage.publish(path, b"new" * 100)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def test_a_file_in_place_of_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = storage.open_root(str(tmp_path)) / "file" / "below"
    with pytest.raises(ConfigurationError, match="cannot be written"):
        storage.publish(path, b"")
    with pytest.raises(ConfigurationError, match="below cannot be read: Not a directory"):
        storage.read(path)


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_explained() -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: The specified bucket does not exist"):
        storage.publish(storage.open_root("s3://no-such-bucket") / "file", b"")


def test_a_store_out_of_reach_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(ConfigurationError, match="cannot be listed: Could not connect to the endpoint URL"):
        storage.list_files(storage.open_root("s3://bucket"))
    S3FileSystem.clear_instance_cache()
