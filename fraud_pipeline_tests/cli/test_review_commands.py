"""The analysts' queue by command, on a deployment of its own that was walked through."""

import re
import shutil
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.cli.console import console
from fraud_pipeline_tests.cli.conftest import NIGHTS, Deployment, Walk, assert_refused, files_of
from fraud_pipeline_tests.conftest import libpq_url

RANGE = ("--from", NIGHTS[0], "--to", NIGHTS[-1])
DECISION = ("--outcome", "confirmed_fraud", "--by", "ada")


@pytest.fixture
def reviewed(walk: Walk, tmp_path: Path, postgres_server_url: str) -> Iterator[Deployment]:
    """Give a copy of the walk, so that decisions do not show in other tests."""
    name = f"reviewed_{uuid.uuid4().hex}"
    walked = make_url(walk.deployment.variables["FRAUD_PIPELINE_DATABASE_URL"])
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        # What the commands of the walk left open in this process.
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [walked.database])
        session.execute(statement.format(*map(sql.Identifier, (name, str(walked.database)))))
    shutil.copytree(walk.deployment.settings.lake, tmp_path / "home" / "lake")
    url = walked.set(database=name).render_as_string(hide_password=False)
    yield Deployment(tmp_path / "home", {"FRAUD_PIPELINE_DATABASE_URL": url}).with_variables(
        landing_root=walk.deployment.settings.landing
    )
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)


def alert_ids(printed: str, why: str = "") -> list[int]:
    """Numbers of the alerts that a queue lists, of a risk level or drawn at random."""
    return [int(number) for number, level in re.findall(r"│ (\d+) +│ (\w+) ", printed) if why in ("", level)]


def listed(printed: str) -> list[str]:
    """Transactions that a list of related ones has."""
    return re.findall(r"│ (\S+) +│ (?:card|merchant)", printed)


def decisions(deployment: Deployment) -> list[tuple[object, ...]]:
    """Transaction, outcome, who, origin."""
    return sorted(((row[1], row[2], row[4], row[5]) for row in deployment.rows["review_decisions"]), key=str)


def test_the_queue_lists_the_most_urgent_alerts_and_marks_what_was_drawn_at_random(reviewed: Deployment) -> None:
    printed = reviewed.succeed("review", "queue", "--limit", 3).out
    assert len(alert_ids(printed)) == 3 + 5 * len(NIGHTS)
    assert len(alert_ids(printed, "random")) == 5 * len(NIGHTS)
    of_night = reviewed.succeed("review", "queue", "--day", NIGHTS[0], "--limit", 10_000).out
    rows = [row for row in reviewed.rows["alerts"] if NIGHTS[0] in row]
    assert set(alert_ids(of_night)) == {row[0] for row in rows}
    assert f"open alerts of {NIGHTS[0]}, and 5 transactions drawn at random" in of_night
    empty = reviewed.succeed("review", "queue", "--day", NIGHTS[0] - timedelta(days=1))
    assert empty.out == f"Nothing waits of {NIGHTS[0] - timedelta(days=1)}.\n"


def test_an_alert_is_closed_and_what_is_related_is_decided_on_at_once(reviewed: Deployment) -> None:
    (number, *_) = alert_ids(reviewed.succeed("review", "queue", "--limit", 1).out)
    closed = reviewed.succeed("review", "close", number, *DECISION)
    offered = re.search(r"There are (\d+) related transactions within 7 days, 0 of them decided already", closed.out)
    assert offered is not None
    assert closed.following == ["review", "related", str(number)]
    related = reviewed.succeed(*closed.following, "--limit", 10_000)
    names = listed(related.out)
    assert len(names) == int(offered[1]) > 1
    assert related.out.rstrip().endswith("--outcome … --by …")
    few = reviewed.succeed(*closed.following, "--limit", 1)
    assert listed(few.out) == names[:1]
    assert f"1 of {len(names)} related" in few.out
    decided = reviewed.succeed("review", "decide", "--transaction", ",".join(names[:-1]), *DECISION)
    assert f"{len(names) - 1} decisions recorded as confirmed_fraud;" in decided.out
    reviewed.succeed("review", "decide", "--transaction", names[-1], "--transaction", names[0], *DECISION)
    again = reviewed.succeed(*closed.following)
    assert f"{len(names)} related transactions within 7 days, {len(names)} of them decided already\n" in again.out
    assert {row[1:3] for row in decisions(reviewed)} == {("confirmed_fraud", "ada")}
    assert {row[0] for row in decisions(reviewed)} >= set(names)


def test_deciding_again_the_same_on_an_alert_says_so(reviewed: Deployment) -> None:
    name = next(row[1] for row in reviewed.rows["alerts"])
    reviewed.succeed("review", "decide", "--transaction", name, *DECISION)
    again = reviewed.succeed("review", "decide", "--transaction", f" {name}, ", *DECISION)
    assert again.out.startswith("0 decisions recorded as confirmed_fraud (1 had this outcome already);")


def test_recall_is_estimated_once_random_reviews_are_decided(reviewed: Deployment) -> None:
    refused = reviewed.run("review", "recall", *RANGE)
    assert_refused(refused, "no random review of these days has been decided", "fraud-pipeline review queue")
    for number in alert_ids(reviewed.succeed("review", "queue", "--limit", 1).out, "random"):
        reviewed.succeed("review", "close", number, "--outcome", "false_positive", "--by", "ada")
    # Decided just now, so they are labels of today; as in a replay, they count for the day that is asked for.
    url = libpq_url(reviewed.variables["FRAUD_PIPELINE_DATABASE_URL"])
    with psycopg.connect(url) as session:
        session.execute("ALTER TABLE review_decisions DISABLE TRIGGER USER")
        session.execute("UPDATE review_decisions SET decided_at = %s", [f"{NIGHTS[-1] + timedelta(days=1)} 12:00Z"])
    reviewed.succeed("measure", *RANGE)
    printed = reviewed.succeed("review", "recall", *RANGE).out
    assert f"over {len(NIGHTS)} days with decided random reviews; 0 days without are left out" in printed
    drawn = set(pd.concat(reviewed.lake.read_days("random_reviews", NIGHTS).values())["transaction_id"])
    known = pd.concat(reviewed.lake.read_days("fraud_labels", sorted(reviewed.lake.days("fraud_labels"))).values())
    charged = known.loc[known["is_fraud"] & (known["label_source"] == "chargeback_file"), "transaction_id"]
    assert f"Reviewed    {len(drawn - set(charged))} of " in printed
    figures = re.search(r"Recall +([0-9.]+) \(([0-9.]+) to ([0-9.]+), 95 %\)", printed)
    assert figures is not None
    recall, low, high = map(float, figures.groups())
    assert low < recall <= high
    frauds = re.search(r"Found +(\d+) frauds", printed)
    assert frauds is not None
    assert int(frauds[1]) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("close", 999_999, *DECISION), ("There is no alert 999999", "fraud-pipeline review queue")),
        (("related", 999_999), ("There is no alert 999999", "fraud-pipeline review queue")),
        (("close", 1, "--outcome", "fraud", "--by", "ada"), ("'fraud' is no outcome", "false_positive, inconclusive")),
        (("close", 1, "--outcome", "inconclusive", "--by", ""), ("name of who decides",)),
        (("close", 1, *DECISION, "--version", 7), ("has version 1, not 7", "look at it again")),
        (
            ("decide", "--transaction", "nobody,nothing", *DECISION),
            ("no transaction nobody, nothing", "correct the ids"),
        ),
        (("decide", "--transaction", " , ", *DECISION), ("names no transaction", "ID[,ID...]")),
        (("queue", "--day", "yesterday"), ("'yesterday' is not a day",)),
        (
            ("recall", "--from", NIGHTS[0] - timedelta(days=3), "--to", NIGHTS[0] - timedelta(days=2)),
            ("has random reviews",),
        ),
    ],
)
def test_what_cannot_be_decided_is_refused_and_nothing_is_recorded(
    reviewed: Deployment, arguments: tuple[object, ...], words: tuple[str, ...]
) -> None:
    assert_refused(reviewed.run("review", *arguments), *words)
    assert decisions(reviewed) == []


def test_without_a_database_the_queue_says_how_to_reach_one(deployment: Deployment) -> None:
    assert_refused(deployment.run("review", "queue"), "cannot be reached", "FRAUD_PIPELINE_DATABASE_URL")
    assert files_of(deployment.home) == {}


@pytest.mark.parametrize("command", ["queue", "related", "close", "decide", "recall"])
def test_every_review_command_explains_itself(deployment: Deployment, command: str) -> None:
    assert f"fraud-pipeline review {command}" in deployment.succeed("review", command, "--help").out
