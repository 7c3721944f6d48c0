"""A user taken out of the lake, in a folder and in an object store, and found in the landing zone."""

from datetime import date, timedelta

import pandas as pd
import pytest

from fraud_pipeline.adapters import frame_files, storage, tokens
from fraud_pipeline.adapters.erasure import Person, erase_from_lake, find_in_landing_zone
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline_tests.adapters.test_landing_zone import HEADER, SHA, labels, source
from fraud_pipeline_tests.builders import random_rows, transactions

DAY = date(2026, 1, 31)
DAYS = [DAY + timedelta(days=n) for n in range(3)]
KEY = "a long random secret"
CARD = "4111 1111 1111 1111"
DATASETS = ("raw_transactions", "transaction_features")


def quiet(_name: str, _done: int, _total: int) -> None:
    """Nobody looks at the progress."""


def text_of(lake: Lake) -> str:
    """Every cell of the lake as text, and what its files show as they lie there."""
    frames = [lake.read(dataset, day).to_csv() for dataset in lake.datasets() for day in lake.days(dataset)]
    files = [storage.read(lake.root / file.key).decode("latin-1") for file in storage.list_files(lake.root)]
    return "".join(frames + files)


@pytest.fixture
def lake(storage_root: str) -> Lake:
    """Give days on which a user u3 was, and one on which not; and a dataset that knows no users."""
    lake = Lake(storage_root)
    for number, day in enumerate(DAYS):
        rows = transactions(random_rows(60, users=5 if number < 2 else 3, seed=number)).astype({"user_id": "str"})
        for dataset in DATASETS:
            lake.write(dataset, day, rows)
        lake.write("drift_report", day, pd.DataFrame({"feature": ["amount"], "stability": [0.1]}))
    lake.write_json("training_windows", {"train_from": "2026-01-01"})
    return lake


def test_every_day_of_every_dataset_loses_the_rows_of_the_user_and_nothing_else(lake: Lake) -> None:
    before = {(dataset, day): lake.read(dataset, day) for dataset in lake.datasets() for day in lake.days(dataset)}
    untouched = {file.key: file.etag for file in storage.list_files(lake.root)}
    assert "u3" in text_of(lake)
    found = erase_from_lake(lake, Person.of("u3", None), dry_run=False, on_day=quiet)
    assert "u3" not in text_of(lake)
    for (dataset, day), frame in before.items():
        kept = frame[frame["user_id"] != "u3"].reset_index(drop=True) if "user_id" in frame else frame
        pd.testing.assert_frame_equal(lake.read(dataset, day), kept)
        assert storage.read(lake.root / dataset / f"{day}.parquet") == frame_files.encode(kept)
    theirs = before["raw_transactions", DAY].query("user_id == 'u3'")
    assert set(theirs["transaction_id"]) <= found.transaction_ids
    assert found.rows.keys() == set(DATASETS)
    now = {file.key: file.etag for file in storage.list_files(lake.root)}
    changed = {key for key, etag in now.items() if untouched[key] != etag}
    assert changed == {f"{dataset}/{day}.parquet" for dataset in DATASETS for day in DAYS[:2]}


def test_a_dry_run_counts_the_same_and_writes_nothing(lake: Lake) -> None:
    before = storage.list_files(lake.root)
    found = erase_from_lake(lake, Person.of("u3", None), dry_run=True, on_day=quiet)
    assert storage.list_files(lake.root) == before
    assert erase_from_lake(lake, Person.of("u3", None), dry_run=False, on_day=quiet) == found


def test_a_killed_erasure_is_finished_by_the_next_one(lake: Lake) -> None:
    class KilledError(Exception):
        pass

    def killed(_name: str, done: int, _total: int) -> None:
        if done == 5:
            raise KilledError

    person = Person.of("u3", None)
    with pytest.raises(KilledError):
        erase_from_lake(lake, person, dry_run=False, on_day=killed)
    assert "u3" in text_of(lake)
    erase_from_lake(lake, person, dry_run=False, on_day=quiet)
    assert "u3" not in text_of(lake)
    assert erase_from_lake(lake, person, dry_run=False, on_day=quiet).rows == {}


@pytest.mark.parametrize("given", [" u3 ", "u3\t"])
def test_outer_blanks_do_not_count_on_either_side(lake: Lake, given: str) -> None:
    rows = lake.read("raw_transactions", DAY)
    lake.write("raw_transactions", DAY, rows.assign(user_id=[f" {name} " for name in rows["user_id"]]).astype("str"))
    erase_from_lake(lake, Person.of(given, None), dry_run=False, on_day=quiet)
    assert "u3" not in text_of(lake)


@pytest.mark.parametrize("given", [CARD, "4111111111111111", "4111-1111-1111-1111", tokens.token(CARD, KEY)])
def test_a_card_number_and_its_token_are_the_same_user(lake: Lake, given: str) -> None:
    name = tokens.token(CARD, KEY)
    rows = lake.read("raw_transactions", DAY)
    lake.write("raw_transactions", DAY, rows.assign(user_id=rows["user_id"].replace("u3", name)))
    found = erase_from_lake(lake, Person.of(given, KEY), dry_run=False, on_day=quiet)
    assert found.rows == {"raw_transactions": int((rows["user_id"] == "u3").sum())}
    assert name not in text_of(lake)


def test_an_identifier_that_one_source_tokenises_and_another_does_not_is_found_in_both_forms(lake: Lake) -> None:
    rows = lake.read("raw_transactions", DAYS[0])
    lake.write("raw_transactions", DAYS[0], rows.assign(user_id=tokens.tokenise(rows["user_id"], KEY)))
    erase_from_lake(lake, Person.of("u3", KEY), dry_run=False, on_day=quiet)
    assert "u3" not in text_of(lake)
    assert tokens.token("u3", KEY) not in text_of(lake)


@pytest.mark.parametrize(
    ("given", "key", "words"), [(" ", KEY, "is blank"), (CARD, None, "FRAUD_PIPELINE_TOKENISATION_KEY is not set")]
)
def test_what_names_nobody_is_refused_without_being_repeated(given: str, key: str | None, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        Person.of(given, key)
    assert "4111" not in str(refused.value)


def test_a_card_number_and_the_key_are_not_shown_by_accident() -> None:
    assert "4111" not in repr(Person.of(CARD, KEY))
    assert KEY not in repr(Person.of(CARD, KEY))


@pytest.fixture
def zone(storage_root: str) -> LandingZone:
    """Give files of a source that tokenises and of one that does not, labels, and a file that is broken."""
    zone = LandingZone(f"{storage_root}/landing", KEY)
    secret, plain = source("secret", tokenise=["user_id"]), source("plain")
    for each in (secret, plain):
        zone.put_source(each)
    zone.put_transactions(secret, "2026-01-31.csv", HEADER + f"s1,{CARD},s,t,1\ns2,c2,s,t,1\n".encode())
    zone.put_transactions(secret, "2026-02-01.csv", HEADER + b"s3,c2,s,t,1\n")
    zone.put_transactions(plain, "2026-01-31.csv", HEADER + b"p1, c7,s,t,1\np2,c8,s,t,1\n")
    zone.put_transactions(plain, "2026-02-02.csv", HEADER + b"p3,4111111111111111,s,t,1\n")
    zone.put_labels(secret, "l.csv", SHA, {DAYS[1]: labels("s1"), DAYS[2]: labels("s2")})
    return zone


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (CARD, ["plain/transactions/2026-02-02.csv", "secret/transactions/2026-01-31.csv"]),
        (tokens.token(CARD, KEY), ["plain/transactions/2026-02-02.csv", "secret/transactions/2026-01-31.csv"]),
        ("c2", ["secret/transactions/2026-01-31.csv", "secret/transactions/2026-02-01.csv"]),
        ("c7", ["plain/transactions/2026-01-31.csv"]),
        ("c9", []),
    ],
)
def test_the_landing_files_that_hold_a_user_are_named_whatever_form_is_given(
    zone: LandingZone, given: str, keys: list[str]
) -> None:
    found = find_in_landing_zone(zone, Person.of(given, KEY), set(), quiet)
    assert [file.key for file in found.files if "/transactions/" in file.key] == keys
    assert found.problems == []


def test_label_files_of_the_users_transactions_are_named_too(zone: LandingZone) -> None:
    found = find_in_landing_zone(zone, Person.of("c2", KEY), set(), quiet)
    assert [file.day for file in found.files if "/labels/" in file.key] == [DAYS[2]]
    known = find_in_landing_zone(zone, Person.of("c9", KEY), {"s1"}, quiet)
    assert [file.day for file in known.files] == [DAYS[1]]


def test_what_cannot_be_searched_is_said_and_does_not_hide_the_rest(zone: LandingZone) -> None:
    storage.publish(zone.root / "plain" / "transactions" / "2026-02-03.csv.gz", b"no gzip")
    storage.publish(zone.root / "plain" / "transactions" / "nameless.csv", HEADER)
    storage.publish(zone.root / "plain" / "labels" / "stray.csv", b"by hand")
    found = find_in_landing_zone(zone, Person.of("c7", KEY), set(), quiet)
    assert [file.key for file in found.files] == ["plain/transactions/2026-01-31.csv"]
    assert len(found.problems) == 3
