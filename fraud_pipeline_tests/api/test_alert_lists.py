"""GET /alerts, /alerts/{id} and /alerts/statistics over real rows."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import islice

import httpx
import pytest

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.raised import DAY, raise_alerts

DatabaseOf = Callable[[Settings], Database]


@pytest.fixture
def alerts(settings: Settings, database_of: DatabaseOf) -> Database:
    """Twelve alerts of three card holders, two merchants, all priorities but the third, two days."""
    database = database_of(settings)
    raise_alerts(
        database,
        *(f"t{number:02}" for number in range(10)),
        user_id=[f"u{number % 3}" for number in range(10)],
        merchant_id=[f"m{number % 2}" for number in range(10)],
        priority=[1, 2, 4, 5, 1, 2, 4, 5, 1, 2],
        risk_level=["CRITICAL", "HIGH", "MEDIUM", "MEDIUM"] * 2 + ["CRITICAL", "HIGH"],
    )
    raise_alerts(database, "t10", "t11", day=DAY + timedelta(days=1), user_id="u9")
    raise_alerts(database, "drawn", selection="random_sample", risk_level="LOW", priority=5)
    return database


def listed(client: httpx.Client, **filters: object) -> list[str]:
    answer = client.get("/alerts", params=filters)  # type: ignore[arg-type]  # httpx renders them
    assert answer.status_code == 200, answer.text
    return [alert["transaction_id"] for alert in answer.json()["alerts"]]


def walk(client: httpx.Client, limit: int, between: Callable[[], None] = lambda: None) -> list[str]:
    """Page through all alerts."""
    found: list[str] = []
    params: dict[str, str | int] = {"limit": limit}
    while True:
        answer = client.get("/alerts", params=params).json()
        assert len(answer["alerts"]) <= limit
        found += [alert["transaction_id"] for alert in answer["alerts"]]
        if answer["next_cursor"] is None:
            return found
        params["cursor"] = answer["next_cursor"]
        between()


@pytest.mark.usefixtures("alerts")
def test_list_has_the_most_urgent_first_and_no_random_sample(client: httpx.Client) -> None:
    answer = client.get("/alerts").json()
    priorities = [alert["current_priority"] for alert in answer["alerts"]]
    assert priorities == sorted(priorities)
    assert len(priorities) == 12
    assert answer["next_cursor"] is None
    assert listed(client, selection="random_sample") == ["drawn"]


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"risk": "CRITICAL"}, {"t00", "t04", "t08"}),
        ({"risk": ["CRITICAL", "HIGH"], "to": str(DAY)}, {"t00", "t01", "t04", "t05", "t08", "t09"}),
        ({"priority": [5]}, {"t03", "t07"}),
        ({"user": "u9"}, {"t10", "t11"}),
        ({"merchant": "m1", "from": str(DAY), "to": str(DAY)}, {"t01", "t03", "t05", "t07", "t09"}),
        ({"from": str(DAY + timedelta(days=1))}, {"t10", "t11"}),
        ({"status": "closed"}, set()),
        ({"status": ["open", "closed"], "user": "u1"}, {"t01", "t04", "t07"}),
        ({"assignee": "ada"}, set()),
        ({"user": "no' OR '1'='1"}, set()),
    ],
)
def test_filters_restrict_the_list(client: httpx.Client, filters: dict[str, object], expected: set[str]) -> None:
    assert set(listed(client, **filters)) == expected


@pytest.mark.usefixtures("alerts")
def test_filters_by_case_and_assignee_follow_what_analysts_do(client: httpx.Client) -> None:
    case = client.get("/alerts", params={"user": "u9"}).json()["alerts"][0]["case_id"]
    assert set(listed(client, case=case)) == {"t10", "t11"}
    [first] = client.get("/alerts", params={"limit": 1}).json()["alerts"]
    client.put(f"/alerts/{first['alert_id']}", json={"version": 1, "status": "investigating", "assignee": "ada"})
    assert listed(client, assignee="ada") == listed(client, status="investigating") == [first["transaction_id"]]


@pytest.mark.usefixtures("alerts")
@pytest.mark.parametrize("limit", [1, 5, 12, 13])
def test_pages_of_any_size_give_every_alert_once_in_the_same_order(client: httpx.Client, limit: int) -> None:
    assert walk(client, limit) == listed(client)


def test_pages_give_what_was_there_once_while_others_insert(alerts: Database, client: httpx.Client) -> None:
    before, fresh = listed(client), iter(range(15))

    def insert() -> None:
        numbers = list(islice(fresh, 3))
        if numbers:
            raise_alerts(alerts, *(f"new{number}" for number in numbers), priority=[1, 3, 5])

    with ThreadPoolExecutor() as pool:
        walks = [pool.submit(walk, client, 2, insert) for _ in range(3)]
        found = [walk.result() for walk in walks]
    for each in found:
        assert len(set(each)) == len(each)
        assert [one for one in each if not one.startswith("new")] == before


@pytest.mark.usefixtures("alerts")
def test_cursor_of_another_list_or_of_nobody_is_refused(client: httpx.Client) -> None:
    cursor = client.get("/alerts", params={"limit": 1}).json()["next_cursor"]
    forged = base64.urlsafe_b64encode(json.dumps([1, "2026-01-01", 1, "x"]).encode()).decode()
    for params in (
        {"cursor": cursor, "user": "u1"},
        {"cursor": "nonsense"},
        {"cursor": "ä"},
        {"cursor": forged},
        {"cursor": base64.urlsafe_b64encode(b"[]").decode()},
    ):
        answer = client.get("/alerts", params=params)
        assert answer.status_code == 422
        assert answer.json()["type"].endswith("invalid-cursor")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "status=done", "risk=low", "priority=6", "from=yesterday", "user=", "user=%00", "case=0"],
)
def test_filters_that_mean_nothing_are_named(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/alerts?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"][:2] == ["query", query.partition("=")[0]]


@pytest.mark.usefixtures("alerts")
def test_alert_comes_with_reasons_case_events_and_etag(client: httpx.Client) -> None:
    number = client.get("/alerts", params={"user": "u9"}).json()["alerts"][0]["alert_id"]
    answer = client.get(f"/alerts/{number}")
    found = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert found["reasons"] == [{"feature": "amount", "value": 812.5, "text": "the amount is unusual"}]
    assert found["case"]["case_id"] == found["case_id"]
    assert {"raised", "case_opened"} <= {event["event_type"] for event in found["events"]}
    assert {event["actor"] for event in found["events"]} == {"pipeline"}
    numbers = [event["event_id"] for event in found["events"]]
    assert numbers == sorted(numbers)


def test_alert_that_is_not_there_is_404(client: httpx.Client) -> None:
    for number in (1, 2**63 - 1):
        assert client.get(f"/alerts/{number}").status_code == 404
    assert client.get(f"/alerts/{2**63}").status_code == 422


@pytest.mark.usefixtures("alerts")
def test_statistics_count_what_became_of_alerts(client: httpx.Client) -> None:
    for alert, outcome in zip(
        client.get("/alerts", params={"risk": "CRITICAL"}).json()["alerts"],
        ("confirmed_fraud", "confirmed_fraud", "false_positive"),
        strict=True,
    ):
        path = f"/alerts/{alert['alert_id']}"
        client.put(path, json={"version": 1, "status": "investigating"}).raise_for_status()
        client.put(path, json={"version": 2, "status": "closed", "outcome": outcome}).raise_for_status()
    answer = client.get("/alerts/statistics", params={"from": str(DAY), "to": str(DAY + timedelta(days=1))}).json()
    total = answer["total"]
    assert (total["alerts"], total["open"], total["closed"]) == (12, 9, 3)
    assert (total["confirmed_frauds"], total["false_positives"]) == (2, 1)
    assert total["alert_precision"] == pytest.approx(2 / 3)
    assert total["value_detected"] == 2 * 812.5
    assert [(each["event_day"], each["alerts"]) for each in answer["by_day"]] == [
        (str(DAY), 10),
        (str(DAY + timedelta(days=1)), 2),
    ]


def test_statistics_without_days_are_of_the_last_thirty(client: httpx.Client) -> None:
    answer = client.get("/alerts/statistics").json()
    first, last = (date.fromisoformat(answer[name]) for name in ("first_day", "last_day"))
    assert last - first == timedelta(days=29)
    for query in ("from=2026-02-02&to=2026-02-01", "from=2020-01-01&to=2026-01-01", "from=9999-12-31"):
        assert client.get(f"/alerts/statistics?{query}").json()["type"].endswith("invalid-range")
    assert client.get("/alerts/statistics?to=0001-01-01").status_code == 200
