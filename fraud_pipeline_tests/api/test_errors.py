"""Errors as problem details, request ids, limits of bodies, and what the log has of a request."""

import json
import logging
import socket
from collections.abc import Iterator

import httpx
import pytest

from fraud_pipeline.adapters.database import alert_queries
from fraud_pipeline.api.logs import JsonFormatter
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Serve

CARD = "4111111111111111"


class Lines(logging.Handler):
    """Keeps lines as the log has them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Lines of the API's log."""
    logger, handler = logging.getLogger("fraud_pipeline.api"), Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def require_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] == "about:blank" or problem["type"].startswith("urn:fraud-pipeline:problem:")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/alerts/", 404),
        ("DELETE", "/alerts", 405),
        ("POST", "/detect", 415),
        ("GET", "/alerts/x", 422),
        ("GET", "/models/info", 503),
    ],
)
def test_every_error_is_a_problem(client: httpx.Client, method: str, path: str, status: int) -> None:
    require_problem(client.request(method, path), status)


def test_error_of_the_server_says_nothing_of_its_inside(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(alert_queries, "list_alerts", fail)
    answer = client.get("/alerts")
    require_problem(answer, 500)
    assert "hunter2" not in answer.text
    [trace] = [line for line in log if "hunter2" in line]
    assert json.loads(trace)["request_id"] == answer.headers["x-request-id"]
    assert client.get("/").status_code == 200


def test_request_id_of_the_client_is_kept_if_it_is_one(client: httpx.Client) -> None:
    assert client.get("/", headers={"X-Request-ID": "abc-123"}).headers["x-request-id"] == "abc-123"
    for unusable in ("", "a b", '{"a":1}', "x" * 129):
        made = client.get("/", headers={"X-Request-ID": unusable}).headers["x-request-id"]
        assert len(made) == 32


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "", "application/json-seq"])
def test_body_that_is_no_json_by_its_type_is_415(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/detect", content=b"{}", headers={"Content-Type": content_type})
    require_problem(answer, 415)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"\xff"', b"null", b'{"a": 1e999}', b"[" * 10_000])
def test_body_that_is_no_transaction_is_422(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/detect", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    require_problem(answer, 422)
    assert answer.json()["errors"]


def test_larger_body_is_413_whether_its_length_is_said_or_not(settings: Settings, serve: Serve) -> None:
    client = serve(settings.model_copy(update={"api_max_body_bytes": 1000}))
    json_type = {"Content-Type": "application/json"}
    require_problem(client.post("/detect", content=b" " * 1001, headers=json_type), 413)

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    require_problem(client.post("/detect", content=pieces(), headers=json_type), 413)
    require_problem(client.post("/detect", content=b" " * 1000, headers=json_type), 422)


def test_client_that_leaves_in_the_middle_of_its_body_harms_nobody(client: httpx.Client, log: list[str]) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    with socket.create_connection((host, port)) as connection:
        head = "POST /detect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        connection.sendall(head.encode())
    assert client.get("/").status_code == 200
    assert not [line for line in log if "unexpected" in line]


def test_answer_lists_some_of_many_faults_and_repeats_no_value(client: httpx.Client) -> None:
    batch = {"transactions": [{"transaction_id": CARD, "amount": "secret"}] * 50}
    answer = client.post("/detect/batch", json=batch)
    require_problem(answer, 422)
    assert len(answer.json()["errors"]) == 20
    assert "199 more faults" in answer.json()["detail"]
    assert CARD not in answer.text
    assert "secret" not in answer.text


def test_log_has_a_line_for_each_request_without_what_it_says(client: httpx.Client, log: list[str]) -> None:
    key = f"fp_12345678_{CARD}"
    headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "r1"}
    client.get(f"/alerts?user={CARD}", headers=headers)
    client.get(f"/nothing/{CARD}", headers=headers)
    client.post("/detect", json={"user_id": CARD}, headers=headers)
    client.put(f"/alerts/{CARD}", json={"comment": CARD, "version": 1}, headers=headers)
    lines = [json.loads(line) for line in log if '"message": "request"' in line]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/alerts", 200),
        ("GET", "unmatched", 404),
        ("POST", "/detect", 422),
        ("PUT", "/alerts/{alert_id}", 404),
    ]
    assert {line["request_id"] for line in lines} == {"r1"}
    assert CARD not in "".join(log)


def test_figures_count_requests_by_route(client: httpx.Client) -> None:
    for path in ("/alerts", "/alerts", "/alerts/7", "/alerts/8", "/nothing"):
        client.get(path)
    client.request("PROPFIND", "/")
    text = client.get("/metrics").text
    assert 'fraud_api_requests_total{method="GET",route="/alerts",status="200"} 2.0' in text
    assert 'fraud_api_requests_total{method="GET",route="/alerts/{alert_id}",status="404"} 2.0' in text
    assert 'fraud_api_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'method="other"' in text
    assert 'fraud_api_request_seconds_bucket{le="0.025",method="GET",route="/alerts"}' in text
    assert "fraud_api_data_age_days NaN" in text
