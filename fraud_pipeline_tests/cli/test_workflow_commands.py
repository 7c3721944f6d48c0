"""Work on alerts and cases by command: take, give, comment, snooze, escalate, re-open, and what the history says."""

import re
from pathlib import Path

import pandas as pd
import pytest

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.cli.console import console
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.cli.conftest import Deployment, assert_refused

ADA = ("--by", "ada")


@pytest.fixture
def worked(tmp_path: Path, database: Database, database_url: str) -> Deployment:
    """Give a deployment with two alerts of one card holder, long overdue, and one of another."""
    frame = new_alerts(
        "a", "b", "c", user_id=["u1", "u1", "u2"], raised_at=pd.Timestamp("2026-03-01 12:00Z").as_unit("us")
    )
    insert_new(database, frame, sla_hours=(4, 8, 24, 72, 168), run_id="night")
    return Deployment(tmp_path / "home", {"FRAUD_PIPELINE_DATABASE_URL": database_url})


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 220)


def cells(printed: str) -> list[list[str]]:
    """Cells of the rows of a printed table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]


def test_the_queue_shows_urgency_due_time_case_and_who_works_on_it(worked: Deployment) -> None:
    assert worked.succeed("review", "assign", 1, "--to", "bob", *ADA).out == "Alert 1 is with bob now; version 2.\n"
    queue = worked.succeed("review", "queue").out
    assert [row[:6] for row in cells(queue)] == [
        ["1", "HIGH", "2", "2026-03-01 20:00", "bob", "1"],
        ["2", "HIGH", "2", "2026-03-01 20:00", "", "1"],
        ["3", "HIGH", "2", "2026-03-01 20:00", "", "2"],
    ]
    assert "next: fraud-pipeline review take ALERT --by" in queue
    assert "is with nobody now" in worked.succeed("review", "assign", 1, "--to", "", *ADA).out


def test_an_alert_is_taken_snoozed_closed_and_opened_again_and_the_history_tells_it(worked: Deployment) -> None:
    assert worked.succeed("review", "take", 1, *ADA, "--version", 1).out == "Alert 1 is ada's now; version 2.\n"
    noted = worked.succeed("review", "comment", 1, "Called the card holder", *ADA)
    assert noted.following == ["review", "history", "1"]
    snoozed = worked.succeed("review", "snooze", 1, "--until", "2100-01-01", *ADA)
    assert snoozed.out == "Alert 1 comes back at 2100-01-01 00:00 UTC; version 3.\n"
    assert [row[0] for row in cells(worked.succeed("review", "queue").out)] == ["2", "3"]
    assert "is in the queue" in worked.succeed("review", "snooze", 1, "--until", "", *ADA).out
    worked.succeed("review", "close", 1, "--outcome", "confirmed_fraud", *ADA)
    opened = worked.succeed("review", "reopen", 1, "--by", "bob")
    assert opened.out == "Alert 1 is investigated again in case 1; version 6.\n"
    told = cells(worked.succeed(*noted.following).out)
    assert [row[1:3] for row in told] == [
        ["pipeline", "raised"],
        ["ada", "changed"],
        ["ada", "commented"],
        ["ada", "changed"],
        ["ada", "changed"],
        ["ada", "changed"],
        ["bob", "changed"],
    ]
    assert told[0][4] == "night"
    assert "status open → investigating" in told[1][3]
    assert "assignee null → ada" in told[1][3]
    assert told[2][3] == "Called the card holder"
    assert "outcome confirmed_fraud → null" in told[6][3]


def test_one_alert_or_all_that_are_overdue_become_more_urgent(worked: Deployment) -> None:
    assert re.match(
        r"Alert 1 has priority 1, due .* UTC; version 2\.", worked.succeed("review", "escalate", 1, *ADA).out
    )
    assert worked.succeed("review", "escalate", *ADA).out == "2 overdue alerts are more urgent now.\n"
    assert worked.succeed("review", "escalate", *ADA).out == "0 overdue alerts are more urgent now.\n"
    assert {row[2] for row in cells(worked.succeed("review", "queue").out)} == {"1"}


def test_a_case_is_shown_given_and_closed(worked: Deployment) -> None:
    shown = worked.succeed("review", "case", 1)
    assert [row[0] for row in cells(shown.out)] == ["1", "2"]
    assert "Case 1 of card u1 is open, with nobody, priority 2; version 1." in shown.out
    given = worked.succeed("review", "case", 1, "--assign", "bob", *ADA, "--version", 1).out
    assert [row[5] for row in cells(given)] == ["bob", "bob"]
    closed = worked.succeed("review", "case", 1, "--outcome", "false_positive", *ADA).out
    assert "Case 1 of card u1 is closed as false_positive, with bob" in closed
    assert {row[4] for row in cells(closed)} == {"false_positive"}
    told = cells(worked.succeed("review", "history", 1, "--case").out)
    assert {row[2] for row in told} == {"", "1", "2"}
    assert [row[3] for row in told if row[2] == ""] == ["case_opened", "case_changed", "case_changed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("take", 9, *ADA), ("no alert 9", "fraud-pipeline review queue")),
        (("take", 1, "--by", ""), ("name of who",)),
        (("take", 1, *ADA, "--version", 7), ("has version 1, not 7", "look at it again")),
        (("reopen", 1, *ADA), ("Alert 1 is open", "nothing to re-open")),
        (("comment", 1, " ", *ADA), ("comment of an alert cannot be empty",)),
        (("snooze", 1, "--until", "tomorrow", *ADA), ("'tomorrow' is no instant", "YYYY-MM-DD")),
        (("case", 9), ("no case 9",)),
        (("case", 1, "--outcome", "fraud", *ADA), ("is no outcome",)),
        (("case", 1, "--outcome", "inconclusive"), ("name of who",)),
        (("case", 1, "--outcome", "inconclusive", *ADA, "--version", 7), ("Case 1 has version 1, not 7",)),
        (("history", 9), ("no alert 9",)),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_trace(
    worked: Deployment, arguments: tuple[object, ...], words: tuple[str, ...]
) -> None:
    before = worked.rows["alert_events"]
    assert_refused(worked.run("review", *arguments), *words)
    assert worked.rows["alert_events"] == before


def test_migrate_tells_the_database_in_which_zone_days_begin(worked: Deployment) -> None:
    assert worked.rows["deployment_settings"] == [(True, "UTC")]
    worked.with_variables(time_zone="Europe/Berlin").succeed("migrate")
    assert worked.rows["deployment_settings"] == [(True, "Europe/Berlin")]


def test_a_closed_alert_is_not_taken_by_mistake(worked: Deployment) -> None:
    worked.succeed("review", "close", 1, "--outcome", "confirmed_fraud", *ADA)
    assert_refused(worked.run("review", "take", 1, *ADA), "Alert 1 is closed", "review reopen 1")


@pytest.mark.parametrize("command", ["take", "assign", "comment", "snooze", "escalate", "reopen", "case", "history"])
def test_every_command_of_the_workflow_explains_itself(deployment: Deployment, command: str) -> None:
    assert f"fraud-pipeline review {command}" in deployment.succeed("review", command, "--help").out
