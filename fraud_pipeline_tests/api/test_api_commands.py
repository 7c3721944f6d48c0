"""The commands that serve the API and make its keys, as they are typed."""

import re
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from fraud_pipeline_tests.cli.conftest import Deployment


@pytest.fixture
def deployment(tmp_path: Path, database_url: str, empty_registry: str) -> Deployment:
    """A deployment with a fresh database."""
    return Deployment(tmp_path).with_variables(
        database_url=database_url, mlflow_tracking_uri=empty_registry, api_port=free_port()
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_key_is_made_shown_once_listed_and_revoked(deployment: Deployment) -> None:
    made = deployment.succeed("api-key", "create", "ada", "--scope", "detect", "--scope", "alerts:read", "--days", 30)
    key, key_id = made.out.splitlines()[0], made.out.split("_")[1]
    assert re.fullmatch(r"fp_[0-9a-f]{8}_[\w-]{43}", key)
    assert "shown this once" in made.out
    listed = deployment.succeed("api-key", "list").out
    assert key_id in listed
    assert "ada" in listed
    assert key not in listed
    assert "within 5 seconds" in deployment.succeed("api-key", "revoke", key_id).out
    assert "revoked" in deployment.succeed("api-key", "list").out


def test_key_commands_say_what_is_wrong(deployment: Deployment) -> None:
    assert "There are no keys" in deployment.succeed("api-key", "list").out
    unknown = deployment.run("api-key", "create", "ada", "--scope", "root")
    assert unknown.code == 2
    assert "choose from detect, alerts:read, alerts:write" in unknown.err
    assert deployment.run("api-key", "revoke", "nobody").code == 2


def test_server_refuses_the_network_without_a_key_and_a_rate_that_is_none(deployment: Deployment) -> None:
    refused = deployment.with_variables(api_host="0.0.0.0").run("api")  # noqa: S104 - it is to be refused
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "without any key in force" in refused.err
    assert deployment.with_variables(api_rate_limit="often").run("api").code == 2


@pytest.mark.e2e
@pytest.mark.parametrize("workers", [1, 2])
def test_server_is_up_in_seconds_counts_over_its_processes_and_ends_when_told(
    deployment: Deployment, workers: int
) -> None:
    deployment = deployment.with_variables(api_workers=workers)
    key = deployment.succeed("api-key", "create", "ada", "--scope", "alerts:read").out.splitlines()[0]
    url = f"http://127.0.0.1:{deployment.variables['FRAUD_PIPELINE_API_PORT']}"
    start = time.monotonic()
    process = deployment.start("api")
    try:
        while True:
            try:
                httpx.get(f"{url}/", timeout=5).raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() - start < 30
                time.sleep(0.05)
        headers = {"Authorization": f"Bearer {key}"}
        for _ in range(20):
            assert httpx.get(f"{url}/alerts?user=4111111111111111", headers=headers).status_code == 200
        figures = httpx.get(f"{url}/metrics", headers=headers).text
        assert 'fraud_api_requests_total{method="GET",route="/alerts",status="200"} 20.0' in figures
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert '"route": "/alerts"' in log
    assert "4111111111111111" not in log
    assert key not in log
