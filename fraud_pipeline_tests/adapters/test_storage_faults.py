"""An object store that fails: the client tries again, and what stays is a sentence and the file as it was."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from s3fs import S3FileSystem

from fraud_pipeline.adapters import storage
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline_tests.e2e.fault_proxy import Fault, HttpProxy, address, proxied

KINDS = ("500", "503", "lost", "half sent", "answer lost", "truncated")


@pytest.fixture
def proxy(object_store_url: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    assert bucket
    proxy = HttpProxy(address(object_store_url))
    with proxied(proxy) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        S3FileSystem.clear_instance_cache()
        yield proxy
    S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_fails_once_is_made_again(proxy: HttpProxy, bucket: str, kind: str) -> None:
    path = storage.open_root(f"s3://{bucket}") / "file"
    for action in (lambda: storage.publish(path, b"new" * 1000), lambda: storage.read(path)):
        proxy.set(Fault(kind, lambda request: request.number == 1))
        action()
        assert proxy.spoilt == 1
    assert storage.read(path) == b"new" * 1000


def test_an_object_is_read_or_missed_by_one_request(proxy: HttpProxy, bucket: str) -> None:
    root = storage.open_root(f"s3://{bucket}")
    storage.publish(root / "file", b"content")
    for name in ("file", "missing"):
        proxy.set(None)
        with suppress(FileNotFoundError):
            storage.read(root / name)
        assert proxy.requests == 1, name


@pytest.mark.parametrize("kind", ["lost", "truncated"])
def test_a_store_that_keeps_failing_is_explained(
    proxy: HttpProxy, bucket: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3fs.core.min", lambda *_: 0, raising=False)  # no waiting between attempts
    path = storage.open_root(f"s3://{bucket}") / "file"
    storage.publish(path, b"old" * 1000)
    proxy.set(Fault(kind, lambda _: True))
    with pytest.raises(ConfigurationError, match=r"file cannot be read: .*then run again\."):
        storage.read(path)
    proxy.set(None)
    assert storage.read(path) == b"old" * 1000
