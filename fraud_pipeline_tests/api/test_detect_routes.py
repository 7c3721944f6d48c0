"""POST /detect and /detect/batch and GET /models/info of a trained deployment."""

from collections.abc import Iterator

import httpx
import pytest

from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Trained, served, small_settings, wait_for_model

TRANSACTION = {
    "transaction_id": "new-1",
    "user_id": "u00001",
    "merchant_id": "m0001",
    "event_time": "2026-01-22T12:00:00+01:00",
    "amount": 25.5,
}


@pytest.fixture(scope="module")
def scorer(trained: Trained, postgres_server_url: str) -> Iterator[httpx.Client]:
    """Client of a server with a model; nothing here writes, so all tests share it."""
    settings: Settings = small_settings(
        trained.home, postgres_server_url.replace("/postgres?", f"/{trained.template}?"), api_max_batch=5
    )
    with served(settings) as client:
        wait_for_model(client)
        yield client


def test_transaction_is_scored(scorer: httpx.Client) -> None:
    answer = scorer.post("/detect", json=TRANSACTION)
    assert answer.status_code == 200
    found, info = answer.json(), scorer.get("/models/info").json()
    assert found["transaction_id"] == "new-1"
    assert 0 <= found["anomaly_score"] <= 1
    assert found["is_alert"] == (found["anomaly_score"] >= info["threshold"])
    assert (found["model_version"], found["threshold"]) == (info["model_version"], info["threshold"])


def test_batch_gives_one_answer_each_in_order(scorer: httpx.Client) -> None:
    ids = ["c", "a", "b"]
    batch = {"transactions": [TRANSACTION | {"transaction_id": each, "user_id": f"x{each}"} for each in ids]}
    answer = scorer.post("/detect/batch", json=batch)
    assert [each["transaction_id"] for each in answer.json()["detections"]] == ids


def test_a_batch_without_reasons_differs_in_nothing_else(scorer: httpx.Client) -> None:
    rows = [TRANSACTION | {"transaction_id": f"n{amount}", "amount": amount} for amount in (1.0, 50_000.0)]
    explained, plain = (
        scorer.post("/detect/batch", json={"transactions": rows, "reasons": each}).json()["detections"]
        for each in (True, False)
    )
    assert any(each["reasons"] for each in explained)
    assert plain == [each | {"reasons": [], "reason_text": ""} for each in explained]


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": ""},
        {"user_id": " "},
        {"merchant_id": "m" * 129},
        {"user_id": "a\nb"},
        {"user_id": 5},
        {"event_time": "2026-01-22T12:00:00"},
        {"event_time": "1969-12-31T12:00:00Z"},
        {"event_time": "2200-01-01T12:00:00Z"},
        {"amount": "5"},
        {"amount": True},
        {"amount": 0.00001},
        {"amount": 1_000_000.5},
        {"amount": -2e6},
        {"currency": "EUR"},
    ],
)
def test_transaction_that_a_night_would_reject_is_refused(scorer: httpx.Client, change: dict[str, object]) -> None:
    alone = scorer.post("/detect", json=TRANSACTION | change)
    assert alone.status_code == 422
    assert next(iter(change)) in alone.json()["detail"]
    others = [TRANSACTION | {"transaction_id": "fine"}, TRANSACTION | change]
    together = scorer.post("/detect/batch", json={"transactions": others})
    assert together.status_code == 422
    assert together.json()["errors"][0]["location"][:3] in (["body", "transactions", 1], ["body", "transactions", "1"])


@pytest.mark.parametrize("amount", [0, -25, 1_000_000, 0.0001, 123.4567])
def test_amounts_that_a_night_takes_are_taken(scorer: httpx.Client, amount: float) -> None:
    assert scorer.post("/detect", json=TRANSACTION | {"amount": amount}).status_code == 200


def test_batches_have_a_size_and_name_each_transaction_once(scorer: httpx.Client) -> None:
    def send(*ids: str) -> httpx.Response:
        return scorer.post(
            "/detect/batch", json={"transactions": [TRANSACTION | {"transaction_id": each} for each in ids]}
        )

    assert send().status_code == 422
    assert send(*"abcde").status_code == 200
    assert send(*"abcdef").json()["type"].endswith("batch-too-large")
    assert send("a", "b", "a").json()["detail"].startswith("body.transactions.2:")


def test_model_describes_itself(scorer: httpx.Client) -> None:
    info = scorer.get("/models/info").json()
    assert info["model_version"] == "1"
    assert len(info["artefact_sha256"]) == 64
    assert info["windows"]["calibrate_to"] < info["windows"]["as_of"]
    assert info["calibration"]["recall"]["value"] is not None
    assert info["risk_cutoffs"]["MEDIUM"] == info["threshold"]


def test_detections_are_counted(scorer: httpx.Client) -> None:
    level = scorer.post("/detect", json=TRANSACTION).json()["risk_level"]
    assert f'fraud_api_detections_total{{risk_level="{level}"}}' in scorer.get("/metrics").text
