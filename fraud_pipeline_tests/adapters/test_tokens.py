"""Card numbers become tokens where files are read, and show nowhere."""

from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from fraud_pipeline.adapters.ingest import ingest
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.source import Source, load_source
from fraud_pipeline.adapters.tokens import token, tokenise
from fraud_pipeline.core import card_numbers, transactions
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline.orchestration.runs import Runner
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.conftest import libpq_url

CARD = "4111111111111111"
OTHER_CARD = "5500005555555559"
KEY = "a long random secret"
DAY = date(2026, 1, 1)
DESCRIPTION = """\
name: cards
currency: EUR
{tokenise}
transactions:
  files: "*.csv"
  columns: {{transaction_id: id, user_id: card, merchant_id: shop, event_time: at, amount: amount}}
"""


def deliver(folder: Path, tokenise: str) -> Source:
    folder.mkdir()
    rows = [
        f"t1,{CARD},m1,2026-01-01T10:00Z,5",
        f"t2,{OTHER_CARD},m1,2026-01-01T11:00Z,6",
        "t3,u1,m1,2026-01-01T12:00Z,7",
    ]
    (folder / "2026-01-01.csv").write_text("\n".join(["id,card,shop,at,amount", *rows]))
    (folder / "source.yaml").write_text(DESCRIPTION.format(tokenise=tokenise))
    return load_source(folder / "source.yaml")


def landed(tmp_path: Path, tokenise: str, key: str | None = KEY) -> LandingZone:
    source = deliver(tmp_path / "export", tokenise)
    zone = LandingZone(str(tmp_path / "landing"), key)
    ingest(tmp_path / "export", source, zone, "EUR", None)
    return zone


def test_a_token_depends_on_identifier_and_key_alone() -> None:
    assert token(CARD, KEY) == token(CARD, KEY)
    assert token(CARD, KEY) != token(CARD, "another key")
    assert token(CARD, KEY) != token(OTHER_CARD, KEY)
    assert token("4111 1111-1111 1111", KEY) == token(CARD, KEY)
    assert token(" u1 ", KEY) == token("u1", KEY)
    assert token("12 34", KEY) != token("1234", KEY)
    assert len(token(CARD, KEY)) == 36
    assert token(CARD, KEY).startswith("tok_")


def test_of_a_column_what_is_missing_or_blank_stays() -> None:
    ids = pd.Series([CARD, None, " ", CARD], dtype="str", name="user_id")
    found = tokenise(ids, KEY)
    expected = pd.Series([token(CARD, KEY), None, " ", token(CARD, KEY)], dtype="str", name="user_id")
    pd.testing.assert_series_equal(found, expected)


def test_a_source_that_asks_for_tokens_is_read_as_tokens(tmp_path: Path) -> None:
    raw = landed(tmp_path, "tokenise: [user_id]").read_transactions(DAY)
    assert raw["user_id"].tolist() == [token(each, KEY) for each in (CARD, OTHER_CARD, "u1")]
    assert raw["merchant_id"].tolist() == ["m1"] * 3
    valid, rejected = transactions.validate(raw, DAY, "UTC")
    assert (len(valid), len(rejected)) == (3, 0)


def test_merchants_are_tokenised_as_well_if_asked(tmp_path: Path) -> None:
    raw = landed(tmp_path, "tokenise: [user_id, merchant_id]").read_transactions(DAY)
    assert raw["merchant_id"].tolist() == [token("m1", KEY)] * 3


def test_the_landing_zone_keeps_the_file_as_received(tmp_path: Path) -> None:
    zone = landed(tmp_path, "tokenise: [user_id]")
    [file] = zone.transaction_files(DAY)
    received = (tmp_path / "export" / "2026-01-01.csv").read_bytes()
    assert (tmp_path / "landing" / file.key).read_bytes() == received


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nothing_is_ingested_and_the_message_names_the_variable(tmp_path: Path, key: str | None) -> None:
    with pytest.raises(ConfigurationError, match="FRAUD_PIPELINE_TOKENISATION_KEY"):
        landed(tmp_path, "tokenise: [user_id]", key)
    assert not list((tmp_path / "landing").rglob("*.csv"))


def test_without_a_key_landed_files_cannot_be_read(tmp_path: Path) -> None:
    zone = landed(tmp_path, "tokenise: [user_id]")
    with pytest.raises(ConfigurationError, match="asks for tokens of user_id"):
        LandingZone(str(zone.root)).read_transactions(DAY)


def test_a_description_can_ask_for_tokens_of_card_holders_and_merchants_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tokenise"):
        deliver(tmp_path / "export", "tokenise: [transaction_id]")


def test_a_description_without_tokens_is_stored_as_before(tmp_path: Path) -> None:
    assert b"tokenise" not in deliver(tmp_path / "one", "").to_yaml()
    assert b"tokenise" in deliver(tmp_path / "two", "tokenise: [user_id]").to_yaml()


def test_a_card_number_that_is_not_to_be_tokenised_is_rejected_and_withheld(tmp_path: Path) -> None:
    raw = landed(tmp_path, "").read_transactions(DAY)
    assert not raw["user_id"].isin([CARD, OTHER_CARD]).any()
    valid, rejected = transactions.validate(raw, DAY, "UTC")
    assert valid["user_id"].tolist() == ["u1"]
    assert rejected["user_id"].tolist() == [card_numbers.WITHHELD] * 2
    assert rejected["reason"].str.contains("looks like a card number: list user_id under tokenise").all()


def test_validation_alone_withholds_it_too(tmp_path: Path) -> None:
    raw = landed(tmp_path, "").read_transactions(DAY)
    _, rejected = transactions.validate(raw.assign(user_id=CARD), DAY, "UTC")
    assert rejected["user_id"].tolist() == [card_numbers.WITHHELD] * 3


@pytest.mark.parametrize("asked", ["tokenise: [user_id]", ""])
def test_nothing_but_the_landing_zone_shows_a_planted_card_number(
    tmp_path: Path, database_url: str, asked: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    settings = Settings.from_env(
        home=home, database_url=database_url, first_day=DAY, tokenisation_key=SecretStr(KEY), max_reject_rate=1.0
    )
    source = deliver(tmp_path / "export", asked)
    ingest(tmp_path / "export", source, LandingZone(settings.landing, KEY), "EUR", DAY)
    with dg.DagsterInstance.ephemeral() as instance:
        Runner(build_definitions(settings), instance).run_range(PREPARE, DAY, DAY)
        runs = instance.get_runs()
        told = "".join(str(entry) for run in runs for entry in instance.all_logs(run.run_id)) + repr(runs)
    with psycopg.connect(libpq_url(database_url)) as session:
        tables = [row[0] for row in session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for table in tables:
            told += repr(
                session.execute(psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(table))).fetchall()
            )
    output = capfd.readouterr()
    told += output.out + output.err + caplog.text + repr(settings)
    lake = [pd.read_parquet(file).to_csv() for file in sorted((home / "lake").rglob("*.parquet"))]
    assert "t3" in told
    assert len(lake) >= 5
    for secret in (CARD, OTHER_CARD, KEY):
        assert secret not in told
        assert not any(secret in table for table in lake)
