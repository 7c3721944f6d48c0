"""Fixtures for storage: the same test on a folder and on an object store."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem


@pytest.fixture(scope="session")
def object_store_url() -> Iterator[str]:
    """Endpoint of an S3 server that lives as long as the test session."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    S3FileSystem.clear_instance_cache()  # earlier clients know another endpoint
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(object_store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a fresh bucket; the environment points clients at its server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex}"
    S3FileSystem(use_listings_cache=False).mkdir(name)
    return name


@pytest.fixture(params=["folder", "object store"])
def storage_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Root of an empty storage, once for each kind."""
    if request.param == "folder":
        return str(tmp_path / "storage")
    return f"s3://{request.getfixturevalue('bucket')}/some/prefix"
