"""PUT /alerts/{id}: the workflow, versions, and requests that are sent again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from fraud_pipeline.adapters.database import api_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Serve
from fraud_pipeline_tests.api.raised import raise_alerts

DatabaseOf = Callable[[Settings], Database]
INVESTIGATE = {"version": 1, "status": "investigating", "assignee": "ada"}


@pytest.fixture
def database(settings: Settings, database_of: DatabaseOf) -> Database:
    database = database_of(settings)
    raise_alerts(database, "t1")
    return database


@pytest.fixture
def analyst(database: Database, settings: Settings, serve: Serve) -> httpx.Client:
    """Client with the key of an analyst, and one open alert, number 1."""
    key, _ = api_repository.create_key(database, "grace", ["alerts:read", "alerts:write"])
    return serve(settings, key)


def kind(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def test_alert_goes_its_way_and_the_key_signs_for_it(analyst: httpx.Client, database: Database) -> None:
    answer = analyst.put("/alerts/1", json=INVESTIGATE)
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert answer.json()["assignee"] == "ada"
    closed = analyst.put(
        "/alerts/1",
        json={"version": 2, "status": "closed", "outcome": "confirmed_fraud", "comment": "Card holder called."},
    ).json()
    assert (closed["status"], closed["outcome"], closed["version"]) == ("closed", "confirmed_fraud", 3)
    assert closed["case"]["status"] == "closed"
    by_people = [event for event in closed["events"] if event["actor"] != "pipeline"]
    assert {event["actor"] for event in by_people} == {"grace"}
    assert [event["comment"] for event in by_people if event["event_type"] == "commented"] == ["Card holder called."]
    with database.begin() as connection:
        decided = connection.execute(text("SELECT outcome, decided_by FROM review_decisions")).all()
    assert [tuple(row) for row in decided] == [("confirmed_fraud", "grace")]


def test_null_takes_an_alert_from_its_analyst_and_wakes_it(analyst: httpx.Client) -> None:
    snoozed = analyst.put("/alerts/1", json=INVESTIGATE | {"snoozed_until": "2099-01-01T00:00:00+01:00"}).json()
    assert snoozed["snoozed_until"] == "2098-12-31T23:00:00Z"
    free = analyst.put("/alerts/1", json={"version": 2, "assignee": None, "snoozed_until": None}).json()
    assert (free["assignee"], free["snoozed_until"]) == (None, None)


def test_higher_priority_is_due_earlier(analyst: httpx.Client) -> None:
    before = analyst.get("/alerts/1").json()
    after = analyst.put("/alerts/1", json={"version": 1, "priority": 1}).json()
    assert (after["priority"], after["current_priority"]) == (2, 1)
    assert after["due_at"] < before["due_at"]


def test_stale_version_conflicts_and_says_the_current_one(analyst: httpx.Client) -> None:
    analyst.put("/alerts/1", json=INVESTIGATE).raise_for_status()
    answer = analyst.put("/alerts/1", json=INVESTIGATE)
    assert (answer.status_code, kind(answer), answer.json()["current_version"]) == (409, "stale-version", 2)
    change = {"assignee": "bob"}
    stale = analyst.put("/alerts/1", json=change, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 2)
    etag = analyst.get("/alerts/1").headers["etag"]
    assert analyst.put("/alerts/1", json=change, headers={"If-Match": etag}).json()["assignee"] == "bob"


def test_change_has_to_name_a_version(analyst: httpx.Client) -> None:
    change = {"assignee": "bob"}
    assert analyst.put("/alerts/1", json=change).status_code == 428
    for unusable in ("*", '"x"', "-1", '"' + "9" * 5000 + '"'):
        assert analyst.put("/alerts/1", json=change, headers={"If-Match": unusable}).status_code == 412
    both = analyst.put("/alerts/1", json=change | {"version": 2}, headers={"If-Match": '"1"'})
    assert both.status_code == 422


@pytest.mark.parametrize("change", [{"status": "closed", "outcome": "confirmed_fraud"}, {"outcome": "confirmed_fraud"}])
def test_move_that_the_workflow_does_not_allow_says_which_it_does(
    analyst: httpx.Client, change: dict[str, str]
) -> None:
    answer = analyst.put("/alerts/1", json={"version": 1} | change)
    assert (answer.status_code, kind(answer)) == (409, "invalid-move")
    assert answer.json()["allowed_moves"] == ["investigating"]
    assert analyst.get("/alerts/1").json()["version"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"status": "done"},
        {"priority": 0},
        {"priority": True, "status": "open", "extra": 1},
        {"snoozed_until": "2099-01-01T00:00:00"},
        {"comment": "  "},
        {"assignee": "a\0b"},
        {"version": 2**31, "status": "open"},
    ],
)
def test_change_that_means_nothing_is_refused(analyst: httpx.Client, change: dict[str, object]) -> None:
    answer = analyst.put("/alerts/1", json={"version": 1} | change)
    assert (answer.status_code, kind(answer)) == (422, "invalid-request")


def test_one_of_many_changes_from_the_same_version_wins(analyst: httpx.Client) -> None:
    def take(who: int) -> int:
        return analyst.put("/alerts/1", json=INVESTIGATE | {"assignee": f"a{who}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(8))) == [200] + [409] * 7


def test_request_that_is_sent_again_gets_the_same_answer_and_changes_nothing(analyst: httpx.Client) -> None:
    again = {"Idempotency-Key": "4c1d"}
    first = analyst.put("/alerts/1", json=INVESTIGATE | {"comment": "mine"}, headers=again)
    second = analyst.put("/alerts/1", json=INVESTIGATE | {"comment": "mine"}, headers=again)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.headers["etag"] == second.headers["etag"]
    found = analyst.get("/alerts/1").json()
    assert [event["comment"] for event in found["events"] if event["comment"]] == ["mine"]
    other = analyst.put("/alerts/1", json={"version": 2, "assignee": "bob"}, headers=again)
    assert (other.status_code, kind(other)) == (422, "idempotency-key-reused")


def test_same_request_at_the_same_moment_changes_once(analyst: httpx.Client, database: Database) -> None:
    def send(_: int) -> httpx.Response:
        return analyst.put("/alerts/1", json=INVESTIGATE | {"comment": "mine"}, headers={"Idempotency-Key": "once"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert done
    assert all(answer.json() == done[0].json() for answer in done)
    assert {kind(answer) for answer in answers if answer.status_code == 409} <= {"request-in-progress"}
    assert {answer.status_code for answer in answers} <= {200, 409}
    with database.begin() as connection:
        count = connection.scalar(text("SELECT count(*) FROM alert_events WHERE event_type = 'commented'"))
    assert count == 1


def test_request_with_a_key_that_is_at_work_is_told_to_wait(analyst: httpx.Client, database: Database) -> None:
    with database.begin() as connection:
        key_id = connection.scalar(text("SELECT key_id FROM api_keys"))
        assert api_repository.claim_idempotency_key(connection, key_id, "busy")
        answer = analyst.put("/alerts/1", json=INVESTIGATE, headers={"Idempotency-Key": "busy"})
        assert (answer.status_code, kind(answer)) == (409, "request-in-progress")
    assert analyst.put("/alerts/1", json=INVESTIGATE, headers={"Idempotency-Key": "busy"}).status_code == 200


def test_refused_change_may_be_sent_again_with_its_key(analyst: httpx.Client) -> None:
    again = {"Idempotency-Key": "retry"}
    closing = {"status": "closed", "outcome": "false_positive"}
    assert analyst.put("/alerts/1", json=closing | {"version": 1}, headers=again).status_code == 409
    analyst.put("/alerts/1", json=INVESTIGATE).raise_for_status()
    assert analyst.put("/alerts/1", json=closing | {"version": 2}, headers=again).status_code == 200


def test_key_of_another_client_is_another_key(
    analyst: httpx.Client, database: Database, settings: Settings, serve: Serve
) -> None:
    key, _ = api_repository.create_key(database, "bob", ["alerts:write"])
    bob = serve(settings, key)
    again = {"Idempotency-Key": "shared"}
    analyst.put("/alerts/1", json=INVESTIGATE, headers=again).raise_for_status()
    answer = bob.put("/alerts/1", json=INVESTIGATE, headers=again)
    assert (answer.status_code, kind(answer)) == (409, "stale-version")


def test_answers_are_forgotten_after_a_day(analyst: httpx.Client, database: Database) -> None:
    analyst.put("/alerts/1", json=INVESTIGATE, headers={"Idempotency-Key": "old"}).raise_for_status()
    with database.begin() as connection:
        connection.execute(text("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"))
    analyst.put("/alerts/1", json={"version": 2, "assignee": "bob"}, headers={"Idempotency-Key": "new"})
    with database.begin() as connection:
        assert connection.scalars(text("SELECT idempotency_key FROM idempotency_keys")).all() == ["new"]
